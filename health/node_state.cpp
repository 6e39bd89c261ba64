#include "health/node_state.hpp"

#include <algorithm>

namespace pgmend::health {

namespace {

/// libpq's words may go on over lines; the first ones say what is wrong.
constexpr std::size_t longest_trouble = 300;

}  // namespace

node_change node_state::observe(const observation& what, config::time_point now) {
    node_change change{condition_, condition_};
    trouble_.clear();
    if (what.result != probe_result::ok)
        trouble_ = what.message.empty() ? std::string(config::label_word(what.result))
                                        : what.message.substr(0, longest_trouble);
    switch (what.result) {
        case probe_result::ok:
        case probe_result::full:
        case probe_result::rejected: {
            failures_ = 0;
            ++successes_;
            if (condition_ != node_condition::down || successes_ >= limits_.successes) {
                condition_ = node_condition::up;
            }
            if (what.result != probe_result::ok) break;
            latency_.add(what.latency);
            told_at_ = now;
            const bool same_role = facts_ && facts_->in_recovery == what.facts.in_recovery &&
                                   facts_->read_only == what.facts.read_only &&
                                   facts_->timeline == what.facts.timeline &&
                                   facts_->system_identifier == what.facts.system_identifier;
            change.facts_changed = !same_role;
            facts_ = what.facts;
            last_facts_ = what.facts;
            break;
        }
        case probe_result::refused:
        case probe_result::starting:
        case probe_result::timeout:
        case probe_result::lost:
            judge_failure(what.result, now);
            break;
    }
    change.to = condition_;
    if (change.to != change.from) since_ = now;
    const node_change aged = age(now);
    change.facts_changed = change.facts_changed || aged.facts_changed;
    return change;
}

void node_state::judge_failure(probe_result why, config::time_point now) noexcept {
    successes_ = 0;
    if (condition_ == node_condition::down) return;
    // A server that says no, or nobody at its port, is proof; a check without an answer is none while the
    // same server answers others (no connection is torn down because a check was slow under load).
    const bool proof = why == probe_result::refused || why == probe_result::starting;
    if (!proof && alive_at_ != config::time_point::min() && now - alive_at_ < limits_.silence) return;
    failures_ = proof ? limits_.failures : failures_ + 1;
    condition_ = failures_ >= limits_.failures ? node_condition::down : node_condition::suspect;
}

node_change node_state::traffic(traffic_evidence what, config::time_point at) {
    node_change change{condition_, condition_};
    switch (what) {
        case traffic_evidence::alive:
            alive_at_ = std::max(alive_at_, at);
            break;
        case traffic_evidence::read_only:
            // It may have been demoted: it is asked again before anything is believed.
            change.facts_changed = facts_.has_value();
            facts_.reset();
            break;
        case traffic_evidence::refused:
        case traffic_evidence::reset:
        case traffic_evidence::timed_out:
            break;
    }
    return change;
}

node_change node_state::age(config::time_point now) {
    node_change change{condition_, condition_};
    if (facts_ && now - told_at_ > limits_.evidence_age) {
        facts_.reset();
        change.facts_changed = true;
    }
    return change;
}

}  // namespace pgmend::health
