#pragma once
// The declaration of every setting (with admin_, alert_, auth_, health_, lifecycle_, limit_, patroni_,
// read_, replay_ and tls_settings.hpp): one member, one place. From it come the YAML key, the environment
// variable, parsing, validation, the generated documents and --print-config. A snapshot is a
// `std::shared_ptr<const settings>`: built by the loader, then shared by all threads and never changed.

#include <cstdint>
#include <string>

#include "config/admin_settings.hpp"
#include "config/alert_settings.hpp"
#include "config/auth_settings.hpp"
#include "config/guard_settings.hpp"
#include "config/health_settings.hpp"
#include "config/lifecycle_settings.hpp"
#include "config/limit_settings.hpp"
#include "config/patroni_settings.hpp"
#include "config/read_settings.hpp"
#include "config/replay_settings.hpp"
#include "config/setting.hpp"
#include "config/tls_settings.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct listen_settings : section {
    using section::section;
    setting<std::string> host{
        this, "listen.host", "127.0.0.1", reload_class::restart,
        "Address to listen on for PostgreSQL clients; empty for none but the Unix socket."};
    setting<std::uint16_t> port{
        this,
        "listen.port",
        6432,
        between(0, 65535),
        reload_class::restart,
        "Port to listen on, and the number in the name of the Unix socket. 0 takes any free port."};
    setting<std::string> unix_socket_dir{
        this, "listen.unix_socket_dir", "", reload_class::restart,
        "Directory for a Unix socket `.s.PGSQL.<port>`; empty for none."};
    setting<file_mode> unix_socket_mode{
        this, "listen.unix_socket_mode", file_mode{0777}, reload_class::restart,
        "Permission bits of the Unix socket."};
    setting<std::uint32_t> backlog{
        this,
        "listen.backlog",
        128,
        between(1, 65535),
        reload_class::restart,
        "Connections the kernel may hold until they are accepted."};
    setting<std::uint32_t> max_clients{
        this,
        "listen.max_clients",
        10'000,
        between(1, 1'000'000),
        reload_class::live,
        "Clients connected at one time; one more is refused with 53300."};
    setting<milliseconds> login_timeout{
        this,
        "listen.login_timeout",
        60s,
        between(100ms, 1h),
        reload_class::new_sessions,
        "Longest time from accepting a client to the end of its authentication."};
    setting<std::uint32_t> max_logins{
        this,
        "listen.max_logins",
        4'096,
        between(1, 1'000'000),
        reload_class::live,
        "Clients that may be on their way in, not yet authenticated, at one time. One more pushes out the "
        "one "
        "that has been at it the longest; each holds at most 10 kB that it sent."};
    setting<listener_loss> on_loss{
        this, "listen.on_loss", listener_loss::close, reload_class::live,
        "When the connection that listens for all clients of a database is lost, notifications may be "
        "missed: close its clients with 57P01, or resubscribe and say nothing."};
    setting<std::uint32_t> max_channels{
        this,
        "listen.max_channels",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Channels of one client that a shared connection listens to; with more it keeps a server. 0: LISTEN "
        "always keeps a server, and whoever terminates that is noticed by its client."};
    setting<byte_size> max_notifications{
        this,
        "listen.max_notifications",
        mib(1),
        between(kib(16), gib(1)),
        reload_class::live,
        "Notifications that wait for one client, which is busy or does not read; with more it is closed with "
        "53400."};
    client_tls_settings tls{owner()};
};

struct file_settings : section {
    using section::section;
    setting<milliseconds> check_interval{
        this,
        "files.check_interval",
        1s,
        between(50ms, 1h),
        reload_class::live,
        "How often the policy, certificates, password files and rules are looked at for changes. A file that "
        "is not "
        "good is not taken: what was read before stays in force."};
};

