#pragma once
// What is known of one server: whether it lives, and what it has told of itself. Checks and traffic both
// count: a refusal is proof, silence only becomes one when it repeats and no traffic contradicts it, and what
// a server once said of its role is believed for a limited time. Pure: the time is an argument. One thread.

#include <optional>
#include <string>

#include "health/latency.hpp"
#include "health/observation.hpp"

namespace pgmend::health {

using config::metrics::node_condition;

struct node_limits {
    std::uint32_t failures = 3;   ///< unanswered checks in a row until it is down
    std::uint32_t successes = 1;  ///< answered ones until it is up again
    config::duration evidence_age = std::chrono::seconds{5};
    config::duration silence = std::chrono::seconds{1};  ///< traffic younger than this contradicts a timeout
};

/// What an input changed.
struct node_change {
    node_condition from;
    node_condition to;
    bool facts_changed = false;
    bool changed() const noexcept { return from != to || facts_changed; }
};

class node_state {
public:
    explicit node_state(node_limits limits) noexcept : limits_(limits) {}

    /// A check has ended.
    node_change observe(const observation& what, config::time_point now);
    /// A worker met something. Only `alive` and `read_only` change what is believed; the rest is for the
    /// check that follows to confirm.
    node_change traffic(traffic_evidence what, config::time_point at);
    /// Time has passed: evidence may have become too old.
    node_change age(config::time_point now);

    node_condition condition() const noexcept { return condition_; }
    /// What it told of itself, while that is believed.
    const std::optional<server_facts>& facts() const noexcept { return facts_; }
    /// The last it told, however long ago: a timeline does not go back.
    const server_facts& last_facts() const noexcept { return last_facts_; }
    const latency_average& latency() const noexcept { return latency_; }
    /// What the latest check met instead of an answer, in words, some hundred bytes at most; empty after an
    /// answer.
    const std::string& trouble() const noexcept { return trouble_; }
    /// When it came to be in its condition; the epoch before the first check.
    config::time_point since() const noexcept { return since_; }

private:
    void judge_failure(probe_result why, config::time_point now) noexcept;

    node_limits limits_;
    node_condition condition_ = node_condition::unknown;
    std::uint32_t failures_ = 0;
    std::uint32_t successes_ = 0;
    std::optional<server_facts> facts_;
    std::string trouble_;
    config::time_point since_{};
    server_facts last_facts_;
    latency_average latency_;
    config::time_point told_at_{};
    config::time_point alive_at_ = config::time_point::min();
};

}  // namespace pgmend::health
