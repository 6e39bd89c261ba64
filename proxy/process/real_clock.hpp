#pragma once
// The clocks of the control plane, which has no environment: nothing of what workers decide depends on them.

#include <chrono>
#include <cstdint>

namespace pgmend::proxy {

/// Since 1970, for dates that people read.
inline std::int64_t wall_milliseconds() {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
}
inline std::int64_t wall_seconds() { return wall_milliseconds() / 1000; }

inline std::chrono::steady_clock::time_point steady_now() { return std::chrono::steady_clock::now(); }

}  // namespace pgmend::proxy
