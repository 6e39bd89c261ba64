#pragma once
// How much memory TLS handshakes may still take. memory_guard looks a hundred times a second at most, and a
// storm of them takes all there is between two looks. A process has one memory, so there is one of it. Any
// thread.

#include <atomic>
#include <cstdint>
#include <limits>

namespace pgmend::proxy::memory_room {

/// What a client takes at most while its handshake goes on, and about what it keeps then, in bytes. Measured.
inline constexpr std::int64_t handshake = 64 * 1024;
inline constexpr std::int64_t kept = 32 * 1024;

/// Bytes, since the guard has looked. Until it does nothing limits them.
inline std::atomic<std::int64_t> left{std::numeric_limits<std::int64_t>::max()};
/// Bytes of those that go on, whether they have taken them yet or not.
inline std::atomic<std::int64_t> promised{0};

/// False where there is no room for another handshake. Else it goes on until a `handshake_in_progress` has
/// ended.
inline bool begin_handshake() noexcept {
    if (promised.fetch_add(handshake, std::memory_order_relaxed) + handshake <=
        left.load(std::memory_order_relaxed))
        return true;
    promised.fetch_sub(handshake, std::memory_order_relaxed);
    return false;
}

/// Ends what begin_handshake began.
class handshake_in_progress {
public:
    handshake_in_progress() = default;
    handshake_in_progress(const handshake_in_progress&) = delete;
    handshake_in_progress& operator=(const handshake_in_progress&) = delete;
    ~handshake_in_progress() {
        left.fetch_sub(kept, std::memory_order_relaxed);
        promised.fetch_sub(handshake, std::memory_order_relaxed);
    }
};

}  // namespace pgmend::proxy::memory_room
