#pragma once
// A server takes no writes (25006): whether its client's request waits until there is one that does (HEALING
// section 6, class G). Only the server's own word counts: it is a standby, or its configuration says that
// transactions read only. A client's own READ ONLY is its own. Decides and does nothing. Pure.

#include <memory>
#include <vector>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "health/backoff.hpp"

namespace pgmend::proxy {

using config::metrics::write_refusal;

/// What is known when a write was refused.
struct write_facts {
    bool in_recovery = false;  ///< the server reports that it is a standby
    bool read_only =
        false;  ///< it reports, or did when the request began, that transactions read only by themselves
    bool by_session = false;       ///< the session has said so itself
    bool by_login = false;         ///< it was so from the login on, for this role, database or client
    bool primary_wanted = false;   ///< by target_session_attrs
    bool primary_known = false;    ///< there is one, or was
    bool repeatable = false;       ///< all of the request can be sent again, and what was shown be proven
    config::duration waited{};     ///< since the first refusal
    config::duration most{};       ///< hold.timeout
    std::size_t waiting = 0;       ///< requests that wait so already, without this one
    std::size_t most_waiting = 0;  ///< hold.max_waiters
};

/// `sent_again`, or why the client gets the server's error.
write_refusal judge_refusal(const write_facts& facts) noexcept;

/// What is remembered of it until the request is over.
struct write_wait {
    /// `waiting` counts those that wait in this worker.
    write_wait(config::time_point now, std::size_t& others, config::metrics::cells& cells) noexcept
        : since(now), waiting(others), metrics(cells) {
        ++waiting;
        metrics.writes_held.add();
    }
    write_wait(const write_wait&) = delete;
    write_wait& operator=(const write_wait&) = delete;
    ~write_wait() {
        --waiting;
        metrics.writes_held.sub();
    }

    /// How long to wait before the next attempt: by few, soon; many take turns. Who gets through wakes the
    /// others. `random` is 64 random bits.
    std::chrono::milliseconds next_pause(const health::backoff_limits& limits, std::uint64_t random) noexcept;

    const config::time_point since;
    std::size_t& waiting;
    config::metrics::cells& metrics;
    std::uint32_t attempts = 0;
    bool repeatable = false;        ///< as judged when the error came
    std::vector<std::byte> answer;  ///< kept back: the server's error, and what of the answer came before it
    std::size_t error_at = 0;       ///< where in it the error begins
    health::backoff pauses{{}};
};

}  // namespace pgmend::proxy
