#include "config/process_stats.hpp"

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>

namespace pgmend::config {

namespace {

std::string contents(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Field `number` of /proc/self/stat, as proc(5) counts them from 1; only from the third on. The second is
/// the program's name in parentheses, which may hold spaces and parentheses itself, so counting starts after
/// it.
double stat_field(int number) {
    const std::string stat = contents("/proc/self/stat");
    const std::size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) return 0;
    std::istringstream fields(stat.substr(name_end + 1));
    std::string field;
    for (int at = 3; at <= number; ++at)
        fields >> field;
    return std::strtod(field.c_str(), nullptr);
}

double ticks_to_seconds(double ticks) { return ticks / static_cast<double>(sysconf(_SC_CLK_TCK)); }

double boot_time_seconds() {
    std::istringstream stat(contents("/proc/stat"));
    for (std::string word; stat >> word;) {
        double seconds = 0;
        if (word == "btime" && stat >> seconds) return seconds;
    }
    return 0;
}

}  // namespace

double process_start_time_seconds() { return boot_time_seconds() + ticks_to_seconds(stat_field(22)); }

double process_resident_memory_bytes() { return stat_field(24) * static_cast<double>(sysconf(_SC_PAGESIZE)); }

double process_cpu_seconds() { return ticks_to_seconds(stat_field(14) + stat_field(15)); }

double process_open_fds() {
    const auto close = [](DIR* folder) { closedir(folder); };
    const std::unique_ptr<DIR, decltype(close)> folder(opendir("/proc/self/fd"), close);
    if (folder == nullptr) return 0;
    double entries = 0;
    while (readdir(folder.get()) != nullptr)
        ++entries;       // NOLINT(concurrency-mt-unsafe): a stream of our own
    return entries - 3;  // ".", ".." and the descriptor that reads the folder
}

}  // namespace pgmend::config
