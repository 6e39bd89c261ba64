#pragma once
// What a container may use, from the files of cgroup v2: cpu.max, memory.max and memory.high. The limits of
// every group above count as well, as the kernel counts them. Files that are missing or say `max` limit
// nothing; what is not understood is taken for no limit. Start-up and the control thread.

#include <cstdint>
#include <filesystem>
#include <string>

#include "config/auto_values.hpp"

namespace pgmend::config {

struct cgroup_limits {
    double cpus = 0;           ///< processors' worth of time; 0: no limit
    std::uint64_t memory = 0;  ///< bytes; 0: no limit
    /// The group that sets `memory`, whose memory.current is held against it.
    std::filesystem::path memory_group;
};

/// `root` is where cgroup v2 is mounted; `membership` names this process's group below it, as
/// /proc/self/cgroup does.
cgroup_limits read_cgroup_limits(
    const std::filesystem::path& root, const std::filesystem::path& membership = "/proc/self/cgroup"
);

/// Bytes a group uses that the kernel could not take back at once: memory.current without inactive files. 0
/// when that cannot be read.
std::uint64_t cgroup_memory_in_use(const std::filesystem::path& group);

/// How many workers that makes: each processor's worth of quota, rounded up, and not more than there are.
std::uint32_t worker_threads(worker_count wanted, const cgroup_limits& limits, std::uint32_t processors);

}  // namespace pgmend::config