struct http_settings : section {
    using section::section;
    setting<std::string> host{
        this, "http.host", "127.0.0.1", reload_class::restart,
        "Address of the HTTP port. Elsewhere than on loopback, the dashboard, /health and /api ask for a "
        "password of admin.users or admin.stats_users, which comes in clear text. A proxy on this machine "
        "that hands requests on has to say so (X-Forwarded-For), or they count as this machine's own."};
    setting<std::uint16_t> port{
        this,
        "http.port",
        9632,
        between(0, 65535),
        reload_class::restart,
        "Port of the dashboard, /metrics, /startup, /live, /ready, /health and /api. 0 takes any free port."};
    setting<quit_from> quit{
        this, "http.quit", quit_from::nobody, reload_class::restart,
        "Who may end pgmend with `POST /quit`, as SIGTERM does: for a Job whose application is done."};
    setting<std::uint32_t> max_streams{
        this,
        "http.max_streams",
        8,
        between(0, 32),
        reload_class::live,
        "Listeners to the stream of /api/events at one time; each dashboard that is open is one. Others are "
        "answered 503, and a dashboard then asks again and again instead."};
    setting<milliseconds> heartbeat{
        this,
        "http.heartbeat",
        15s,
        between(100ms, 1h),
        reload_class::live,
        "A stream in which nothing happens says so this often, for proxies that close what is silent."};
};

struct upstream_settings : section {
    using section::section;
    setting<connection_string> url{
        this,
        "upstream.url",
        {},
        reload_class::restart,
        "Where the servers are and who logs in, as a libpq URL or keyword string. Stands for the settings "
        "below it, which win where they are given as well. Wins over DATABASE_URL.",
        secrecy::secret};
    setting<server_list> servers{
        this,
        "upstream.servers",
        {},
        reload_class::restart,
        "The PostgreSQL servers, in the order in which they are tried: host:port, [v6]:port, "
        "/directory:port. With `upstream.srv` or `upstream.patroni`: those that are used until it has "
        "first been answered."};
    setting<std::string> srv{
        this, "upstream.srv", "", reload_class::restart,
        "Name of the DNS records (SRV) that say which servers there are, such as "
        "_postgresql._tcp.example.com. Asked again when they expire; those that are new are used, those that "
        "are gone are left, without a restart. A lookup that fails changes nothing."};
    setting<std::string> database{
        this, "upstream.database", "", reload_class::restart,
        "Database of clients that name none, and of the upstream user. Empty: the same as `user`."};
    setting<std::string> user{
        this, "upstream.user", "", reload_class::restart,
        "Known to clients as well as to servers. Empty: the operating system's user."};
    setting<std::string> password{
        this,
        "upstream.password",
        "",
        reload_class::restart,
        "Password of `upstream.user`, toward servers and from clients.",
        secrecy::secret};
    setting<std::string> password_file{
        this, "upstream.password_file", "", reload_class::live,
        "File with the password of `upstream.user`, one a line: several are tried in turn, which makes a "
        "rotation without a gap. Read again when it changes."};
    setting<std::string> passfile{
        this, "upstream.passfile", "", reload_class::restart,
        "Password file in libpq's format (host:port:database:user:password), asked when nothing else gives a "
        "password of `upstream.user`. Empty: what PGPASSFILE names, or ~/.pgpass."};
    setting<channel_binding> binding{
        this, "upstream.channel_binding", channel_binding::prefer, reload_class::new_sessions,
        "Whether SCRAM is bound to the TLS connection (SCRAM-SHA-256-PLUS), with libpq's meaning: `require` "
        "refuses a server that cannot."};
    setting<auth_requirement> require_auth{
        this,
        "upstream.require_auth",
        {},
        reload_class::new_sessions,
        "Ways of authentication that a server may ask for, with libpq's meaning; empty: any."};
    setting<session_attributes> target_session_attrs{
        this, "upstream.target_session_attrs", session_attributes::any, reload_class::restart,
        "Which of several servers will do, with libpq's meaning."};
    setting<milliseconds> connect_timeout{
        this,
        "upstream.connect_timeout",
        15s,
        between(10ms, 1h),
        reload_class::live,
        "Longest time one attempt to open and authenticate a server connection may take."};
    setting<std::string> application_name{
        this, "upstream.application_name", "", reload_class::new_sessions,
        "application_name of server connections whose client gives none."};
    setting<std::string> options{
        this, "upstream.options", "", reload_class::new_sessions,
        "Command-line options for the server session, such as `-c search_path=app`."};
    server_tls_settings tls{owner()};
    patroni_settings patroni{owner()};

