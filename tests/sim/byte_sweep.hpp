#pragma once
// Faults at every byte: of each fixed conversation the schedules that break it at one byte of one connection,
// in one direction, in one way. Together they are exhaustive, and always the same. Each has a name, by which
// it is run again: conversation/connection/direction/way/byte, as `block/server1/to_opener/reset/17`.

#include <functional>
#include <string>

#include "tests/sim/simulation.hpp"

namespace pgmend::sim {

struct sweep_range {
    std::string prefix;       ///< of the names that are wanted, in whole words; empty: all
    std::uint64_t every = 1;  ///< of all bytes only each so manieth, another one for each direction and way
};

/// Takes one schedule with its name; false when no more are wanted.
using sweep_visitor = std::function<bool(const std::string& name, const fault_schedule& schedule)>;

/// Runs each conversation once without faults to see what its connections carry, then calls `visit` for what
/// of its schedules is in the range. Says the name of a conversation that does not even go well by itself;
/// empty when all do.
std::string sweep_bytes(const subject_factory& make, const sweep_range& range, const sweep_visitor& visit);

}  // namespace pgmend::sim
