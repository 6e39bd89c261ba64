#pragma once
// The enumerations a setting can have, each with the words that are written in the configuration.

#include <array>
#include <cstdint>
#include <string_view>

namespace pgmend::config {

/// One enumerator and its spelling; `words(E)` lists them all and is found by the setting's type.
template <class E>
struct word {
    E value;
    std::string_view text;
};

/// When a server connection goes back to the pool.
enum class pool_mode { transaction, session };
constexpr auto words(pool_mode) {
    return std::array{
        word<pool_mode>{pool_mode::transaction, "transaction"},
        word<pool_mode>{pool_mode::session, "session"}};
}

/// Who decides how many connections a pool may have.
enum class pool_sizing { fixed, adaptive };
constexpr auto words(pool_sizing) {
    return std::array{
        word<pool_sizing>{pool_sizing::fixed, "fixed"}, word<pool_sizing>{pool_sizing::adaptive, "adaptive"}};
}

/// How a client proves who it is.
enum class auth_method { trust, password, md5, scram_sha_256, cert, reject };
constexpr auto words(auth_method) {
    return std::array{
        word<auth_method>{auth_method::trust, "trust"},
        word<auth_method>{auth_method::password, "password"},
        word<auth_method>{auth_method::md5, "md5"},
        word<auth_method>{auth_method::scram_sha_256, "scram-sha-256"},
        word<auth_method>{auth_method::cert, "cert"},
        word<auth_method>{auth_method::reject, "reject"}};
}

/// Which name in a client's certificate is the user's, or is mapped to it.
enum class certificate_name { cn, dn, san };
constexpr auto words(certificate_name) {
    return std::array{
        word<certificate_name>{certificate_name::cn, "cn"},
        word<certificate_name>{certificate_name::dn, "dn"},
        word<certificate_name>{certificate_name::san, "san"}};
}

/// Whether a thing is done.
enum class yes_no { no, yes };
constexpr auto words(yes_no) {
    return std::array{word<yes_no>{yes_no::no, "false"}, word<yes_no>{yes_no::yes, "true"}};
}

/// libpq's sslnegotiation.
enum class tls_negotiation { postgres, direct };
constexpr auto words(tls_negotiation) {
    return std::array{
        word<tls_negotiation>{tls_negotiation::postgres, "postgres"},
        word<tls_negotiation>{tls_negotiation::direct, "direct"}};
}

/// A bound on the version of TLS.
enum class tls_bound { any, tls_1_2, tls_1_3 };
constexpr auto words(tls_bound) {
    return std::array{
        word<tls_bound>{tls_bound::any, "any"}, word<tls_bound>{tls_bound::tls_1_2, "TLSv1.2"},
        word<tls_bound>{tls_bound::tls_1_3, "TLSv1.3"}};
}

/// libpq's channel_binding.
enum class channel_binding { disable, prefer, require };
constexpr auto words(channel_binding) {
    return std::array{
        word<channel_binding>{channel_binding::disable, "disable"},
        word<channel_binding>{channel_binding::prefer, "prefer"},
        word<channel_binding>{channel_binding::require, "require"}};
}

/// What clients are offered when they ask for TLS.
enum class client_tls_mode { disable, allow, prefer, require, verify_ca, verify_full };
constexpr auto words(client_tls_mode) {
    return std::array{
        word<client_tls_mode>{client_tls_mode::disable, "disable"},
        word<client_tls_mode>{client_tls_mode::allow, "allow"},
        word<client_tls_mode>{client_tls_mode::prefer, "prefer"},
        word<client_tls_mode>{client_tls_mode::require, "require"},
        word<client_tls_mode>{client_tls_mode::verify_ca, "verify-ca"},
        word<client_tls_mode>{client_tls_mode::verify_full, "verify-full"}};
}

/// libpq's sslmode, with its meaning.
enum class server_tls_mode { disable, allow, prefer, require, verify_ca, verify_full };
constexpr auto words(server_tls_mode) {
    return std::array{
        word<server_tls_mode>{server_tls_mode::disable, "disable"},
        word<server_tls_mode>{server_tls_mode::allow, "allow"},
        word<server_tls_mode>{server_tls_mode::prefer, "prefer"},
        word<server_tls_mode>{server_tls_mode::require, "require"},
        word<server_tls_mode>{server_tls_mode::verify_ca, "verify-ca"},
        word<server_tls_mode>{server_tls_mode::verify_full, "verify-full"}};
}

/// libpq's target_session_attrs: which of several servers will do.
enum class session_attributes { any, read_write, read_only, primary, standby, prefer_standby };
constexpr auto words(session_attributes) {
    return std::array{
        word<session_attributes>{session_attributes::any, "any"},
        word<session_attributes>{session_attributes::read_write, "read-write"},
        word<session_attributes>{session_attributes::read_only, "read-only"},
        word<session_attributes>{session_attributes::primary, "primary"},
        word<session_attributes>{session_attributes::standby, "standby"},
        word<session_attributes>{session_attributes::prefer_standby, "prefer-standby"}};
}

/// What becomes of a transaction whose client has gone between two statements.
enum class abandoned_transaction { rollback, commit };
constexpr auto words(abandoned_transaction) {
    return std::array{
        word<abandoned_transaction>{abandoned_transaction::rollback, "rollback"},
        word<abandoned_transaction>{abandoned_transaction::commit, "commit"}};
}

/// What becomes of clients whose notifications may have been missed.
enum class listener_loss { close, resubscribe };
constexpr auto words(listener_loss) {
    return std::array{
        word<listener_loss>{listener_loss::close, "close"},
        word<listener_loss>{listener_loss::resubscribe, "resubscribe"}};
}

/// How a client's session follows it from server to server.
enum class session_policy { follow, pin, off };
constexpr auto words(session_policy) {
    return std::array{
        word<session_policy>{session_policy::follow, "virtual"},
        word<session_policy>{session_policy::pin, "pin"}, word<session_policy>{session_policy::off, "off"}};
}

/// Whether transactions whose server was lost are run again.
enum class replay_mode { off, on };
constexpr auto words(replay_mode) {
    return std::array{word<replay_mode>{replay_mode::off, "off"}, word<replay_mode>{replay_mode::on, "on"}};
}

/// Where what only reads is carried out.
enum class read_mode : std::uint8_t { primary, prefer_primary, prefer_standby };
constexpr auto words(read_mode) {
    return std::array{
        word<read_mode>{read_mode::primary, "primary"},
        word<read_mode>{read_mode::prefer_primary, "prefer_primary"},
        word<read_mode>{read_mode::prefer_standby, "prefer_standby"}};
}

/// Whether it is found out what became of a COMMIT whose answer was lost.
enum class guard_mode { off, on };
constexpr auto words(guard_mode) {
    return std::array{word<guard_mode>{guard_mode::off, "off"}, word<guard_mode>{guard_mode::on, "on"}};
}

/// How it is found out what became of a write outside a block whose answer was lost.
enum class write_guard { off, flight, strict };
constexpr auto words(write_guard) {
    return std::array{
        word<write_guard>{write_guard::off, "off"}, word<write_guard>{write_guard::flight, "flight"},
        word<write_guard>{write_guard::strict, "strict"}};
}

/// Who may ask for the end over http.
enum class quit_from { nobody, loopback };
constexpr auto words(quit_from) {
    return std::array{
        word<quit_from>{quit_from::nobody, "nobody"}, word<quit_from>{quit_from::loopback, "loopback"}};
}

enum class log_level { debug, info, warning, error };
constexpr auto words(log_level) {
    return std::array{
        word<log_level>{log_level::debug, "debug"}, word<log_level>{log_level::info, "info"},
        word<log_level>{log_level::warning, "warning"}, word<log_level>{log_level::error, "error"}};
}

enum class log_format { text, json };
constexpr auto words(log_format) {
    return std::array{word<log_format>{log_format::text, "text"}, word<log_format>{log_format::json, "json"}};
}

/// What a limit counts by itself.
enum class limit_scope : std::uint8_t { user, database, address, application_name, together };
constexpr auto words(limit_scope) {
    return std::array{
        word<limit_scope>{limit_scope::user, "user"}, word<limit_scope>{limit_scope::database, "database"},
        word<limit_scope>{limit_scope::address, "address"},
        word<limit_scope>{limit_scope::application_name, "application_name"},
        word<limit_scope>{limit_scope::together, "together"}};
}
inline constexpr std::array<std::string_view, 5> limit_scope_words{
    "user", "database", "address", "application_name", "together"};
constexpr const auto& label_words(limit_scope) { return limit_scope_words; }
static_assert(limit_scope_words[static_cast<std::size_t>(limit_scope::together)] == "together");

/// What one client's statements and transactions may take.
enum class request_limit : std::uint8_t {
    query_timeout,
    idle_transaction_timeout,
    transaction_timeout,
    result_size
};
inline constexpr std::array<std::string_view, 4> request_limit_words{
    "query_timeout", "idle_transaction_timeout", "transaction_timeout", "result_size"};
constexpr const auto& label_words(request_limit) { return request_limit_words; }
static_assert(request_limit_words[static_cast<std::size_t>(request_limit::result_size)] == "result_size");

/// What is worth an alert.
enum class alert_level : std::uint8_t { warning, critical };
constexpr auto words(alert_level) {
    return std::array{
        word<alert_level>{alert_level::warning, "warning"},
        word<alert_level>{alert_level::critical, "critical"}};
}

/// How a worker gets what its sockets receive.
enum class relay_engine { automatic, epoll, io_uring };
constexpr auto words(relay_engine) {
    return std::array{
        word<relay_engine>{relay_engine::automatic, "auto"}, word<relay_engine>{relay_engine::epoll, "epoll"},
        word<relay_engine>{relay_engine::io_uring, "io_uring"}};
}

}  // namespace pgmend::config
