#pragma once
// How much memory may still be taken before memory_guard looks the next time: a storm of TLS handshakes takes
// all there is between two looks. A process has one memory, so there is one of it. Any thread.

#include <atomic>
#include <cstdint>
#include <limits>

namespace pgmend::proxy::memory_room {

/// What a client takes until its TLS handshake is over, in bytes; about a third of it afterwards. Measured.
inline constexpr std::int64_t tls_handshake = 64 * 1024;

/// Bytes. Until it is set nothing limits them.
inline std::atomic<std::int64_t> left{std::numeric_limits<std::int64_t>::max()};

/// False where less than that is left; nothing is taken then.
inline bool take(std::int64_t bytes) noexcept {
    std::int64_t before = left.load(std::memory_order_relaxed);
    while (before >= bytes) {
        if (left.compare_exchange_weak(before, before - bytes, std::memory_order_relaxed)) return true;
    }
    return false;
}

}  // namespace pgmend::proxy::memory_room
