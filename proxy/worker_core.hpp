#pragma once
// Everything one worker owns but its thread and its sockets: sessions, pools, buffers, caches. The production
// worker and the simulator run it alike. One thread.

#include <array>
#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "config/settings.hpp"
#include "health/retry_budget.hpp"
#include "health/retry_schedule.hpp"
#include "pool/server_pool.hpp"
#include "pool/share_book.hpp"
#include "pool/tls_handshake.hpp"
#include "proxy/admin/admin_port.hpp"
#include "proxy/admin/worker_admin.hpp"
#include "proxy/client_counts.hpp"
#include "proxy/limits/limit_book.hpp"
#include "proxy/login/auth_query.hpp"
#include "proxy/login/live_files.hpp"
#include "proxy/login/login_throttle.hpp"
#include "proxy/login/user_directory.hpp"
#include "proxy/servers/backend_cluster.hpp"
#include "proxy/servers/database_catalog.hpp"
#include "proxy/servers/server_logins.hpp"
#include "proxy/servers/server_news.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/commit_guard.hpp"
#include "proxy/session/healing_ledger.hpp"
#include "proxy/session/standby_reader.hpp"
#include "proxy/session/wal_witness.hpp"

namespace pgmend::proxy {

class worker_core;

struct worker_options {
    std::shared_ptr<const config::settings> settings;
    unsigned index = 0;
    unsigned workers = 1;  ///< not more than there are server connections to a pool
    /// What this worker is given of something that all have together.
    std::size_t share_of(std::size_t whole) const noexcept {
        return whole / workers + (index < whole % workers ? 1 : 0);
    }
    std::string process_secret;           ///< of all workers of one process
    live_facts live;                      ///< at the start; `secrets` and `access` are never null
    evidence_sink evidence;               ///< for the health monitor; may be empty
    std::shared_ptr<life_signs> life;     ///< one for each server; may be null
    std::shared_ptr<spare_counts> spare;  ///< one for each server; may be null
    /// How far each server has come, by the health checks; null: no standby is read from.
    std::shared_ptr<const health::standby_positions> positions;
    /// True while memory is short (memory_guard); may be null.
    std::shared_ptr<const std::atomic<bool>> memory_pressed;
    /// From when on memory is short for large requests that wait for a server: bytes of all messages on their
    /// way. It grows faster than the one above is looked at.
    std::size_t held_bytes = std::numeric_limits<std::size_t>::max();
    /// Shared by all workers of one process; null: this worker is the only one.
    std::shared_ptr<catalog_epoch> schema_changes;
    /// Has another worker do something on its own thread; may be empty with one worker.
    std::function<void(unsigned worker, std::function<void(worker_core&)>)> to_worker;
    /// Shared by all workers of one process; null: this worker is the only one.
    std::shared_ptr<client_counts> clients;
    /// Gives an accepted connection to another worker; may be empty with one worker.
    std::function<void(unsigned worker, int descriptor, std::string peer, bool local)> hand_over;
    /// What clients may have and ask for, of all workers of one process; null: this worker is the only one.
    std::shared_ptr<limit_book> limits;
    /// Does the handshakes of clients who come by TLS, and outlives the worker_core; null: they are done
    /// here.
    pool::handshake_desk* handshakes = nullptr;
    /// Reads servers' WAL; may be empty.
    wal_port wal;
    /// Where its sockets receive through io_uring: into so many bytes at most. Zero: they do not.
    std::size_t ring_bytes = 0;
    /// Takes what is asked on a console; empty: there is no console.
    console_port console;
};

class worker_core final : private config::deferred_node, private login_changes, private pool::share_port {
public:
    worker_core(
        config::environment& env, pool::network& net, config::metrics::cells& metrics, worker_options options
    );
    worker_core(const worker_core&) = delete;
    worker_core& operator=(const worker_core&) = delete;
    /// All sessions must be gone and no pool busy: see `quiet`.
    ~worker_core();

    /// A client has connected. `peer` is for logs.
    void accept(std::unique_ptr<pool::stream> client, std::string peer, bool local);
    /// Files have changed. Who is in stays in; logins under way go on with what they began with.
    void replace(const live_facts& live);
    /// Settings have changed as well. Those that need a restart must be as they were.
    void reconfigure(std::shared_ptr<const config::settings> settings, const live_facts& live);
    /// SIGTERM: clients are closed at safe points, new ones are refused.
    void drain();
    /// Ends all sessions now; their servers are cleaned or closed.
    void kill_all();
    /// What is known of the servers has changed.
    void update(health::topology_snapshot picture);
    /// Closes the idle servers and those that come back.
    void close_pools();
    /// No session lives and nothing is under way.
    bool quiet() const noexcept;
    /// A CancelRequest, of this worker's clients or not.
    void cancel(std::uint32_t pid, protocol::byte_view key);
    /// For administrators.
    worker_admin& admin() noexcept { return admin_; }
    std::uint64_t next_id() noexcept { return ids_.next(); }
    /// This worker's part of listen.max_clients.
    std::size_t max_sessions() const noexcept;
    std::size_t sessions() const noexcept { return sessions_.size() + ended_.size(); }
    std::size_t server_connections() const noexcept;

