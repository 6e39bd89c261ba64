#pragma once
// The books of one pool (one database, one user): who is idle, who waits, how many there may be. It decides
// and never acts: each input appends actions that the shell carries out. Idle connections are taken latest
// first, waiters served oldest first. Pure: the time is an argument. One worker thread.

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "config/environment.hpp"
#include "pool/intrusive_list.hpp"

namespace pgmend::pool {

/// Server connections are partitioned by the startup parameters they were opened with (HEALING section 4):
/// only a client with the same ones may use them. An interned id.
using partition_id = std::uint32_t;

struct pool_limits {
    std::size_t size = 20;
    std::size_t min_size = 0;
    std::size_t reserve_size = 0;
    std::size_t login_concurrency = 8;
    config::duration reserve_timeout = std::chrono::seconds{5};
    config::duration wait_timeout = std::chrono::seconds{120};
    config::duration hold_timeout = std::chrono::seconds{60};  ///< instead, while there is no server
    std::size_t hold_max_waiters = 10'000;
    std::size_t max_waiters = 0;                                ///< while there are servers; zero: any number
    config::duration queue_delay{};                             ///< while overloaded; zero: no other limit
    config::duration idle_timeout = std::chrono::seconds{600};  ///< zero: never
    config::duration lifetime = std::chrono::seconds{3600};     ///< zero: never
    /// A waiter of another partition that has waited this long makes us give up a connection for it.
    config::duration repartition_delay = std::chrono::milliseconds{100};
};

struct ledger_server;

/// Which server is a client's home. It leaves by itself when that server goes.
class affinity : public list_node<affinity> {
public:
    affinity() = default;
    ~affinity() { attach(nullptr); }
    ledger_server* server() const noexcept { return server_; }
    inline void attach(ledger_server* server) noexcept;

private:
    ledger_server* server_ = nullptr;
};

/// What the ledger knows of a server connection. The derived object is the connection itself.
struct ledger_server : list_node<ledger_server> {
    ~ledger_server() {
        while (affinity* follower = followers.front()) {
            follower->attach(nullptr);
        }
    }
    intrusive_list<affinity> followers;
    partition_id partition = 0;
    const void* parameters = nullptr;  ///< identity of the settings it has now; equal ones need no restore
    config::time_point opened_at{};
    config::time_point idle_since{};
};

void affinity::attach(ledger_server* server) noexcept {
    if (server == server_) return;
    intrusive_list<affinity>::remove(*this);
    server_ = server;
    if (server != nullptr) server->followers.push_back(*this);
}

/// What the ledger knows of somebody who waits.
struct ledger_waiter : list_node<ledger_waiter> {
    partition_id partition = 0;
    /// Not who is on its way in, or has lost a server: they are let go last.
    bool may_be_shed = false;
    const void* parameters = nullptr;
    affinity last;  ///< the connection that is its home: preferred when it is idle
    config::time_point since{};
};

enum class pool_action_kind : std::uint8_t {
    hand_over,  ///< `server` now belongs to `waiter`
    connect,    ///< open one connection for `partition`
    close,      ///< `server` is in the books no more
    time_out,   ///< `waiter` has waited too long and waits no more
};

/// Why a waiter waits no more.
enum class wait_end : std::uint8_t {
    busy,     ///< every server was in use for too long
    held,     ///< there was no server for too long
    crowded,  ///< there is no server, and more wait than may
    full,     ///< there are servers, and more wait than may
    shed,     ///< the pool is overloaded: it is not asked what could not be answered in time
};

enum class close_reason : std::uint8_t {
    none,
    idle_timeout,
    lifetime,
    repartition,
    pool_closed,
    paused,
    resized
};

struct pool_action {
    pool_action_kind kind;
    ledger_server* server = nullptr;
    ledger_waiter* waiter = nullptr;
    partition_id partition = 0;
    close_reason reason = close_reason::none;
    wait_end end = wait_end::busy;  ///< of a time_out
    bool held = false;              ///< of a hand_over: the waiter was held, as there was no server
};

class pool_ledger {
public:
    explicit pool_ledger(pool_limits limits) noexcept : limits_(limits) {}

