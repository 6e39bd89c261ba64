#pragma once
// Which of the two engines carries the data plane. Decided once, before there are workers, by a trial: what
// kernels, containers and administrators forbid shows in no version number.

#include <cstddef>
#include <string>

#include "config/modes.hpp"

namespace pgmend::pool {

struct engine_choice {
    bool ring = false;   ///< io_uring
    std::string reason;  ///< for the log
};

/// Tries what a worker will do, on a socket of its own. Takes some milliseconds at most.
engine_choice choose_engine(config::relay_engine wanted, std::size_t ring_bytes);

}  // namespace pgmend::pool
