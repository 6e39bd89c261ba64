#include "config/pgbouncer_policy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "config/pgbouncer_ini.hpp"

namespace pgmend::config {

namespace {

/// How a value is written in a policy.
enum class form : std::uint8_t { text, number, seconds };

struct direct_name {
    std::string_view theirs;
    std::string_view ours;
    form written;
    std::string_view initial;  ///< PgBouncer's default where ours is another; empty: the same
};
/// What means the same under another name.
constexpr std::array direct_names{
    direct_name{"listen_port", "listen.port", form::number, {}},
    direct_name{"listen_backlog", "listen.backlog", form::number, {}},
    direct_name{"unix_socket_dir", "listen.unix_socket_dir", form::text, "/tmp"},
    direct_name{"unix_socket_mode", "listen.unix_socket_mode", form::text, {}},
    direct_name{"max_client_conn", "listen.max_clients", form::number, "100"},
    direct_name{"max_db_client_connections", "limits.database_clients", form::number, {}},
    direct_name{"max_user_client_connections", "limits.user_clients", form::number, {}},
    direct_name{"query_timeout", "limits.query_timeout", form::seconds, {}},
    direct_name{"idle_transaction_timeout", "limits.idle_transaction_timeout", form::seconds, {}},
    direct_name{"transaction_timeout", "limits.transaction_timeout", form::seconds, {}},
    direct_name{"client_login_timeout", "listen.login_timeout", form::seconds, {}},
    direct_name{"default_pool_size", "pool.size", form::number, {}},
    direct_name{"min_pool_size", "pool.min_size", form::number, {}},
    direct_name{"reserve_pool_size", "pool.reserve_size", form::number, {}},
    direct_name{"reserve_pool_timeout", "pool.reserve_timeout", form::seconds, {}},
    direct_name{"query_wait_timeout", "pool.wait_timeout", form::seconds, {}},
    direct_name{"server_idle_timeout", "pool.idle_timeout", form::seconds, {}},
    direct_name{"server_lifetime", "pool.lifetime", form::seconds, {}},
    direct_name{"server_connect_timeout", "upstream.connect_timeout", form::seconds, {}},
    direct_name{"server_login_retry", "pool.retry_delay_max", form::seconds, "15"},
    direct_name{"max_prepared_statements", "pool.max_prepared_statements", form::number, {}},
    direct_name{"auth_file", "auth.userlist", form::text, {}},
    direct_name{"auth_hba_file", "auth.hba_file", form::text, {}},
    direct_name{"auth_ident_file", "auth.ident_file", form::text, {}},
    direct_name{"auth_user", "auth.query.user", form::text, {}},
    direct_name{"auth_dbname", "auth.query.database", form::text, {}},
    direct_name{"auth_query", "auth.query.sql", form::text, {}},
    direct_name{"admin_users", "admin.users", form::text, {}},
    direct_name{"stats_users", "admin.stats_users", form::text, {}},
    direct_name{"stats_period", "admin.stats_period", form::seconds, {}},
    direct_name{"client_tls_sslmode", "listen.tls.mode", form::text, {}},
    direct_name{"client_tls_cert_file", "listen.tls.cert", form::text, {}},
    direct_name{"client_tls_key_file", "listen.tls.key", form::text, {}},
    direct_name{"client_tls_ca_file", "listen.tls.ca", form::text, {}},
    direct_name{"server_tls_sslmode", "upstream.tls.mode", form::text, {}},
    direct_name{"server_tls_cert_file", "upstream.tls.cert", form::text, {}},
    direct_name{"server_tls_key_file", "upstream.tls.key", form::text, {}},
    direct_name{"server_tls_ca_file", "upstream.tls.ca", form::text, {}}};

/// What pgmend has no need to be told, and why.
struct needless {
    std::string_view theirs;
    std::string_view reason;
};
constexpr std::array needless_names{
    needless{"ignore_startup_parameters", "every startup parameter is understood and kept for each client"},
    needless{"track_extra_parameters", "every parameter follows its client"},
    needless{"server_check_query", "a dead server is noticed without being asked"},
    needless{"server_check_delay", "a dead server is noticed without being asked"},
    needless{"server_reset_query", "a server is made clean by what was done to it"},
    needless{"server_reset_query_always", "a server is made clean by what was done to it"},
    needless{"logfile", "the log goes to standard error"},
    needless{"pidfile", "whoever starts pgmend knows its pid"},
    needless{"user", "start it as the user that it is to run as"},
    needless{"syslog", "the log goes to standard error"},
    needless{"syslog_ident", "the log goes to standard error"},
    needless{"syslog_facility", "the log goes to standard error"},
    needless{"log_connections", "log.level decides"},
    needless{"log_disconnections", "log.level decides"},
    needless{"log_pooler_errors", "log.level decides"},
    needless{"log_stats", "/metrics has them"},
    needless{"pkt_buf", "buffers are lent to who has something to send"},
    needless{"listen_backlog_queue", "there is one queue"},
    needless{"so_reuseport", "threads share the port: see `workers`"},
    needless{"peer_id", "a cancel reaches its client in one process"},
    needless{"dns_max_ttl", "names are looked up again all the time"},
    needless{"dns_nxdomain_ttl", "names are looked up again all the time"},
    needless{"tcp_keepalive", "is always on"},
    needless{"scram_iterations", "PostgreSQL's 4096 where none is given with the secret"},
    needless{"job_name", "there are no jobs"}};

/// PgBouncer's values that mean that nothing is wanted.
bool says_nothing(std::string_view value) { return value.empty() || value == "0"; }

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char each : text) {
        if (each == '"' || each == '\\') result += '\\';
        result += each;
    }
    return result + '"';
}

