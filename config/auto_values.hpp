#pragma once
// Values that may be left to the machine: `auto`, or a number. What `auto` comes to is decided where the
// machine is known (cgroup_limits).

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/units.hpp"

namespace pgmend::config {

/// Threads that carry clients.
struct worker_count {
    std::uint32_t threads = 1;  ///< 0: auto
    bool automatic() const noexcept { return threads == 0; }
    auto operator<=>(const worker_count&) const = default;
};

/// `auto`, or 1 to 64.
parsed<worker_count> parse_worker_count(std::string_view text);
std::string print_worker_count(worker_count value);

/// Memory the process may use.
struct memory_limit {
    bool automatic = true;
    std::uint64_t bytes = 0;  ///< 0 without `automatic`: no limit
    auto operator<=>(const memory_limit&) const = default;
};

/// `auto`, `none`, or a size of at least 16 MiB: less than that is what pgmend needs to stand up.
parsed<memory_limit> parse_memory_limit(std::string_view text);
std::string print_memory_limit(memory_limit value);

}  // namespace pgmend::config
