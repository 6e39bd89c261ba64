#pragma once
// The server connections of one database and one user: carries out what the ledger decides, opens
// connections, cleans those that clients leave in the middle of something, and sends cancels. One worker
// thread.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "config/metrics.hpp"
#include "pool/pool_ledger.hpp"
#include "pool/pool_sizer.hpp"
#include "pool/reset_plan.hpp"
#include "pool/server_connection.hpp"
#include "pool/server_login.hpp"
#include "pool/traffic_stats.hpp"

namespace pgmend::pool {

/// Why a waiter gets no server. Views are valid during the call.
struct pool_refusal {
    std::string_view sqlstate;
    std::string_view message;
    std::string detail;
    protocol::byte_view error_frame;  ///< the server's own words, when it said any
    bool timed_out = false;
    /// Of one that has waited, or would have to.
    config::metrics::refusal counted_as = config::metrics::refusal::wait_timeout;
    std::string_view hint = {};
};

/// Somebody who waits for a server. Exactly one of the calls follows each acquire that returned null, unless
/// the waiter withdraws. Neither is made from inside acquire.
class pool_waiter : public ledger_waiter {
public:
    virtual void granted(server_connection& server) = 0;
    virtual void refused(const pool_refusal& why) = 0;

protected:
    ~pool_waiter() = default;
};

/// Where the next login goes. Each choice that names a server is followed by one report of it.
struct endpoint_choice {
    std::optional<endpoint> where;
    /// There are servers, but none that may be logged in to at this moment: `server_pool::room` follows.
    bool busy = false;
    std::uint64_t ticket = 0;  ///< for the report
};

/// What becomes of those who wait while there is no server.
struct hold_news {
    enum class stage : std::uint8_t {
        begun,     ///< there is no server
        ended,     ///< there is one
        released,  ///< the last one who was held has been given a server, or has given up
    };
    stage what = stage::begun;
    const login_settings& login;
    std::string_view cause;     ///< of a beginning: the last failure
    std::size_t count = 0;      ///< who waits; at last, who was released
    std::size_t given_up = 0;   ///< who was told that it took too long
    config::duration lasted{};  ///< since the beginning
};

/// Where to connect to, and what became of it. Implemented above the pool, which does not know roles.
class endpoint_source {
public:
    /// Nothing while no server may be connected to; `server_pool::reconsider` follows when that changes.
    /// Who is not `patient` is told to wait only where there is no server at all.
    virtual endpoint_choice choose(bool patient) = 0;
    /// `server` is given when the login succeeded: whether it will do (target_session_attrs).
    virtual bool accepts(const endpoint& where, const server_connection& server) = 0;
    /// Returns how long to wait until the next attempt.
    virtual config::duration report(const endpoint_choice& choice, const login_outcome& outcome) = 0;
    /// Where the time is noted at which the server was last heard; null when nobody wants to know.
    virtual std::atomic<config::time_point::rep>* life_sign(const endpoint& where) noexcept = 0;
    /// Whether connections to this server may go on being used.
    virtual bool may_serve(const endpoint& where) const noexcept = 0;
    /// Whether there is any server to connect to, as far as is known.
    virtual bool any_serves() const noexcept = 0;
    /// Where the requests are counted that a server has been through with; null when nobody wants to know.
    virtual std::uint64_t* served(const endpoint& where) noexcept = 0;
    /// How many more connections the server that is used now can take; nothing when that is not known.
    virtual std::optional<std::size_t> spare_connections() const noexcept = 0;
    /// A connection broke, idle or in use.
    virtual void broke(const server_connection& server) = 0;
    /// A pool begins or ends to hold those who wait.
    virtual void holding(const hold_news& news) = 0;
    /// What is known of the servers, in words, for those who wait in vain.
    virtual std::string absence() const = 0;

protected:
    ~endpoint_source() = default;
};

class server_pool;

/// Where a pool turns to when it is short: the same pool of other workers has a part of the size as well.
class share_port {
public:
    /// Clients have waited for a while, every connection works, and there may be no more of them.
    virtual void ask_for_share(server_pool& pool) = 0;
    /// Connections may have been closed that others wait for. Returns whether some still are to be.
    virtual bool still_owes_share(const server_pool& pool) = 0;

protected:
    ~share_port() = default;
};

/// Numbers for connections, no two alike in one process: each worker counts in steps of their number.
struct connection_ids {
    std::uint64_t last = 0;
    std::uint64_t step = 1;
    std::uint64_t next() noexcept { return last += step; }
};

/// What all pools of one worker share. Outlives them.
struct pool_context {
    config::environment& env;
    network& net;
    buffer_pool& buffers;
    protocol::parameter_store& parameters;
    protocol::scram_key_cache& scram_keys;
    config::metrics::cells& metrics;
    endpoint_source& endpoints;
    gather& flight;                     ///< the worker's scratch for one flight
    connection_ids* ids = nullptr;      ///< null: connections have no number
    leak_suspects* suspects = nullptr;  ///< null: nobody remembers which statements leaked
    share_port* shares = nullptr;       ///< null: there is one worker
};

struct pool_options {
    pool_limits limits;
    /// Not zero: the size is found by trying, from this one up to `limits.size`.
    std::size_t least_size = 0;
    unsigned workers = 1;  ///< each with a pool like this one
    /// Which setting says how long a client waits (limits.wait_timeout), for the words of a refusal.
    std::string_view wait_limit = "pool.wait_timeout";
    bool shared = false;  ///< its size is a part of what all workers' pools may have together
    config::duration cleanup_timeout = std::chrono::seconds{5};
    std::size_t max_prepared_statements = 200;
    std::size_t owed_replies = 65536;
    std::size_t held_message = 1 << 20;
    bool commit_abandoned = false;
    /// Of standbys that are read from: whoever waits for one waits for the primary too, so nothing is told of
    /// that.
    bool standbys = false;
    config::duration leak_check = std::chrono::seconds{60};  ///< zero: never
};

/// Clients that gave equal startup parameters; see partition_id.
struct pool_partition {
    std::string key;
    startup_parameters parameters;
    /// What the last login reported: the welcome of the next client. Null until one succeeded.
    const protocol::parameter_set* welcome = nullptr;
};

class server_pool final : private config::timer_node, private config::deferred_node {
public:
    server_pool(const pool_context& context, login_settings login, pool_options options);
    server_pool(const server_pool&) = delete;
    server_pool& operator=(const server_pool&) = delete;
    /// No login or cleaning may be under way: see `busy`.
    ~server_pool();

