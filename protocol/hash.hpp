#pragma once
// 128-bit hashes of bytes (XXH3), for keys whose collision must not happen by accident. Pure.

#include <cstdint>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

struct hash128 {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    bool operator==(const hash128&) const = default;
};

hash128 hash_bytes(byte_view bytes, std::uint64_t seed = 0) noexcept;

}  // namespace pgmend::protocol