    // For sessions.
    /// Requests that wait for a server that takes writes.
    std::size_t& writes_waiting() noexcept { return writes_waiting_; }
    /// One of them has gone through: the others need not wait longer.
    void writes_taken() noexcept;
    config::environment& env() noexcept { return env_; }
    pool::buffer_pool& buffers() noexcept { return buffers_; }
    pool::gather& flight_to_client() noexcept { return to_client_; }
    pool::gather& flight_to_server() noexcept { return to_server_; }
    config::metrics::cells& metrics() noexcept { return metrics_; }
    protocol::parameter_store& parameters() noexcept { return parameters_; }
    const relay_context& relay() const noexcept { return relay_; }
    statement_tallies& tallies() noexcept { return tallies_; }
    const config::settings& settings() const noexcept { return *options_.settings; }
    const worker_options& options() const noexcept { return options_; }
    user_directory& users() noexcept { return users_; }
    const live_facts& live() const noexcept { return options_.live; }
    login_throttle& throttle() noexcept { return throttle_; }
    limit_book& limits() noexcept { return *options_.limits; }
    /// A login begins; the oldest one has to go when there are too many.
    void login_begins(client_login& login);
    std::size_t held_message() const noexcept { return relay_.held_message; }
    bool draining() const noexcept { return draining_; }
    health::retry_budget& retries() noexcept { return retries_; }
    health::retry_limits retry_limits() const noexcept;
    bool short_of_memory() const noexcept {
        return options_.memory_pressed && options_.memory_pressed->load(std::memory_order_relaxed);
    }
    bool short_of_memory_to_wait() const noexcept {
        return buffers_.leased_bytes() > options_.held_bytes || short_of_memory();
    }
    /// What was healed for this worker's clients; the first worker's tells of primaries too.
    healing_ledger& ledger() noexcept { return ledger_; }
    backend_cluster& cluster() noexcept { return cluster_; }
    pool::server_pool& pool_for(const std::string& database, const std::string& user);
    database_catalog& catalog_of(const std::string& database);
    /// The connection that listens for all clients of a database; `user` opens it where there is none.
    notification_hub& hub_for(const std::string& database, const std::string& user);
    /// Connections to standbys, for those of that database and user who may read there.
    pool::server_pool& read_pool(const std::string& database, const std::string& user);
    standby_readers& reads() noexcept { return reads_; }
    pool::server_pool& listen_pool(const std::string& database, const std::string& user);
    auth_query& asking() noexcept { return asking_; }
    /// The connections that auth.query asks on: its own, of no client's.
    pool::server_pool& auth_pool();
    /// A key that no other client of this worker has.
    client_key register_key(client_session& session, std::uint32_t pid, bool long_secret);
    void finished(client_session& session) noexcept;
    /// Forgets sets of parameters that nobody has any more, when there are many.
    void sweep_parameters();

private:
    friend class worker_admin;
    void bury() noexcept;
    void about_logins(std::string_view text) override;
    void drop_unused_pools();
    // worker_pools.cpp
    void reconfigure_pools();
    pool::pool_options client_pool_options(const std::string& database, const std::string& user) const;
    pool::pool_options auth_options() const;
    pool::pool_options listen_options() const;
    pool::pool_options read_options(const std::string& database, const std::string& user) const;
    std::size_t given_share(const pool::pool_name& name) const;
    // worker_shares.cpp
    void ask_for_share(pool::server_pool& pool) override;
    bool still_owes_share(const pool::server_pool& pool) override;
    const pool::pool_name& name_of(const pool::server_pool& pool) const;
    void lend_share(const pool::share_request& request);
    void hand_share(const pool::pool_name& name, unsigned worker, std::size_t parts);
    void take_share(const pool::pool_name& name, std::uint64_t settings, std::size_t parts);
    void adopt_share(const pool::pool_name& name);

    config::environment& env_;
    config::metrics::cells& metrics_;
    worker_options options_;
    pool::buffer_pool buffers_;
    pool::gather to_client_;
    pool::gather to_server_;
    protocol::parameter_store parameters_;
    protocol::scram_key_cache scram_keys_;
    protocol::statement_store statements_;
    protocol::statement_classifier classifier_;
    std::uint64_t schema_epoch_ = 0;
    std::uint64_t doubts_ = 0;
    sequence_habits habits_;
    pool::leak_suspects suspects_;
    commit_guard guard_;
    statement_tallies tallies_;
    relay_context relay_;
    health::retry_budget retries_;
    healing_ledger ledger_;
    server_news news_{ledger_};
    user_directory users_;
    server_logins logins_;
    login_throttle throttle_;
    pool::intrusive_list<client_login> logins_under_way_;  ///< oldest first
    backend_cluster cluster_;
    standby_readers reads_;
    pool::connection_ids ids_;
    pool::pool_context pool_context_;
    pool::pool_context read_context_;  ///< the same, towards standbys
    std::map<pool::pool_name, std::unique_ptr<pool::server_pool>> pools_;
    pool::share_book shares_;
    std::map<std::string, std::unique_ptr<database_catalog>> catalogs_;
    pool::intrusive_list<client_session> sessions_;
    pool::intrusive_list<client_session> ended_;  ///< freed when the event under way is over
    std::unordered_map<std::uint32_t, client_session*> keys_;
    std::map<std::string, pool::traffic_stats> past_traffic_;  ///< of pools that are no more, by database
    auth_query asking_{*this};
    std::map<std::string, std::unique_ptr<notification_hub>> hubs_;
    worker_admin admin_{*this};
    std::size_t writes_waiting_ = 0;
    bool draining_ = false;
    bool closing_ = false;
};

}  // namespace pgmend::proxy
