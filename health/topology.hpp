#pragma once
// The servers of one cluster as they are believed to be: an immutable picture, made anew whenever something
// that matters has changed, and handed to every worker. Pure.

#include <memory>
#include <string>
#include <vector>

#include "health/election.hpp"
#include "health/node_state.hpp"
#include "health/server_directory.hpp"

namespace pgmend::health {

enum class node_role : std::uint8_t {
    unknown,  ///< alive perhaps, but it has not told
    primary,  ///< the one that was elected
    standby,
    fenced,   ///< says it is a primary, of an older timeline or beside the elected one
    foreign,  ///< belongs to another cluster
};

struct node_view {
    node_condition condition = node_condition::unknown;
    node_role role = node_role::unknown;
    bool read_only = false;
    std::uint32_t timeline = 0;
    std::uint64_t lsn = 0;
    config::duration lag{};
    config::duration latency{};
    config::time_point since{};  ///< in this condition since then; the epoch: never looked at
    std::string trouble;         ///< what the latest check met instead of an answer; empty after an answer
};

struct topology {
    std::vector<node_view> nodes;  ///< by place: the order of the configuration, or of first appearance
    roster_snapshot servers;       ///< who they are; null: those of the configuration
    election_memory memory;
    election_reason reason = election_reason::none_claims;
    std::uint64_t generation = 0;  ///< rises with each picture
    config::time_point since{};    ///< since when who is the primary, or that nobody is; the epoch: ever

    const node_view* primary() const noexcept { return memory.primary ? &nodes[*memory.primary] : nullptr; }
};
using topology_snapshot = std::shared_ptr<const topology>;

/// The picture after `previous`, of the same servers, from what is known of each now.
topology assess(std::span<const node_state> states, const topology& previous);
/// Whether workers would act otherwise on `now` than on `before`: conditions, roles, or who is the primary.
bool differs(const topology& now, const topology& before) noexcept;

}  // namespace pgmend::health
