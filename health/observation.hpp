#pragma once
// What one check of a server has shown, and what the traffic meets beside it. Plain values: made by the
// prober and by workers, judged by node_state.

#include <cstdint>
#include <optional>
#include <string>

#include "config/environment.hpp"
#include "config/metrics.hpp"

namespace pgmend::health {

using config::metrics::probe_result;

/// A server's own word of itself, as one query tells it.
struct server_facts {
    bool in_recovery = false;
    bool read_only = false;               ///< transaction_read_only of a new session
    std::uint64_t system_identifier = 0;  ///< 0: not told, as the functions that tell it may be forbidden
    std::uint32_t timeline = 0;           ///< 0: not told
    std::uint64_t lsn = 0;                ///< given to records (primary) or replayed (standby)
    config::duration lag{};               ///< of a standby, by the age of the last transaction replayed
    std::uint64_t instance = 0;           ///< when it was started, in microseconds; 0: not told
    /// How many more connections it takes of those who are no superusers; nothing: not told.
    std::optional<std::uint32_t> spare_connections = std::nullopt;
    bool operator==(const server_facts&) const = default;
};

struct observation {
    probe_result result = probe_result::lost;
    server_facts facts;          ///< only with `ok`
    config::duration latency{};  ///< of the query alone; only with `ok`
    /// When that was sent; what it tells is true of then, or of later.
    config::time_point asked_at{};
    std::string message;  ///< what went wrong, in words
};

/// What workers met on the way; a reason to look at once.
enum class traffic_evidence : std::uint8_t {
    alive,      ///< bytes came from it
    refused,    ///< a connection was not let in
    reset,      ///< a connection in use or idle broke
    timed_out,  ///< a login got no answer
    read_only,  ///< it refused a write, though it was taken for a primary (25006)
};

}  // namespace pgmend::health