    /// The partition for these parameters. `key` is startup_partition_key's.
    partition_id partition(std::string_view key, const startup_parameters& parameters);
    const pool_partition& facts(partition_id id) const noexcept { return partitions_[id]; }

    /// An idle server at once, or null: then nothing has happened yet.
    server_connection* take_idle(pool_waiter& waiter) noexcept;
    /// A server at once, or null: then the waiter stands in line.
    server_connection* acquire(pool_waiter& waiter);
    /// Where every server is some client's home already and there is room for more: the waiter stands in line
    /// for one that is opened now. False: nothing has happened.
    bool acquire_own(pool_waiter& waiter);
    /// The server that is best made the home of a client that has none; null when there is none at all.
    server_connection* home_for(partition_id id) const noexcept;
    void withdraw(pool_waiter& waiter) noexcept;
    /// Gives back a server at a safe point. `touched`: something of the client's may be left in its session.
    void release(server_connection& server, bool touched);
    /// Gives back a server whose client is gone in the middle of something: it is drained, rolled back, or
    /// closed. `mid_message`: the client stopped within a message, so nothing more can be said to this
    /// server.
    /// `left`: the client has left by itself, and was told of no error; only then an open transaction may be
    /// committed.
    void abandon(server_connection& server, bool touched, bool mid_message, bool left);
    /// A server in use that cannot go on.
    void discard(server_connection& server, config::metrics::server_close why);
    /// What is known of the servers has changed: connections to those that may no longer serve are closed,
    /// now or when they come back, and whoever waits gets another attempt at once.
    void reconsider();
    /// More logins are let through than before: one that was put off is tried again.
    void room();
    /// PAUSE: servers are closed as soon as they are free, and nobody is given one until `resume`.
    void pause();
    void resume();
    /// Settings have changed. What is of a connection's login holds for those opened from now on.
    void reconfigure(const login_rules& rules, config::duration login_timeout, const pool_options& options);
    /// Another part of what all workers may have together. Idle servers beyond it are closed now, others when
    /// they come back; `owes`: other workers wait for that.
    void set_share(std::size_t size, bool owes);
    /// Idle servers that nobody has wanted for a while.
    std::size_t unused() const noexcept;
    /// RECONNECT, or what servers are logged in to or as has changed: every connection there is now is closed
    /// as soon as it is free.
    void recycle();
    /// Whether any connection waits to be closed so.
    bool recycling() const noexcept;
    /// An idle server has something to say.
    void idle_ready(server_connection& server) noexcept;

