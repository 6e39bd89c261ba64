#pragma once
// What was healed, and what could not be: one event for each act, in a bounded ring (HEALING section 11). The
// acts are counted and logged where they happen; this is what is shown of them. Each worker has one of its
// own, and nothing of a query's path comes here. Pure; one thread.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "config/environment.hpp"

namespace pgmend::proxy {

/// What was done.
enum class healing_kind : std::uint8_t {
    server_lost,    ///< under a client; `outcome` is what was done, `reason` a recovery_reason
    request_done,   ///< a request that was sent again has been answered; `took` is since the first loss
    replay,         ///< a transaction was run again; `outcome` is a replay_outcome
    plan_renewed,   ///< a prepared statement had to be parsed anew; `outcome` is a plan_outcome
    write_refused,  ///< a server took no writes (25006); `outcome` is a write_refusal
    primary,        ///< another server is the primary, or none is; `reason` is an election_reason
    server,         ///< a server is down, up again, fenced, or a standby after that: `outcome`
    hold,           ///< requests are held, are no longer, or have all been released
    breaker,        ///< `outcome` is a breaker_state, `reason` a breaker_reason
    commit,         ///< its answer was lost; `outcome` is a commit_outcome, `reason` an outcome_reason
    ban,            ///< an administrator keeps requests from a server, or lets them go there again
    listed,         ///< a list of servers has changed; `outcome` is a presence, `reason` a server_source
    reads,          ///< standbys are read from while there is no primary, or are no longer; `count` reads
    alert,          ///< pgmend was not well, or is again; `outcome` says which, `cause` what
    settings,       ///< were loaded again and taken, or refused; `cause` is what changed, or what is wrong
};
inline constexpr std::array<std::string_view, 15> healing_kind_words{
    "server_lost", "request_done", "replay", "plan_renewed", "write_refused", "primary", "server",  "hold",
    "breaker",     "commit",       "ban",    "listed",       "reads",         "alert",   "settings"};
constexpr const auto& label_words(healing_kind) { return healing_kind_words; }

struct healing_event {
    std::uint64_t number = 0;  ///< from one on, in the order of `add`; given by the ledger
    config::time_point at{};   ///< by the clock of the environment
    healing_kind kind = healing_kind::server_lost;
    std::string_view outcome;  ///< a word that lives for ever (config::metrics::label_word)
    std::string_view reason;   ///< the same; empty where the outcome says it all
    std::string client;        ///< its address; empty where no client is concerned
    std::string server;        ///< host:port; empty where none is left
    std::string database;      ///< with `user`: whose pool; empty where none is concerned
    std::string user;
    std::string shape;          ///< of the statement, constants elided; empty where it is not known
    std::string cause;          ///< the evidence: SQLSTATE and words of the server, or what was seen
    std::uint32_t attempt = 0;  ///< times the request was sent again, this one included
    std::uint64_t count = 0;    ///< of those concerned: who waits, who was released, failures
    std::chrono::milliseconds took{};
};

class healing_ledger {
public:
    /// Keeps the latest `limit` events.
    explicit healing_ledger(std::size_t limit) : limit_(limit) {}

    void add(healing_event event) {
        event.number = ++last_;
        if (limit_ == 0) return;
        if (events_.size() == limit_) events_.pop_front();
        events_.push_back(std::move(event));
    }
    /// At most `most` of the latest events, the oldest first.
    std::vector<healing_event> latest(std::size_t most) const {
        const std::size_t count = std::min(most, events_.size());
        return {events_.end() - static_cast<std::ptrdiff_t>(count), events_.end()};
    }
    /// At most `most` of the events behind the one with this number, the oldest first. Some of them may have
    /// been forgotten: then the first one's number says how many.
    std::vector<healing_event> after(std::uint64_t number, std::size_t most) const {
        const std::uint64_t forgotten = last_ - events_.size();
        const std::uint64_t first = std::clamp(number, forgotten, last_) - forgotten;
        const std::uint64_t count = std::min<std::uint64_t>(most, events_.size() - first);
        const auto begin = events_.begin() + static_cast<std::ptrdiff_t>(first);
        return {begin, begin + static_cast<std::ptrdiff_t>(count)};
    }
    /// Events ever added.
    std::uint64_t total() const noexcept { return last_; }

private:
    std::deque<healing_event> events_;
    std::size_t limit_;
    std::uint64_t last_ = 0;
};

}  // namespace pgmend::proxy
