#include "health/topology.hpp"

#include <algorithm>

namespace pgmend::health {

namespace {

candidate candidate_of(const node_state& state, presence here) {
    candidate made;
    if (const auto& facts = state.facts()) {
        made.claim = facts->in_recovery ? role_claim::standby : role_claim::primary;
    }
    made.down = state.condition() == node_condition::down;
    made.listed = here == presence::listed;
    made.instance = state.last_facts().instance;
    if (here == presence::gone) {
        // Nobody looks at it: it is nobody's primary, and its timeline is remembered.
        made.claim = role_claim::none;
        made.down = true;
    }
    made.system_identifier = state.last_facts().system_identifier;
    made.timeline = state.last_facts().timeline;
    return made;
}

node_role role_of(
    const candidate& one, std::span<const candidate> candidates, bool elected, const election_memory& memory
) {
    if (elected) return node_role::primary;
    if (is_foreign(one, memory)) return node_role::foreign;
    switch (one.claim) {
        case role_claim::standby:
            return node_role::standby;
        case role_claim::primary:
            if (memory.primary && is_same_server(one, candidates[*memory.primary])) return node_role::primary;
            // Beside a primary, or behind a promotion; the only one, when it is down, has lost nothing yet.
            return memory.primary || is_fenced(one, memory) ? node_role::fenced : node_role::unknown;
        case role_claim::none:
            return is_fenced(one, memory) ? node_role::fenced : node_role::unknown;
    }
    return node_role::unknown;
}

}  // namespace

topology assess(std::span<const node_state> states, const topology& previous) {
    std::vector<candidate> candidates;
    for (std::size_t place = 0; place < states.size(); ++place) {
        const bool known = previous.servers && place < previous.servers->size();
        candidates.push_back(
            candidate_of(states[place], known ? (*previous.servers)[place].here : presence::listed)
        );
    }
    const verdict elected = choose_primary(candidates, previous.memory);
    topology made;
    made.memory = elected.memory;
    made.reason = elected.reason;
    made.servers = previous.servers;
    made.generation = previous.generation + 1;
    for (std::size_t i = 0; i < states.size(); ++i) {
        const node_state& state = states[i];
        node_view view;
        view.condition = state.condition();
        view.role = role_of(candidates[i], candidates, elected.memory.primary == i, elected.memory);
        view.read_only = state.last_facts().read_only;
        view.timeline = state.last_facts().timeline;
        view.lsn = state.last_facts().lsn;
        view.lag = state.last_facts().lag;
        view.latency = state.latency().value();
        view.since = state.since();
        view.trouble = state.trouble();
        made.nodes.push_back(view);
    }
    return made;
}

bool differs(const topology& now, const topology& before) noexcept {
    const auto same = [](const node_view& a, const node_view& b) {
        return a.condition == b.condition && a.role == b.role && a.read_only == b.read_only &&
               a.timeline == b.timeline;
    };
    const auto split = [](const topology& one) { return one.reason == election_reason::split; };
    return now.servers != before.servers || now.memory != before.memory || split(now) != split(before) ||
           !std::equal(now.nodes.begin(), now.nodes.end(), before.nodes.begin(), before.nodes.end(), same);
}

}  // namespace pgmend::health
