#pragma once
// What SHOW is made of: values that each worker, and the control plane, tells of itself at one moment. Made
// on the worker's thread, read on the control thread. Pure data.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "health/check_history.hpp"
#include "health/topology.hpp"
#include "pool/stream.hpp"
#include "pool/traffic_stats.hpp"
#include "proxy/limits/limiter.hpp"
#include "proxy/servers/server_breakers.hpp"
#include "proxy/session/healing_ledger.hpp"
#include "proxy/session/protection.hpp"
#include "proxy/session/session_facts.hpp"
#include "proxy/session/statement_tallies.hpp"

namespace pgmend::proxy {

/// In PgBouncer's words.
enum class client_state : std::uint8_t { active, idle, waiting };

struct client_facts {
    std::uint64_t id = 0;
    std::uint64_t server = 0;  ///< the id of the one it has; 0: none
    std::string user;
    std::string database;
    std::string application_name;
    pool::stream_ends ends;
    client_state state = client_state::idle;
    std::string_view replication = "none";  ///< or `logical`, `physical`
    bool close_needed = false;
    bool busy = false;  ///< bytes are held for it, or it is being served
    std::size_t prepared = 0;
    pin_set pins;
    /// How long ago.
    config::duration connected{};
    config::duration requested{};
    config::duration waited{};
};

enum class shown_server : std::uint8_t { active, idle, tested, login, being_canceled };

struct server_facts {
    std::uint64_t id = 0;
    std::uint64_t client = 0;  ///< the id of the one that has it; 0: none
    std::string user;
    std::string database;
    std::string application_name;
    pool::stream_ends ends;
    shown_server state = shown_server::idle;
    std::size_t place = 0;  ///< of its server (health::server_directory)
    std::string_view replication = "none";
    bool close_needed = false;
    bool busy = false;
    std::uint32_t pid = 0;
    std::size_t prepared = 0;
    config::duration connected{};
    config::duration requested{};
};

struct pool_facts {
    std::string database;
    std::string user;
    std::uint64_t clients_active = 0;
    std::uint64_t clients_waiting = 0;
    std::uint64_t cancels = 0;  ///< on their way to servers
    std::uint64_t servers_active = 0;
    std::uint64_t servers_being_canceled = 0;
    std::uint64_t servers_idle = 0;
    std::uint64_t servers_tested = 0;
    std::uint64_t servers_login = 0;
    std::uint64_t size = 0;  ///< connections there may be
    config::duration longest_wait{};
    bool paused = false;
    bool recycling = false;  ///< RECONNECT is not through
    bool empty = true;       ///< no server connection, and none under way
};

/// How often a pin stands, and was made.
struct pin_count {
    std::int64_t now = 0;
    std::uint64_t made = 0;
};

struct memory_facts {
    std::size_t sessions = 0;
    std::size_t servers = 0;
    std::size_t session_bytes = 0;  ///< of each
    std::size_t server_bytes = 0;
    std::size_t buffer_blocks = 0;  ///< lent out now
    std::size_t parameter_sets = 0;
    std::size_t catalogs = 0;
};

/// Which parts are wanted: a list of ten thousand clients is not made for SHOW POOLS.
struct facts_wanted {
    bool clients = false;
    bool servers = false;
    bool healings = false;
    bool limits = false;
    bool statements = false;
    bool coverage = false;
    bool protection = false;
};

/// Transactions under way on one database.
struct live_coverage {
    std::uint64_t all = 0;
    std::map<std::string_view, std::uint64_t> lost;  ///< if their servers were lost now, by why
};

/// A part of one worker's ledger.
struct ledger_page {
    std::vector<healing_event> acts;  ///< the oldest first
    std::uint64_t last = 0;  ///< the number of the last act there is, whether it is among them or not
};

struct worker_facts {
    std::vector<breaker_facts> breakers;
    std::vector<protection_facts> protections;
    std::vector<bool> usable;             ///< by place of the server: whether requests can go there now
    std::vector<healing_event> healings;  ///< oldest first
    std::vector<client_facts> clients;
    std::vector<server_facts> servers;
    std::vector<pool_facts> pools;
    std::map<std::string, pool::traffic_stats> traffic;  ///< by database, since the start
    std::array<pin_count, config::metrics::pin_reason_words.size()> pins{};
    std::array<std::uint64_t, config::metrics::refusal_words.size()> refusals{};
    std::vector<limit_facts> limits;                ///< of all workers: told by the first one
    std::vector<statement_tally> statements;        ///< in no order
    std::map<std::string, live_coverage> coverage;  ///< by database
    memory_facts memory;
    std::size_t logins = 0;  ///< clients on their way in
    std::size_t consoles = 0;
    /// What became of connections to servers, since the start.
    struct {
        std::uint64_t opened = 0;
        std::uint64_t lost_in_use = 0;
        std::uint64_t rolled_back = 0;  ///< as their client had left a transaction
        std::uint64_t reset = 0;        ///< by DISCARD ALL
    } connections;
};

/// A name and what it stands for.
struct resolved_name {
    std::string host;
    std::vector<std::string> addresses;
    std::int64_t next_look_s = 0;
};

/// A server that gets no new requests, by an administrator's word.
struct ban_facts {
    std::size_t place = 0;  ///< of the server
    /// Until it ends by itself; nothing: it does not.
    std::optional<std::int64_t> left_s;
};

/// The averages of the last whole period, by database.
struct traffic_period {
    std::map<std::string, pool::traffic_stats> older;
    std::map<std::string, pool::traffic_stats> newer;
    double seconds = 0;  ///< 0: no period is over yet
};

/// Everything at one moment.
struct admin_facts {
    std::shared_ptr<const config::settings> settings;
    std::vector<worker_facts> workers;
    health::topology_snapshot topology;
    std::vector<resolved_name> names;
    traffic_period period;
    std::vector<ban_facts> bans;
    std::vector<wal_access> wal;        ///< of each server
    std::vector<std::string> disabled;  ///< databases
    std::vector<std::string> paused;
    bool all_paused = false;
    std::int64_t now_s = 0;   ///< since 1970
    std::int64_t now_ms = 0;  ///< the same, finer
    double resident_bytes = 0;
    std::uint16_t port = 0;
    // What is not the workers': set on the control thread, and read there.
    config::time_point now{};  ///< the moment of `now_ms`
    const health::check_history* checks = nullptr;
    std::uint64_t memory_limit = 0;  ///< bytes; 0: none
    bool memory_pressed = false;     ///< new clients are refused
    bool draining = false;
};

}  // namespace pgmend::proxy
