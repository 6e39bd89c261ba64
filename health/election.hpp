#pragma once
// Who is the primary: at most one, never of another cluster, never on an older timeline than any seen (an
// older primary is fenced until it is seen as a standby), and nobody new on mere suspicion. Pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "config/metrics.hpp"

namespace pgmend::health {

using config::metrics::election_reason;

/// What a server says of itself, as far as that is believed.
enum class role_claim : std::uint8_t {
    none,  ///< it has not been asked, or its word is too old
    primary,
    standby,
};

/// What an election may know of one server.
struct candidate {
    role_claim claim = role_claim::none;
    bool down = false;  ///< proven away; a suspect is not
    std::uint64_t system_identifier = 0;
    std::uint32_t timeline = 0;  ///< the last it told; 0: never told
    std::uint64_t instance = 0;  ///< alike for two names of one running server; 0: never told
    bool listed = true;          ///< a list still names it
};

/// What must not be forgotten between elections.
struct election_memory {
    std::optional<std::size_t> primary;
    std::uint64_t system_identifier = 0;  ///< of the cluster; 0 until a primary has told it
    std::uint32_t timeline = 0;           ///< the highest ever seen in it
    bool operator==(const election_memory&) const = default;
};

struct verdict {
    election_memory memory;
    election_reason reason;
};

/// Whether this server's word is from another cluster.
bool is_foreign(const candidate& one, const election_memory& memory) noexcept;
/// Whether it is behind a promotion: what it says of itself as a primary is history.
bool is_fenced(const candidate& one, const election_memory& memory) noexcept;

/// Whether two candidates are one running server under two names.
bool is_same_server(const candidate& one, const candidate& other) noexcept;

/// `candidates` in the order of the configuration, the same in every call.
verdict choose_primary(std::span<const candidate> candidates, const election_memory& previous) noexcept;

}  // namespace pgmend::health