    /// Opens a connection that is the caller's alone (replication): `done` is called once, from the loop.
    void open_dedicated(
        startup_parameters parameters,
        std::function<void(std::unique_ptr<server_connection>, const login_outcome&)> done
    );
    void dedicated_closed();

    /// Cancels what `server` runs now; at most one cancel is under way for it, and one more remembered. False
    /// when the server has given no key to cancel by.
    bool cancel(server_connection& server);

    /// Closes what is idle now and what comes back later.
    void close();
    /// Logins, cleanings or cancels under way.
    bool busy() const noexcept { return tasks_ != 0; }
    void collect_parameters(std::unordered_set<const protocol::parameter_set*>& live) const;
    /// Closed connections not yet freed.
    bool burying() const noexcept { return !dead_.empty(); }
    /// A server has once said what clients are to be greeted with.
    bool greets() const noexcept;
    const pool_ledger& ledger() const noexcept { return ledger_; }
    const login_settings& login() const noexcept { return login_; }
    traffic_stats& traffic() noexcept { return traffic_; }
    const traffic_stats& traffic() const noexcept { return traffic_; }
    const pool_options& options() const noexcept { return options_; }
    const std::vector<std::unique_ptr<server_connection>>& servers() const noexcept { return servers_; }

private:
    struct cleaning;
    void carry_out(pool_ledger::actions& actions);
    /// Those that are idle now, the others when they come back.
    template <class Condition>
    void close_as_freed(Condition concerned, config::metrics::server_close why);
    void plan_tick();
    // pool_resizing.cpp
    pool_limits limits_now() const noexcept;
    void adopt_sizing() noexcept;
    void begin_look() noexcept;
    void look_at_size();
    void resized(std::optional<sizing_reason> why);
    void note_size() noexcept;
    config::time_point share_due() const noexcept;
    void look_for_share();
    void note_hold();
    void tell_of_hold(hold_news::stage what);
    void give_up(pool_waiter& waiter, wait_end why);
    detached open(partition_id id);
    void put_off(const endpoint_choice& choice);
    detached open_alone(
        startup_parameters parameters,
        std::function<void(std::unique_ptr<server_connection>, const login_outcome&)> done
    );
    detached clean(server_connection& server, bool touched, bool left);
    detached inspect(server_connection& server);
    config::time_point check_due(const server_connection& server) const noexcept;
    void inspect_idle();
    detached send_cancel(server_connection& server);
    void refuse_all(partition_id id, const login_outcome& why);
    void close_server(server_connection& server, config::metrics::server_close why);
    void back_to_ledger(server_connection& server);
    void move(server_connection& server, server_state to) noexcept;
    std::uint64_t next_id() noexcept { return context_.ids != nullptr ? context_.ids->next() : 0; }
    void bury() noexcept;

    pool_context context_;
    login_settings login_;
    pool_options options_;
    pool_ledger ledger_;
    std::vector<pool_partition> partitions_;
    std::vector<std::unique_ptr<server_connection>> servers_;
    std::vector<std::unique_ptr<server_connection>>
        dead_;                  ///< closed; freed when nothing refers to them any more
    std::string last_failure_;  ///< of a login, for those who wait in vain
    traffic_stats traffic_;
    /// What is remembered of a period in which somebody has waited.
    struct load_look {
        config::time_point began{};
        std::uint64_t transactions = 0;
        config::duration busy{};
        config::duration waited{};
    };
    std::optional<pool_sizer> sizer_;  ///< empty: the size is fixed
    std::optional<load_look> look_;    ///< empty while nobody has to wait
    std::size_t told_size_ = 0;        ///< to the metric
    std::size_t tasks_ = 0;
    config::time_point asked_for_share_{};
    bool owes_share_ = false;
    bool closing_ = false;
    bool holding_ = false;  ///< as was told last
    bool put_off_ = false;  ///< a login, until there is room
    config::time_point holding_since_{};
    std::size_t released_ = 0;  ///< waiters, by this hold
    std::size_t given_up_ = 0;
    pool_ledger::actions free_actions_;  ///< storage kept from one release to the next
};

}  // namespace pgmend::pool
