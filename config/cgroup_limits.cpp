#include "config/cgroup_limits.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

namespace pgmend::config {

namespace {

constexpr std::uint32_t most_workers = 64;

/// The first word of a file that is one number; 0 for `max`, for nonsense and for no file.
std::uint64_t number_in(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string text;
    in >> text;
    return parse_count(text).value.value_or(0);
}

/// "QUOTA PERIOD" in microseconds, or "max PERIOD".
double cpus_in(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string quota_text;
    std::string period_text;
    in >> quota_text >> period_text;
    const auto quota = parse_count(quota_text).value.value_or(0);
    const auto period = parse_count(period_text).value.value_or(0);
    return quota == 0 || period == 0 ? 0 : static_cast<double>(quota) / static_cast<double>(period);
}

/// The group's path below the root: the line that begins with "0::".
std::filesystem::path group_of(const std::filesystem::path& membership) {
    std::ifstream in(membership);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("0::/")) return std::filesystem::path(line.substr(4)).lexically_normal();
    }
    return {};
}

void tighten(cgroup_limits& limits, const std::filesystem::path& group) {
    if (const double cpus = cpus_in(group / "cpu.max"); cpus > 0 && (limits.cpus == 0 || cpus < limits.cpus))
        limits.cpus = cpus;
    for (const char* name : {"memory.max", "memory.high"}) {
        const std::uint64_t bytes = number_in(group / name);
        if (bytes == 0 || (limits.memory != 0 && limits.memory <= bytes)) continue;
        limits.memory = bytes;
        limits.memory_group = group;
    }
}

}  // namespace

cgroup_limits read_cgroup_limits(const std::filesystem::path& root, const std::filesystem::path& membership) {
    cgroup_limits limits;
    tighten(limits, root);
    std::filesystem::path group = root;
    for (const auto& part : group_of(membership)) {
        // A container may see the host's names and not the host's files; ".." leads out of what is mounted.
        if (part == "..") break;
        group /= part;
        tighten(limits, group);
    }
    return limits;
}

std::uint64_t cgroup_memory_in_use(const std::filesystem::path& group) {
    const std::uint64_t current = number_in(group / "memory.current");
    std::ifstream in(group / "memory.stat");
    std::string name;
    for (std::uint64_t bytes = 0; in >> name >> bytes;) {
        if (name == "inactive_file") return current - std::min(current, bytes);
    }
    return current;
}

std::uint32_t worker_threads(worker_count wanted, const cgroup_limits& limits, std::uint32_t processors) {
    if (!wanted.automatic()) return wanted.threads;
    const std::uint32_t most = std::clamp(processors, 1U, most_workers);
    if (limits.cpus <= 0) return most;
    return std::clamp(static_cast<std::uint32_t>(std::min(std::ceil(limits.cpus), 64.0)), 1U, most);
}

}  // namespace pgmend::config