    /// Whether the servers may become others while we run.
    bool servers_change() const noexcept { return !srv().empty() || !patroni.urls().empty(); }
};

struct pool_settings : section {
    using section::section;
    setting<pool_mode> mode{
        this, "pool.mode", pool_mode::transaction, reload_class::new_sessions,
        "When a server connection goes back to the pool: after each transaction, or when its client leaves."};
    setting<std::uint32_t> size{
        this,
        "pool.size",
        20,
        between(1, 100'000),
        reload_class::live,
        "Server connections for each server, database and user; with pool.sizing: adaptive, the most there "
        "may "
        "be."};
    setting<pool_sizing> sizing{
        this, "pool.sizing", pool_sizing::fixed, reload_class::live,
        "fixed: as many connections as clients need, up to pool.size. adaptive: while clients wait, other "
        "sizes between pool.least_size and pool.size are tried, and the smallest is kept beyond which more "
        "connections only make each other slower; never more than the server has free."};
    setting<std::uint32_t> least_size{
        this,
        "pool.least_size",
        4,
        between(1, 100'000),
        reload_class::live,
        "The size that a pool begins with, and never goes below, with pool.sizing: adaptive."};
    setting<std::uint32_t> min_size{
        this,
        "pool.min_size",
        0,
        between(0, 100'000),
        reload_class::live,
        "Server connections that are kept open even when nobody needs them."};
    setting<std::uint32_t> reserve_size{
        this,
        "pool.reserve_size",
        0,
        between(0, 100'000),
        reload_class::live,
        "Further connections for clients that have waited for `pool.reserve_timeout`."};
    setting<yes_no> own_server{
        this, "pool.own_server", yes_no::yes, reload_class::new_sessions,
        "Open a server connection for each client that comes in, as long as `pool.size` allows: what the "
        "client is told of its backend (pid) is then true for as long as it need not move."};
    setting<milliseconds> reserve_timeout{
        this,
        "pool.reserve_timeout",
        5s,
        between(0ms, 1h),
        reload_class::live,
        "How long a client waits until it may use the reserve."};
    setting<milliseconds> wait_timeout{
        this,
        "pool.wait_timeout",
        120s,
        between(1ms, 24h),
        reload_class::live,
        "Longest time a client waits for a server connection; then its query fails."};
    setting<milliseconds> idle_timeout{
        this,
        "pool.idle_timeout",
        600s,
        between(0ms, 720h),
        reload_class::live,
        "An unused server connection is closed after this time. 0: never."};
    setting<milliseconds> lifetime{
        this,
        "pool.lifetime",
        3600s,
        between(0ms, 720h),
        reload_class::live,
        "A server connection is replaced, once unused, after this time. 0: never."};
    setting<std::uint32_t> login_concurrency{
        this,
        "pool.login_concurrency",
        8,
        between(1, 10'000),
        reload_class::live,
        "Server connections of one pool that may be connecting or authenticating at one time."};
    setting<std::uint32_t> max_prepared_statements{
        this,
        "pool.max_prepared_statements",
        200,
        between(1, 100'000),
        reload_class::live,
        "Prepared statements kept on one server connection; the least recently used goes first."};
    setting<abandoned_transaction> on_abandoned_transaction{
        this, "pool.on_abandoned_transaction", abandoned_transaction::rollback, reload_class::live,
        "What becomes of an open transaction whose client has gone between two statements."};
    setting<milliseconds> cleanup_timeout{
        this,
        "pool.cleanup_timeout",
        5s,
        between(10ms, 10min),
        reload_class::live,
        "Longest time for making a server connection clean again; then it is closed."};
    setting<session_policy> session_state{
        this, "pool.session_state", session_policy::follow, reload_class::new_sessions,
        "virtual: what a client sets follows it from server to server. pin: from its first change on a "
        "client keeps its server. off: a change ends with its request, as with a pooler that knows of none; "
        "nobody else meets it."};
    setting<pool_rule_list> rules{
        this,
        "pool.rules",
        {},
        reload_class::live,
        "The mode, sizes, timeouts, lifetime and session_state of the pools of certain databases and users, "
        "and whether their transactions are run again (`replay`): of each the first rule that fits and says "
        "it, then the settings above. A name left out fits all. Sizes and times hold at once, the others for "
        "who logs in from then on."};
    setting<milliseconds> leak_check{
        this,
        "pool.leak_check",
        60s,
        between(0ms, 720h),
        reload_class::live,
        "How often an idle server is asked whether something of a client's session was left in it. 0: "
        "never."};
    setting<milliseconds> retry_delay_min{
        this,
        "pool.retry_delay_min",
        100ms,
        between(1ms, 1h),
        reload_class::live,
        "Shortest pause after a failed attempt to connect."};
    setting<milliseconds> retry_delay_max{
        this,
        "pool.retry_delay_max",
        5s,
        between(1ms, 1h),
        reload_class::live,
        "Longest pause after failed attempts to connect."};
    setting<milliseconds> retry_delay_full{
        this,
        "pool.retry_delay_full",
        200ms,
        between(1ms, 1h),
        reload_class::live,
        "Longest pause after an attempt that the server refused as it has no connection left (53300): it is "
        "up, "
        "and one may become free at any moment. With an open breaker one login is tried at a time."};
};

struct catalog_settings : section {
    using section::section;
    setting<milliseconds> refresh{
        this,
        "catalog.refresh",
        std::chrono::seconds{60},
        between(std::chrono::seconds{1}, std::chrono::hours{24}),
        reload_class::live,
        "How old the knowledge of a database's functions and triggers may grow before the server is asked "
        "whether they have changed. DDL that passes through pgmend is noticed at once."};
    setting<byte_size> max_bytes{
        this,
        "catalog.max_bytes",
        mib(16),
        between(kib(64), gib(1)),
        reload_class::live,
        "Memory for reading the functions and dependencies of one database. Where they need more, every "
        "statement counts as one that may change its session."};
};

struct log_settings : section {
    using section::section;
    setting<log_level> level{
        this, "log.level", log_level::info, reload_class::live,
        "The least important events that are logged."};
    setting<log_format> format{
        this, "log.format", log_format::text, reload_class::restart,
        "One line of text or one JSON object an event."};
};

struct settings : registry {
    setting<user_list> users{
        this,
        "users",
        {},
        reload_class::new_sessions,
        "Who may log in besides `upstream.user`: name and password (plain text, md5 hash or SCRAM verifier), "
        "or "
        "a password_file with such secrets, one a line, which is read again when it changes.",
        secrecy::secret};
    setting<worker_count> workers{
        this, "workers", worker_count{}, reload_class::restart,
        "Threads that carry clients. One is right for a sidecar with one neighbour. `auto`: as many as the "
        "cgroup's CPU quota (cpu.max) or, without one, the machine has processors."};
    listen_settings listen{owner()};
    http_settings http{owner()};
    file_settings files{owner()};
    upstream_settings upstream{owner()};
    auth_settings auth{owner()};
    admin_settings admin{owner()};
    pool_settings pool{owner()};
    health_settings health{owner()};
    hold_settings hold{owner()};
    retry_settings retry{owner()};
    replay_settings replay{owner()};
    read_settings reads{owner()};
    guard_settings guard{owner()};
    breaker_settings breaker{owner()};
    ledger_settings ledger{owner()};
    alert_settings alerts{owner()};
    limit_settings limits{owner()};
    catalog_settings catalog{owner()};
    log_settings log{owner()};
    shutdown_settings shutdown{owner()};
    machine_settings machine{owner()};
    relay_settings relay{owner()};
};

}  // namespace pgmend::config
