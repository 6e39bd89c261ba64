#pragma once
// The settings of authentication: rules, where secrets come from, what failures cost. A part of settings.hpp,
// which says what a declaration is.

#include <cstdint>
#include <string>

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct auth_query_settings : section {
    using section::section;
    setting<std::string> user{
        this, "auth.query.user", "", reload_class::restart,
        "Who asks the database for the secrets of users that nothing else names; empty: nobody. Needs to "
        "read "
        "pg_authid, or a function that does."};
    setting<std::string> password{
        this,
        "auth.query.password",
        "",
        reload_class::restart,
        "Password of `auth.query.user`, unless `users` or another place knows it.",
        secrecy::secret};
    setting<std::string> password_file{
        this, "auth.query.password_file", "", reload_class::live,
        "File with the password of `auth.query.user`, one a line. Read again when it changes."};
    setting<std::string> database{
        this, "auth.query.database", "", reload_class::restart,
        "Database that is asked. Empty: the same as `upstream.database`."};
    setting<std::string> sql{
        this, "auth.query.sql",
        "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE "
        "rolname=$1 AND rolcanlogin",
        reload_class::new_sessions,
        "The question: one parameter, the user; one row of two columns, the user and the secret, which is "
        "NULL "
        "for who may not come in. It runs with search_path=pg_catalog, so name schemas of your own; no "
        "parameter of a client ever reaches its session."};
    setting<std::uint32_t> connections{
        this,
        "auth.query.connections",
        2,
        between(1, 1'000),
        reload_class::restart,
        "Server connections that ask at one time, for each worker."};
    setting<milliseconds> timeout{
        this,
        "auth.query.timeout",
        5s,
        between(10ms, 10min),
        reload_class::new_sessions,
        "Longest time for an answer, and longest wait for a connection to ask on."};
    setting<milliseconds> cache_ttl{
        this,
        "auth.query.cache_ttl",
        1s,
        between(0ms, 24h),
        reload_class::new_sessions,
        "How long an answer counts without asking again: for so long an old password stays good, and a new "
        "one "
        "is not yet."};
    setting<milliseconds> outage_ttl{
        this,
        "auth.query.outage_ttl",
        10min,
        between(0ms, 720h),
        reload_class::new_sessions,
        "How long an answer counts while the database cannot be asked."};
    setting<std::uint32_t> cache_size{
        this,
        "auth.query.cache_size",
        1'000,
        between(1, 1'000'000),
        reload_class::new_sessions,
        "Users whose answers are remembered; the oldest answer goes first."};
};

struct auth_settings : section {
    using section::section;
    setting<auth_method> method{
        this, "auth.method", auth_method::scram_sha_256, reload_class::new_sessions,
        "How clients prove who they are, where no rules are given. `scram-sha-256` is bound to the TLS "
        "connection where the client can; `md5` asks for SCRAM where a SCRAM verifier is known, as "
        "PostgreSQL; "
        "`cert` needs a client certificate (`listen.tls.ca`)."};
    setting<hba_lines> hba{
        this,
        "auth.hba",
        {},
        reload_class::new_sessions,
        "Rules in place of `auth.method`, each a line of pg_hba.conf or the same in YAML; the first that "
        "fits "
        "decides, and without one that fits nobody comes in."};
    setting<std::string> hba_file{
        this, "auth.hba_file", "", reload_class::live,
        "The same as a file in the format of pg_hba.conf; its rules come after those of `auth.hba`. Read "
        "again "
        "when it changes."};
    setting<std::string> ident_file{
        this, "auth.ident_file", "", reload_class::live,
        "User name maps in the format of pg_ident.conf, for rules with `map=`. Read again when it changes."};
    setting<certificate_name> cert_name{
        this, "auth.cert_name", certificate_name::cn, reload_class::new_sessions,
        "Which name of a client's certificate has to be the user's: its common name, its distinguished name, "
        "or one of its alternative names. Rules may say otherwise with clientname=CN, DN or SAN."};
    setting<std::uint32_t> failure_burst{
        this,
        "auth.failure_burst",
        50,
        between(1, 1'000'000),
        reload_class::live,
        "Failed logins that one address has free in a minute. Every further one hears of it only after "
        "`auth.failure_delay`; who knows the password is never delayed."};
    setting<milliseconds> failure_delay{
        this,
        "auth.failure_delay",
        1s,
        between(0ms, 1min),
        reload_class::live,
        "How long the answer to a failed login is held back when there were too many; 0: not at all."};
    setting<std::string> userlist{
        this, "auth.userlist", "", reload_class::live,
        "PgBouncer's userlist.txt: lines of `\"user\" \"secret\"`. Asked for users that `users` does not "
        "name. "
        "Read again when it changes."};
    setting<milliseconds> rotation_grace{
        this,
        "auth.rotation_grace",
        30s,
        between(0ms, 1h),
        reload_class::live,
        "When servers begin to refuse a user's password that they took before, clients wait for so long "
        "while it "
        "is tried again and files are read: a rotation may be under way. Then they are told."};
    auth_query_settings query{owner()};
};

}  // namespace pgmend::config
