#pragma once
// What a client shows to cancel its query: a backend pid and a secret of ours. The first four bytes of the
// secret are unique within the process and carry the worker in their upper bits. Source: BackendKeyData;
// protocol 3.2 allows long secrets. Pure.

#include <array>
#include <cstddef>
#include <cstdint>

#include "protocol/bytes.hpp"

namespace pgmend::proxy {

struct client_key {
    static constexpr unsigned worker_bits = 6;
    static constexpr std::size_t long_secret = 32;

    std::uint32_t pid = 0;
    std::array<std::byte, long_secret> secret{};
    std::uint8_t secret_size = 4;

    protocol::byte_view view() const noexcept { return {secret.data(), secret_size}; }
    std::uint32_t id() const noexcept { return protocol::load_u32(secret.data()); }
    static std::uint32_t worker_of(std::uint32_t id) noexcept { return id >> (32 - worker_bits); }

    /// In constant time.
    bool matches(std::uint32_t other_pid, protocol::byte_view other) const noexcept {
        if (other.size() != secret_size) return false;
        unsigned difference = pid ^ other_pid;
        for (std::size_t i = 0; i < other.size(); ++i) {
            difference |= static_cast<unsigned>(other[i] ^ secret[i]);
        }
        return difference == 0;
    }
};

}  // namespace pgmend::proxy