    using actions = std::vector<pool_action>;

    /// Somebody wants a server: an idle one is theirs at once. Null when there is none; then nothing changed.
    ledger_server* take_idle(ledger_waiter& waiter, config::time_point now) noexcept;
    /// Somebody wants a server: the first action hands one over, or the waiter now stands in line.
    void acquire(ledger_waiter& waiter, config::time_point now, actions& out);
    /// A client has come in, and there is room for a server of its own: it is the one whose process the
    /// client is told of.
    bool may_grow() const noexcept;
    /// Stands in line for a server that is opened now, whatever is idle.
    void acquire_new(ledger_waiter& waiter, config::time_point now, actions& out);
    /// A waiter that no longer wants to wait. A login under way for it goes on.
    void withdraw(ledger_waiter& waiter) noexcept;
    /// A clean server comes back, nobody waits and it may be kept: true, and there is nothing else to do.
    bool put_back(ledger_server& server, config::time_point now) noexcept;
    /// A clean server comes back.
    void release(ledger_server& server, config::time_point now, actions& out);
    /// An idle server is wanted for a moment by the pool itself; it comes back like any other.
    void borrow_idle(ledger_server& server) noexcept {
        idle_.remove(server);
        ++in_use_;
    }
    /// A server in use is gone.
    void lost_in_use(config::time_point now, actions& out);
    /// An idle server is gone.
    void lost_idle(ledger_server& server) noexcept { idle_.remove(server); }
    /// A connect succeeded; the new server is ready.
    void connected(ledger_server& server, config::time_point now, actions& out);
    /// A connect failed as there is no server to take it, or not now; no other begins before `retry_at`.
    void connect_failed(config::time_point now, config::time_point retry_at, actions& out);
    /// What is known of the servers has changed: whether any of them may be connected to. Whatever the last
    /// failure said, connecting may be tried again now.
    void reconsider(bool server_there, config::time_point now, actions& out);
    /// What kept the last login back is over: connecting may be tried again now.
    void retry_now(config::time_point now, actions& out);
    /// There is no server: who waits is held (HEALING section 8), with a limit of its own.
    bool holding() const noexcept { return hold_began_ != never; }
    config::time_point hold_began() const noexcept { return hold_began_; }
    /// Whether anybody still waits who was held.
    bool held_waiting() const noexcept {
        return !waiters_.empty() && (holding() || waiters_.front()->since < hold_ended_);
    }
    /// The server has refused this login for good (no such role, TLS): that is no outage.
    void login_refused(config::time_point now, config::time_point retry_at, actions& out);
    /// A server connection outside the pool (replication) begins or ends: it counts, but is never idle.
    void count_dedicated(std::ptrdiff_t by) noexcept { dedicated_ += static_cast<std::size_t>(by); }
    /// Time has passed: deadlines, reserve, retries, idle and lifetime limits.
    void tick(config::time_point now, actions& out);
    /// When tick is due next; time_point::max() when nothing is pending.
    config::time_point next_tick() const noexcept;
    /// Closes all idle servers; those in use are closed when they come back.
    void close_all(actions& out);
    /// New limits hold at once: what is too much goes as it becomes free, who waits gets what there is room
    /// for.
    void set_limits(pool_limits limits, config::time_point now, actions& out);
    /// How many servers have been idle since `until` at least.
    std::size_t idle_since(config::time_point until) const noexcept;
    /// Nobody is given a server any more, and none is kept: the idle ones go now, the others when they come
    /// back. Who wants one waits.
    void pause(actions& out);
    void resume(config::time_point now, actions& out);
    bool paused() const noexcept { return paused_; }
    const pool_limits& limits() const noexcept { return limits_; }