/// Seconds, with a fraction perhaps, in our units; nothing for what is no number.
std::optional<std::string> duration_of(std::string_view seconds) {
    double value = 0;
    const auto [end, error] = std::from_chars(seconds.data(), seconds.data() + seconds.size(), value);
    if (error != std::errc{} || end != seconds.data() + seconds.size() || value < 0 || value > 1e9)
        return std::nullopt;
    const auto ms = static_cast<long long>(value * 1000 + 0.5);
    if (ms == 0) return "0";
    return ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

bool is_whole(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

class converter {
public:
    explicit converter(std::string_view ini) : ini_(parse_ini(ini)) {}

    pgbouncer_policy run() {
        result_.errors = ini_.errors;
        if (!result_.errors.empty()) return std::move(result_);
        read_general();
        for (const direct_name& each : direct_names)
            if (!each.initial.empty()) given_.try_emplace(std::string(each.theirs), each.initial);
        translate_names();
        translate_addresses();
        translate_modes();
        translate_rest();
        // What is said of a user is stronger than what is said of a database: the first rule decides.
        for (const ini_section& section : ini_.sections)
            translate_other(section);
        translate_databases();
        if (!limit_rules_.empty()) set("limits.rules", "[" + limit_rules_ + "]");
        if (!pool_rules_.empty()) set("pool.rules", "[" + pool_rules_ + "]");
        result_.yaml = written();
        return std::move(result_);
    }

private:
    void lacks(std::string what) { result_.missing.push_back(std::move(what)); }
    void set(std::string_view key, std::string text) { policy_[std::string(key)] = std::move(text); }

    std::optional<std::string> take(std::string_view key) {
        const auto found = given_.find(std::string(key));
        if (found == given_.end()) return std::nullopt;
        std::string value = found->second;
        given_.erase(found);
        return value;
    }

    void read_general() {
        for (const ini_section& section : ini_.sections) {
            if (section.name != "pgbouncer") continue;
            for (const ini_entry& entry : section.entries)
                given_[entry.key] = entry.value;
        }
    }

    void translate_names() {
        for (const direct_name& each : direct_names) {
            const auto value = take(each.theirs);
            if (!value || (each.written == form::text && value->empty() && each.theirs != "unix_socket_dir"))
                continue;
            const bool endless = each.theirs == "query_wait_timeout" || each.theirs == "client_login_timeout";
            if (each.theirs == "default_pool_size" && *value == "0") {
                lacks("default_pool_size = 0: a pool always has an end; pool.size keeps its default");
            } else if (each.theirs == "max_prepared_statements" && *value == "0") {
                lacks("max_prepared_statements = 0: prepared statements are always followed");
            } else if (endless && *value == "0") {
                lacks(std::string(each.theirs) + " = 0: every wait has an end; it is set to the longest");
                set(each.ours, each.theirs == "query_wait_timeout" ? "24h" : "1h");
            } else if (each.written == form::seconds) {
                const auto time = duration_of(*value);
                if (time) set(each.ours, *time);
                if (!time) lacks(std::string(each.theirs) + " = " + *value + ": is no number of seconds");
            } else if (each.written == form::number && !is_whole(*value)) {
                lacks(std::string(each.theirs) + " = " + *value + ": is no whole number");
            } else {
                set(each.ours, each.written == form::text ? quoted(*value) : *value);
            }
        }
    }

    void translate_addresses() {
        const std::string list = take("listen_addr").value_or("");
        const std::string first = list.substr(0, list.find(','));
        if (first.size() < list.size())
            lacks("listen_addr = " + list + ": pgmend listens on one address, the first");
        set("listen.host", quoted(first));
    }

    void translate_modes() {
        const std::string mode = take("pool_mode").value_or("session");
        if (mode == "statement")
            lacks("pool_mode = statement: transaction, which carries transactions as well");
        set("pool.mode", mode == "session" ? "session" : "transaction");
        const std::string method = take("auth_type").value_or("md5");
        if (method == "plain") {
            set("auth.method", "password");
        } else if (method == "trust" || method == "md5" || method == "scram-sha-256" || method == "cert") {
            set("auth.method", method);
        } else if (method != "hba") {
            lacks("auth_type = " + method + ": has no equivalent; scram-sha-256 holds");
        }
        for (const std::string_view side : {"client", "server"}) {
            const std::string name = std::string(side) + "_tls_protocols";
            const auto protocols = take(name);
            const std::string ours = side == "client" ? "listen.tls." : "upstream.tls.";
            if (!protocols || *protocols == "secure" || *protocols == "default") continue;
            if (*protocols == "tlsv1.3") {
                set(ours + "min_version", "TLSv1.3");
            } else {
                lacks(
                    name + " = " + *protocols + ": TLS 1.2 and 1.3 are spoken; see " + ours + "min_version"
                );
            }
        }
    }

    void translate_rest() {
        if (const auto verbose = take("verbose"); verbose && !says_nothing(*verbose))
            set("log.level", "debug");
        for (const needless& each : needless_names) {
            const auto value = take(each.theirs);
            if (value && !says_nothing(*value))
                needless_.push_back(std::string(each.theirs) + ": " + std::string(each.reason));
        }
        for (const auto& [key, value] : given_)
            if (!says_nothing(value)) lacks(key + " = " + value);
    }

    void translate_databases() {
        std::string all_servers;
        for (const ini_section& section : ini_.sections) {
            if (section.name != "databases") continue;
            for (const ini_entry& entry : section.entries)
                translate_database(entry, all_servers);
        }
        if (!all_servers.empty()) set("upstream.servers", "[" + all_servers + "]");
    }

    void translate_database(const ini_entry& entry, std::string& all_servers) {
        const std::string where = "[databases] " + entry.key;
        std::vector<std::pair<std::string, std::string>> words;
        if (!parse_ini_words(entry.value, words)) {
            result_.missing.push_back(where + ": is not well formed");
            return;
        }
        std::map<std::string, std::string> parts(words.begin(), words.end());
        const std::string servers = servers_of(parts);
        if (all_servers.empty()) all_servers = servers;
        if (servers != all_servers)
            lacks(
                where + ": its servers are others; a pgmend stands before one cluster: start one more for it"
            );
        const std::string name = parts.contains("dbname") ? parts["dbname"] : entry.key;
        if (name != entry.key && entry.key != "*")
            lacks(where + ": dbname=" + name + ": a database keeps its name");
        if (entry.key != "*" && !policy_.contains("upstream.database"))
            set("upstream.database", quoted(name));
        if (parts.contains("user")) {
            lacks(where + ": user: servers are logged in to as the client's user");
            if (!policy_.contains("upstream.user")) {
                set("upstream.user", quoted(parts["user"]));
                if (parts.contains("password")) set("upstream.password", quoted(parts["password"]));
            }
        }
        const std::set<std::string> read{"host", "port", "dbname", "user", "password"};
        const std::string names = entry.key == "*" ? "" : "database: " + quoted(name);
        std::string pool;
        for (const auto& [key, value] : words) {
            if (read.contains(key) || (!names.empty() && in_pool_rule(where, key, value, pool))) continue;
            if (!names.empty() && key == "max_db_client_connections" && is_whole(value)) {
                if (!says_nothing(value)) add_limit_rule(names, ", clients: " + value);
                continue;
            }
            lacks(where + ": " + key + "=" + value + ": holds for all or for none");
        }
        add_pool_rule(names, pool);
    }

    /// What PgBouncer says of one database's or user's pools, as it is written in a rule. False where it is
    /// something else.
    bool in_pool_rule(
        const std::string& where, const std::string& key, const std::string& value, std::string& pool
    ) {
        static const std::map<std::string, std::string> sizes{
            {"pool_size", "size"},
            {"min_pool_size", "min_size"},
            {"reserve_pool_size", "reserve_size"},
            {"reserve_pool", "reserve_size"}};
        if (const auto size = sizes.find(key); size != sizes.end() && is_whole(value)) {
            if (size->second == "size" && value == "0") return false;
            pool += ", " + size->second + ": " + value;
            return true;
        }
        static const std::map<std::string, std::string> times{
            {"query_wait_timeout", "wait_timeout"}, {"server_lifetime", "lifetime"}};
        if (const auto time = times.find(key); time != times.end()) {
            // A lifetime of 0 is that of all; a wait of 0 is one without an end.
            if (value == "-1" || (key == "server_lifetime" && says_nothing(value))) return true;
            auto text = duration_of(value);
            if (!text) return false;
            if (*text == "0") {
                lacks(where + ": " + key + " = 0: every wait has an end; it is set to the longest");
                text = "24h";
            }
            pool += ", " + time->second + ": " + *text;
            return true;
        }
        if (key != "pool_mode" || (value != "session" && value != "transaction")) return false;
        pool += ", mode: " + value;
        return true;
    }

    void add_pool_rule(const std::string& names, const std::string& pool) {
        if (pool.empty()) return;
        pool_rules_ += (pool_rules_.empty() ? "" : ", ") + ("{" + names) + pool + "}";
    }

    void add_limit_rule(const std::string& names, const std::string& limits) {
        if (!limits.empty())
            limit_rules_ += (limit_rules_.empty() ? "" : ", ") + ("{" + names) + limits + "}";
    }

    /// In the policy's spelling. Without a host it is the socket of this machine.
    static std::string servers_of(std::map<std::string, std::string>& parts) {
        std::string hosts = parts.contains("host") ? parts["host"] : "/var/run/postgresql";
        const std::string port = parts.contains("port") ? parts["port"] : "5432";
        std::string list;
        while (!hosts.empty()) {
            std::string host = hosts.substr(0, hosts.find(','));
            hosts.erase(0, std::min(hosts.size(), host.size() + 1));
            if (host.find(':') != host.npos) host = "[" + host + "]";
            list += (list.empty() ? "" : ", ") + quoted(host + ":" + port);
        }
        return list;
    }

    void translate_other(const ini_section& section) {
        if (section.name == "pgbouncer" || section.name == "databases") return;
        for (const ini_entry& entry : section.entries) {
            if (section.name != "users" || !translate_user(entry))
                lacks("[" + section.name + "] " + entry.key + " = " + entry.value);
        }
    }

    /// A user's own limits become a rule. False where nothing of the entry has an equivalent.
    bool translate_user(const ini_entry& entry) {
        std::vector<std::pair<std::string, std::string>> words;
        if (!parse_ini_words(entry.value, words)) return false;
        std::string limits;
        std::string pool;
        bool known = false;
        std::vector<std::string> others;
        for (const auto& [key, value] : words) {
            const bool timeout =
                key == "query_timeout" || key == "idle_transaction_timeout" || key == "transaction_timeout";
            const auto time = timeout ? duration_of(value) : std::nullopt;
            // There 0 means: as for all.
            if (time) {
                if (*time != "0") limits += ", " + key + ": " + *time;
                known = true;
            } else if (key == "max_user_client_connections" && is_whole(value)) {
                if (!says_nothing(value)) limits += ", clients: " + value;
                known = true;
            } else if (in_pool_rule("[users] " + entry.key, key, value, pool)) {
                known = true;
            } else {
                others.push_back(key + "=" + value);
            }
        }
        if (!known) return false;
        add_pool_rule("user: " + quoted(entry.key), pool);
        add_limit_rule("user: " + quoted(entry.key), limits);
        for (const std::string& each : others)
            lacks("[users] " + entry.key + " = " + each);
        return true;
    }

    std::string written() const {
        std::string text = "# Made from a pgbouncer.ini by pgmend --from-pgbouncer.\n";
        if (!result_.missing.empty()) text += "#\n# Not taken over:\n";
        for (const std::string& each : result_.missing)
            text += "#   " + each + "\n";
        if (!needless_.empty()) text += "#\n# Not needed:\n";
        for (const std::string& each : needless_)
            text += "#   " + each + "\n";
        std::string open;
        // Keys in order: what is of one section stands together, deeper ones behind their own.
        for (const auto& [key, value] : policy_) {
            const std::size_t dot = key.rfind('.');
            const std::string section = key.substr(0, dot);
            const std::size_t outer = section.find('.');
            if (section.substr(0, outer) != open.substr(0, open.find('.')))
                text += section.substr(0, outer) + ":\n";
            if (outer != section.npos && section != open) text += "  " + section.substr(outer + 1) + ":\n";
            open = section;
            text +=
                std::string(outer == section.npos ? 2 : 4, ' ') + key.substr(dot + 1) + ": " + value + "\n";
        }
        return text;
    }

    ini_result ini_;
    std::map<std::string, std::string> given_;   ///< of [pgbouncer], what is not translated yet
    std::map<std::string, std::string> policy_;  ///< by key
    std::vector<std::string> needless_;
    std::string limit_rules_;  ///< of limits.rules, as they are written there
    std::string pool_rules_;   ///< of pool.rules
    pgbouncer_policy result_;
};

}  // namespace

pgbouncer_policy policy_from_pgbouncer(std::string_view ini) { return converter(ini).run(); }

}  // namespace pgmend::config
