#include "pool/pool_ledger.hpp"

#include <algorithm>

namespace pgmend::pool {

namespace {
constexpr int idle_looked_at = 16;  // how many idle servers are searched for one with equal settings
/// A line that has been there for so many times limits.queue_delay is no burst.
constexpr int standing_line = 10;
}  // namespace

ledger_server* pool_ledger::home_for(partition_id partition) const noexcept {
    ledger_server* home = nullptr;
    for (ledger_server* server = idle_.back(); server != nullptr;
         server = intrusive_list<ledger_server>::previous(*server)) {
        if (server->partition != partition) continue;
        if (home == nullptr || server->followers.size() < home->followers.size()) home = server;
        if (home->followers.empty()) break;
    }
    return home;
}

ledger_server* pool_ledger::find_idle(const ledger_waiter& waiter) const noexcept {
    ledger_server* last = waiter.last.server();
    if (last != nullptr && last->list() == &idle_ && last->partition == waiter.partition) return last;
    ledger_server* fit = nullptr;
    int fitness = -1;
    int looked_at = 0;
    for (ledger_server* server = idle_.back(); server != nullptr;
         server = intrusive_list<ledger_server>::previous(*server)) {
        if (server->partition != waiter.partition) continue;
        // Equal settings need no restore; one that is nobody's home drives nobody out.
        const int now =
            (server->parameters == waiter.parameters ? 2 : 0) + (server->followers.empty() ? 1 : 0);
        if (now == 3) return server;
        if (now > fitness) {
            fit = server;
            fitness = now;
        }
        if (++looked_at == idle_looked_at) break;
    }
    return fit;
}

void pool_ledger::lend(ledger_server& server, ledger_waiter& waiter) noexcept {
    intrusive_list<ledger_server>::remove(server);
    intrusive_list<ledger_waiter>::remove(waiter);
    ++in_use_;
}

void pool_ledger::hand_over(ledger_server& server, ledger_waiter& waiter, actions& out) {
    lend(server, waiter);
    const bool held = hold_ended_ != never && waiter.since < hold_ended_;
    out.push_back({.kind = pool_action_kind::hand_over, .server = &server, .waiter = &waiter, .held = held});
}

ledger_server* pool_ledger::take_idle(ledger_waiter& waiter, config::time_point now) noexcept {
    used_ = true;
    last_partition_ = waiter.partition;
    waiter.since = now;
    // Whoever waits already goes first, unless what is idle is of no use to them.
    ledger_server* server = find_idle(waiter);
    if (server != nullptr) lend(*server, waiter);
    return server;
}

void pool_ledger::acquire(ledger_waiter& waiter, config::time_point now, actions& out) {
    if (ledger_server* server = take_idle(waiter, now)) {
        out.push_back({.kind = pool_action_kind::hand_over, .server = server, .waiter = &waiter});
        return;
    }
    stand_in_line(waiter, now);
    consider_connecting(now, out);
}

void pool_ledger::stand_in_line(ledger_waiter& waiter, config::time_point now) noexcept {
    if (waiters_.empty()) line_began_ = now;
    waiters_.push_back(waiter);
}

bool pool_ledger::may_grow() const noexcept {
    // Those who wait already come first.
    const std::size_t expected = total() - connecting_ + std::max(connecting_, waiters_.size());
    return !closed_ && !paused_ && !holding() && retry_at_ == never && expected < limits_.size;
}

void pool_ledger::acquire_new(ledger_waiter& waiter, config::time_point now, actions& out) {
    used_ = true;
    last_partition_ = waiter.partition;
    waiter.since = now;
    stand_in_line(waiter, now);
    consider_connecting(now, out);
}

/// No server can be opened now: who waited for one although another was idle takes that.
void pool_ledger::serve_idle(actions& out) {
    for (ledger_waiter* waiter = waiters_.front(); waiter != nullptr;) {
        ledger_waiter* following = intrusive_list<ledger_waiter>::next(*waiter);
        if (ledger_server* server = find_idle(*waiter)) hand_over(*server, *waiter, out);
        waiter = following;
    }
}

void pool_ledger::withdraw(ledger_waiter& waiter) noexcept { intrusive_list<ledger_waiter>::remove(waiter); }

bool pool_ledger::expired(const ledger_server& server, config::time_point now) const noexcept {
    return limits_.lifetime > config::duration::zero() && now - server.opened_at >= limits_.lifetime;
}

bool pool_ledger::outlived(const ledger_server& server, config::time_point now) noexcept {
    if (!expired(server, now)) return false;
    if (!waiters_.empty()) {
        // A connection that works is worth more than one that cannot be had at present.
        if (holding() || now < retry_at_) return false;
        const auto apart =
            limits_.lifetime / static_cast<config::duration::rep>(std::max<std::size_t>(limits_.size, 1));
        if (lifetime_ended_ != never && now - lifetime_ended_ < apart) return false;
        lifetime_ended_ = now;
    }
    return true;
}

bool pool_ledger::put_back(ledger_server& server, config::time_point now) noexcept {
    const bool surplus = pooled() > most();
    if (closed_ || paused_ || surplus || !waiters_.empty() || expired(server, now)) return false;
    --in_use_;
    server.idle_since = now;
    idle_.push_back(server);
    return true;
}

void pool_ledger::release(ledger_server& server, config::time_point now, actions& out) {
    --in_use_;
    const bool surplus = pooled() >= most();  // besides the one that comes back
    if (closed_ || paused_ || surplus || outlived(server, now)) {
        auto reason = closed_ ? close_reason::pool_closed : close_reason::lifetime;
        if (surplus) reason = close_reason::resized;
        if (paused_) reason = close_reason::paused;
        out.push_back({.kind = pool_action_kind::close, .server = &server, .reason = reason});
        consider_connecting(now, out);
        return;
    }
    give(server, now, out);
}

void pool_ledger::give(ledger_server& server, config::time_point now, actions& out) {
    ledger_waiter* first = waiters_.front();
    for (ledger_waiter* waiter = first; waiter != nullptr;
         waiter = intrusive_list<ledger_waiter>::next(*waiter)) {
        if (waiter->partition == server.partition) {
            hand_over(server, *waiter, out);
            return;
        }
        // Another partition has waited long enough: this connection makes room for one of its own.
        const bool full = total() + 1 >= limits_.size;
        if (waiter == first && full && connecting_ == 0 && now - first->since >= limits_.repartition_delay) {
            out.push_back(
                {.kind = pool_action_kind::close, .server = &server, .reason = close_reason::repartition}
            );
            consider_connecting(now, out);
            return;
        }
    }
    server.idle_since = now;
    idle_.push_back(server);
    if (!waiters_.empty()) consider_connecting(now, out);
}

void pool_ledger::lost_in_use(config::time_point now, actions& out) {
    --in_use_;
    consider_connecting(now, out);
}

void pool_ledger::connected(ledger_server& server, config::time_point now, actions& out) {
    --connecting_;
    retry_at_ = never;
    server.opened_at = now;
    logins_fail_ = false;
    if (careful_logins_ < limits_.login_concurrency) careful_logins_ *= 2;
    if (server_there_) end_hold(now);
    if (closed_ || paused_) {
        const auto reason = closed_ ? close_reason::pool_closed : close_reason::paused;
        out.push_back({.kind = pool_action_kind::close, .server = &server, .reason = reason});
        return;
    }
    give(server, now, out);
    consider_connecting(now, out);
}

void pool_ledger::login_refused(config::time_point now, config::time_point retry_at, actions& out) {
    --connecting_;
    retry_at_ = retry_at;
    serve_idle(out);
    consider_connecting(now, out);
}

void pool_ledger::connect_failed(config::time_point now, config::time_point retry_at, actions& out) {
    --connecting_;
    retry_at_ = retry_at;
    careful_logins_ = 1;
    serve_idle(out);
    if (in_use_ == 0 && idle_.empty()) {
        logins_fail_ = true;
        begin_hold(now);
    }
    consider_connecting(now, out);
}

void pool_ledger::reconsider(bool server_there, config::time_point now, actions& out) {
    server_there_ = server_there;
    if (!server_there) {
        begin_hold(now);
        serve_idle(out);
    } else if (!logins_fail_) {
        end_hold(now);
    }
    retry_at_ = never;
    // A login under way may hang in what was; it does not keep the next one back.
    careful_logins_ = std::max(careful_logins_, connecting_ + 1);
    consider_connecting(now, out);
}

void pool_ledger::retry_now(config::time_point now, actions& out) {
    retry_at_ = never;
    consider_connecting(now, out);
}

void pool_ledger::begin_hold(config::time_point now) noexcept {
    if (!holding()) hold_began_ = now;
}

void pool_ledger::end_hold(config::time_point now) noexcept {
    if (!holding()) return;
    hold_began_ = never;
    hold_ended_ = now;
}

/// Time spent without a server is not time spent waiting for others to finish: each has its own limit, and
/// begins anew with the other. Later waiters never have an earlier deadline.
config::time_point pool_ledger::deadline(const ledger_waiter& waiter) const noexcept {
    if (holding()) return std::max(waiter.since, hold_began_) + limits_.hold_timeout;
    return std::max(waiter.since, hold_ended_) + limits_.wait_timeout;
}

/// When the pool is overloaded and this one has waited too long for that. A queue that stands adds its delay
/// to every request and serves none of them more: what cannot be answered in time is refused, so that the
/// others are (CoDel, RFC 8289, in the form that queues of requests have: those who have waited longest go,
/// as their clients are the nearest to giving up).
config::time_point pool_ledger::shed_due(const ledger_waiter& waiter) const noexcept {
    if (limits_.queue_delay <= config::duration::zero() || holding() || paused_)
        return config::time_point::max();
    return std::max(
        line_began() + standing_line * limits_.queue_delay,
        std::max(waiter.since, hold_ended_) + limits_.queue_delay
    );
}

ledger_waiter* pool_ledger::first_to_shed(ledger_waiter* from) const noexcept {
    while (from != nullptr && !from->may_be_shed)
        from = intrusive_list<ledger_waiter>::next(*from);
    return from;
}

void pool_ledger::shed(config::time_point now, actions& out) {
    for (ledger_waiter* waiter = first_to_shed(waiters_.front());
         waiter != nullptr && now >= shed_due(*waiter);) {
        ledger_waiter* following = first_to_shed(intrusive_list<ledger_waiter>::next(*waiter));
        intrusive_list<ledger_waiter>::remove(*waiter);
        out.push_back({.kind = pool_action_kind::time_out, .waiter = waiter, .end = wait_end::shed});
        waiter = following;
    }
}

bool pool_ledger::reserve_is_due(config::time_point now) const noexcept {
    return !waiters_.empty() && now - waiters_.front()->since >= limits_.reserve_timeout;
}

void pool_ledger::consider_connecting(config::time_point now, actions& out) {
    if (closed_ || paused_ || now < retry_at_) return;
    retry_at_ = never;
    // One login for each waiter that none is under way for, oldest first; then the minimum.
    std::size_t served = connecting_;
    for (ledger_waiter* waiter = waiters_.front(); waiter != nullptr;
         waiter = intrusive_list<ledger_waiter>::next(*waiter)) {
        if (served > 0) {
            --served;
            continue;
        }
        if (connecting_ >= login_limit()) return;
        const std::size_t allowed = limits_.size + (reserve_is_due(now) ? limits_.reserve_size : 0);
        if (total() >= allowed) {
            // An idle server of another partition is in the way of somebody who waits.
            ledger_server* idle = idle_.front();
            if (idle == nullptr) return;
            intrusive_list<ledger_server>::remove(*idle);
            out.push_back(
                {.kind = pool_action_kind::close, .server = idle, .reason = close_reason::repartition}
            );
        }
        ++connecting_;
        out.push_back({.kind = pool_action_kind::connect, .partition = waiter->partition});
    }
    while (used_ && total() < std::min(limits_.min_size, limits_.size) && connecting_ < login_limit()) {
        ++connecting_;
        out.push_back({.kind = pool_action_kind::connect, .partition = last_partition_});
    }
}

void pool_ledger::tick(config::time_point now, actions& out) {
    while (!waiters_.empty() && now >= deadline(*waiters_.front())) {
        ledger_waiter& waiter = *waiters_.front();
        intrusive_list<ledger_waiter>::remove(waiter);
        const wait_end end = holding() ? wait_end::held : wait_end::busy;
        out.push_back({.kind = pool_action_kind::time_out, .waiter = &waiter, .end = end});
    }
    shed(now, out);
    while (crowded()) {
        ledger_waiter& latest = *waiters_.back();
        intrusive_list<ledger_waiter>::remove(latest);
        const wait_end end = holding() ? wait_end::crowded : wait_end::full;
        out.push_back({.kind = pool_action_kind::time_out, .waiter = &latest, .end = end});
    }
    for (ledger_server* server = idle_.front(); server != nullptr;) {
        ledger_server* next = intrusive_list<ledger_server>::next(*server);
        const bool unused = limits_.idle_timeout > config::duration::zero() &&
                            now - server->idle_since >= limits_.idle_timeout && total() > limits_.min_size;
        if (unused || expired(*server, now)) {
            intrusive_list<ledger_server>::remove(*server);
            const auto reason = unused ? close_reason::idle_timeout : close_reason::lifetime;
            out.push_back({.kind = pool_action_kind::close, .server = server, .reason = reason});
        }
        server = next;
    }
    consider_connecting(now, out);
}

config::time_point pool_ledger::next_tick() const noexcept {
    auto when = config::time_point::max();
    const auto at = [&when](config::time_point since, config::duration after) {
        if (after > config::duration::zero()) when = std::min(when, since + after);
    };
    // Nothing is opened before this; a time in the past is good enough for "now".
    const auto login_allowed = std::max(retry_at_, config::time_point{});
    const bool may_connect = !closed_ && !paused_ && connecting_ < login_limit();
    if (const ledger_waiter* first = waiters_.front()) {
        when = std::min(when, crowded() ? config::time_point{} : deadline(*first));
        if (const ledger_waiter* shed_next = first_to_shed(waiters_.front()))
            when = std::min(when, shed_due(*shed_next));
        if (!closed_ && !paused_ && retry_at_ != never) when = std::min(when, retry_at_);
        const bool reserve_left = total() < limits_.size + limits_.reserve_size && total() >= limits_.size;
        if (may_connect && reserve_left && connecting_ == 0) {
            when = std::min(when, std::max(first->since + limits_.reserve_timeout, login_allowed));
        }
        // A dedicated connection that ended has made room.
        if (may_connect && connecting_ == 0 && total() < limits_.size) when = std::min(when, login_allowed);
    }
    if (const ledger_server* oldest = idle_.front()) {
        if (total() > limits_.min_size) at(oldest->idle_since, limits_.idle_timeout);
        at(oldest->opened_at, limits_.lifetime);
    }
    if (used_ && may_connect && total() < std::min(limits_.min_size, limits_.size)) {
        when = std::min(when, login_allowed);
    }
    return when;
}

void pool_ledger::close_all(actions& out) {
    closed_ = true;
    close_idle(close_reason::pool_closed, out);
}

void pool_ledger::pause(actions& out) {
    paused_ = true;
    close_idle(close_reason::paused, out);
}

void pool_ledger::resume(config::time_point now, actions& out) {
    paused_ = false;
    line_began_ = now;
    consider_connecting(now, out);
}

void pool_ledger::set_limits(pool_limits limits, config::time_point now, actions& out) {
    limits_ = limits;
    while (pooled() > most()) {
        ledger_server* oldest = idle_.front();
        if (oldest == nullptr) break;  // those in use go when they come back
        intrusive_list<ledger_server>::remove(*oldest);
        out.push_back({.kind = pool_action_kind::close, .server = oldest, .reason = close_reason::resized});
    }
    tick(now, out);
}

std::size_t pool_ledger::idle_since(config::time_point until) const noexcept {
    std::size_t count = 0;
    for (const ledger_server* server = idle_.front(); server != nullptr && server->idle_since <= until;
         server = intrusive_list<ledger_server>::next(*server)) {
        ++count;
    }
    return count;
}

void pool_ledger::close_idle(close_reason why, actions& out) {
    while (ledger_server* server = idle_.front()) {
        intrusive_list<ledger_server>::remove(*server);
        out.push_back({.kind = pool_action_kind::close, .server = server, .reason = why});
    }
}

}  // namespace pgmend::pool