    std::size_t total() const noexcept { return idle_.size() + in_use_ + connecting_ + dedicated_; }
    std::size_t idle() const noexcept { return idle_.size(); }
    std::size_t in_use() const noexcept { return in_use_; }
    std::size_t connecting() const noexcept { return connecting_; }
    std::size_t waiting() const noexcept { return waiters_.size(); }
    ledger_waiter* first_waiter() const noexcept { return waiters_.front(); }
    /// Since when there has not been a moment without a waiter; only while there is one.
    config::time_point line_began() const noexcept { return std::max(line_began_, hold_ended_); }
    /// The idle one of a partition that the fewest clients had last; null when there is none.
    ledger_server* home_for(partition_id partition) const noexcept;

private:
    ledger_server* find_idle(const ledger_waiter& waiter) const noexcept;
    void lend(ledger_server& server, ledger_waiter& waiter) noexcept;
    void hand_over(ledger_server& server, ledger_waiter& waiter, actions& out);
    void give(ledger_server& server, config::time_point now, actions& out);
    void consider_connecting(config::time_point now, actions& out);
    void serve_idle(actions& out);
    void close_idle(close_reason why, actions& out);
    bool expired(const ledger_server& server, config::time_point now) const noexcept;
    /// A server that comes back is too old to be kept. While others wait for one, the old ones go one by one,
    /// spread over a lifetime: a pool that is always busy is renewed as well, and never all at once.
    bool outlived(const ledger_server& server, config::time_point now) noexcept;
    /// What a smaller pool closes until it fits. Dedicated connections are not its to close.
    std::size_t pooled() const noexcept { return total() - dedicated_; }
    std::size_t most() const noexcept { return limits_.size + limits_.reserve_size; }
    bool reserve_is_due(config::time_point now) const noexcept;
    void begin_hold(config::time_point now) noexcept;
    void end_hold(config::time_point now) noexcept;
    config::time_point deadline(const ledger_waiter& waiter) const noexcept;
    void stand_in_line(ledger_waiter& waiter, config::time_point now) noexcept;
    void shed(config::time_point now, actions& out);
    ledger_waiter* first_to_shed(ledger_waiter* from) const noexcept;
    config::time_point shed_due(const ledger_waiter& waiter) const noexcept;
    bool crowded() const noexcept {
        if (holding()) return waiters_.size() > limits_.hold_max_waiters;
        // Who was held, or waits for RESUME, did not come to a full pool.
        const bool held = waiters_.empty() || paused_ || waiters_.back()->since < hold_ended_;
        return !held && limits_.max_waiters != 0 && waiters_.size() > limits_.max_waiters;
    }
    /// How many may be logging in at one time: one while logins fail, then twice as many after each that did
    /// not, so that a server that has just come back is not run over.
    std::size_t login_limit() const noexcept { return std::min(limits_.login_concurrency, careful_logins_); }

    static constexpr config::time_point never = config::time_point::min();

    pool_limits limits_;
    intrusive_list<ledger_server> idle_;  ///< the latest at the back
    intrusive_list<ledger_waiter> waiters_;
    std::size_t in_use_ = 0;
    std::size_t connecting_ = 0;
    std::size_t dedicated_ = 0;
    partition_id last_partition_ = 0;
    bool used_ = false;  ///< somebody was here: min_size holds from then on
    bool closed_ = false;
    bool paused_ = false;
    config::time_point retry_at_ = never;
    config::time_point line_began_ = never;
    config::time_point lifetime_ended_ = never;  ///< when the last old one was closed while others waited
    config::time_point hold_began_ = never;
    config::time_point hold_ended_ = never;
    bool server_there_ = true;  ///< by the health monitor
    bool logins_fail_ = false;  ///< the last one did, and no server works
    std::size_t careful_logins_ = static_cast<std::size_t>(-1);
};

}  // namespace pgmend::pool
