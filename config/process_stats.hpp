#pragma once
// What Linux knows of this process, from /proc. Each call reads anew; any thread. 0 where /proc cannot be
// read.

namespace pgmend::config {

/// Seconds since 1970, to a hundredth.
double process_start_time_seconds();
double process_resident_memory_bytes();
/// User and system time together.
double process_cpu_seconds();
double process_open_fds();

}  // namespace pgmend::config
