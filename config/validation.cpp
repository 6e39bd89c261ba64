#include "config/validation.hpp"

#include <unistd.h>

#include <algorithm>

#include "config/webhook_address.hpp"

namespace pgmend::config {

namespace {

void complain(const setting_base& about, std::string text, problems& found) {
    found.push_back({{}, std::string(about.key()), std::move(text)});
}

void check_file(const setting<std::string>& path, problems& found) {
    if (path().empty() || access(path().c_str(), R_OK) == 0) return;
    complain(path, "'" + path() + "' cannot be read", found);
}

/// A certificate is of no use without its key, nor the other way round.
void check_pair(const setting<std::string>& cert, const setting<std::string>& key, problems& found) {
    if (cert().empty() != key().empty()) {
        const auto& missing = cert().empty() ? cert : key;
        const auto& present = cert().empty() ? key : cert;
        complain(present, "needs '" + std::string(missing.key()) + "' as well", found);
    }
    check_file(cert, found);
    check_file(key, found);
}

void check_crl(const setting<std::string>& crl, const setting<std::string>& ca, problems& found) {
    check_file(crl, found);
    if (!crl().empty() && ca().empty()) complain(crl, "needs '" + std::string(ca.key()) + "' as well", found);
}

void check_versions(const setting<tls_bound>& lowest, const setting<tls_bound>& highest, problems& found) {
    if (lowest() == tls_bound::tls_1_3 && highest() == tls_bound::tls_1_2)
        complain(lowest, "is newer than '" + std::string(highest.key()) + "'", found);
}

void check_client_tls(const client_tls_settings& tls, problems& found) {
    check_pair(tls.cert, tls.key, found);
    if (tls.ca() != "system") check_file(tls.ca, found);
    check_crl(tls.crl, tls.ca, found);
    check_versions(tls.min_version, tls.max_version, found);
    const bool verifies =
        tls.mode() == client_tls_mode::verify_ca || tls.mode() == client_tls_mode::verify_full;
    if (verifies && tls.ca().empty())
        complain(tls.mode, "'" + tls.mode.shown() + "' needs 'listen.tls.ca'", found);
    for (const certificate_entry& each : tls.certificates()) {
        for (const std::string* path : {&each.cert, &each.key}) {
            if (access(path->c_str(), R_OK) != 0)
                complain(tls.certificates, "'" + *path + "' cannot be read", found);
        }
    }
    if (!tls.certificates().empty() && tls.cert().empty())
        complain(tls.certificates, "needs 'listen.tls.cert' as well", found);
    if (tls.mode() != client_tls_mode::disable && tls.cert().empty())
        complain(tls.mode, "'" + tls.mode.shown() + "' needs 'listen.tls.cert' and 'listen.tls.key'", found);
}

void check_server_tls(const server_tls_settings& tls, problems& found) {
    check_pair(tls.cert, tls.key, found);
    if (tls.ca() != "system") check_file(tls.ca, found);
    check_crl(tls.crl, tls.ca, found);
    check_versions(tls.min_version, tls.max_version, found);
    // As libpq: whoever would go on without TLS cannot begin with it.
    if (tls.negotiation() == tls_negotiation::direct && tls.mode() < server_tls_mode::require)
        complain(
            tls.negotiation, "'direct' needs 'upstream.tls.mode' to be require, verify-ca or verify-full",
            found
        );
    if (tls.ca() == "system" && tls.mode() != server_tls_mode::verify_full)
        complain(tls.ca, "'system' needs 'upstream.tls.mode' to be verify-full", found);
    const bool verifies =
        tls.mode() == server_tls_mode::verify_ca || tls.mode() == server_tls_mode::verify_full;
    if (verifies && tls.ca().empty())
        complain(
            tls.mode, "'" + tls.mode.shown() + "' needs 'upstream.tls.ca': a PEM file, or system", found
        );
}

/// A server that is pgmend itself would make every connection open another one.
void check_loop(const settings& candidate, problems& found) {
    const auto& listen = candidate.listen;
    for (const server_address& server : candidate.upstream.servers()) {
        const std::string& target = server.address.empty() ? server.host : server.address;
        const bool local_name = target == "localhost" || target == "127.0.0.1" || target == "::1";
        const bool all = listen.host() == "0.0.0.0" || listen.host() == "::" || listen.host() == "*";
        const bool same_host =
            target == listen.host() || (local_name && (all || listen.host() == "localhost"));
        const bool same_socket = server.is_socket() && target == listen.unix_socket_dir();
        if (server.port == listen.port() && ((same_host && !server.is_socket()) || same_socket)) {
            complain(
                candidate.upstream.servers, "'" + print_server(server) + "' is where pgmend itself listens",
                found
            );
        }
    }
}

/// As RFC 2782 has it, _service._proto.name; a name that cannot be asked for is not kept for the first
/// lookup.
void check_srv(const setting<std::string>& srv, problems& found) {
    std::string_view rest = srv();
    if (rest.empty()) return;
    if (rest.ends_with('.')) rest.remove_suffix(1);
    std::size_t labels = 0;
    bool good = rest.size() <= 253;
    for (bool more = true; more; ++labels) {
        const std::string_view label = rest.substr(0, rest.find('.'));
        more = label.size() < rest.size();
        if (more) rest.remove_prefix(label.size() + 1);
        const bool plain = std::ranges::all_of(label, [](unsigned char each) {
            return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') ||
                   (each >= '0' && each <= '9') || each == '-' || each == '_';
        });
        good =
            good && plain && !label.empty() && label.size() <= 63 && (labels > 1 || label.starts_with('_'));
    }
    if (good && labels >= 3) return;
    complain(srv, "'" + srv() + "' is no name of SRV records; such as _postgresql._tcp.example.com", found);
}

void check_auth(const settings& candidate, problems& found) {
    const auto& auth = candidate.auth;
    check_file(auth.userlist, found);
    check_file(auth.hba_file, found);
    check_file(auth.ident_file, found);
    check_file(auth.query.password_file, found);
    if (auth.query.sql().find("$1") == std::string::npos)
        complain(auth.query.sql, "has no $1, where the user's name goes", found);
    if (auth.method() == auth_method::cert && candidate.listen.tls.ca().empty())
        complain(auth.method, "'cert' needs 'listen.tls.ca'", found);
    const bool rules = !auth.hba().lines.empty() || !auth.hba_file().empty();
    if (auth.method() != auth_method::scram_sha_256 || rules) return;
    for (const user_entry& user : candidate.users()) {
        if (user.password.size() == 35 && user.password.starts_with("md5"))
            complain(
                candidate.users,
                "'" + user.name + "' has an md5 hash, with which auth.method scram-sha-256 cannot work", found
            );
    }
}

/// Who is to be served by standbys anyway has no primary to go back to.
void check_reads(const settings& candidate, problems& found) {
    using wanted = session_attributes;
    const wanted attributes = candidate.upstream.target_session_attrs();
    if (attributes == wanted::any || attributes == wanted::primary || attributes == wanted::read_write)
        return;
    if (candidate.reads.mode() == read_mode::primary) return;
    complain(
        candidate.reads.mode,
        "needs a primary, which 'upstream.target_session_attrs' " +
            candidate.upstream.target_session_attrs.shown() + " does not ask for",
        found
    );
}

}  // namespace

void validate(const settings& candidate, problems& found) {
    const auto& upstream = candidate.upstream;
    const auto& pool = candidate.pool;
    if (upstream.servers().empty() && !upstream.servers_change())
        complain(
            upstream.servers, "no server is known: give DATABASE_URL, upstream.url or upstream.servers", found
        );
    else if (upstream.user().empty())
        complain(upstream.user, "no user is known, and the operating system names none", found);
    if (candidate.listen.host().empty() && candidate.listen.unix_socket_dir().empty())
        complain(candidate.listen.host, "may only be empty when 'listen.unix_socket_dir' is given", found);
    if (candidate.http.host().empty()) complain(candidate.http.host, "may not be empty", found);
    if (pool.size() < pool.min_size())
        complain(
            pool.min_size, pool.min_size.shown() + " is more than pool.size, which is " + pool.size.shown(),
            found
        );
    const auto check_order = [&found](const setting<milliseconds>& least, const setting<milliseconds>& most) {
        if (most() >= least()) return;
        complain(
            least, least.shown() + " is more than " + std::string(most.key()) + ", which is " + most.shown(),
            found
        );
    };
    check_order(pool.retry_delay_min, pool.retry_delay_max);
    check_order(candidate.retry.delay_min, candidate.retry.delay_max);
    check_order(candidate.breaker.cooldown, candidate.breaker.cooldown_max);
    check_client_tls(candidate.listen.tls, found);
    check_server_tls(upstream.tls, found);
    check_file(upstream.password_file, found);
    check_srv(upstream.srv, found);
    check_file(upstream.patroni.ca, found);
    if (!upstream.srv().empty() && !upstream.patroni.urls().empty())
        complain(upstream.patroni.urls, "stands beside 'upstream.srv'; only one can name the servers", found);
    check_loop(candidate, found);
    check_auth(candidate, found);
    check_reads(candidate, found);
    const auto& webhook = candidate.alerts.webhook;
    if (!webhook().empty() && !parse_webhook(webhook()))
        complain(webhook, "is no address such as http://alerts.example:9000/pgmend", found);
}

std::vector<std::string> doubts(const settings& candidate) {
    std::vector<std::string> sentences;
    const bool has_password = !candidate.upstream.password().empty() ||
                              !candidate.upstream.password_file().empty() ||
                              !candidate.auth.userlist().empty() ||
                              std::ranges::any_of(candidate.users(), [](const user_entry& user) {
                                  return !user.password.empty() || !user.password_file.empty();
                              });
    const auth_method method = candidate.auth.method();
    const bool asks =
        method != auth_method::trust && method != auth_method::cert && method != auth_method::reject;
    if (asks && !has_password) {
        sentences.push_back(
            "no user has a password, so nobody can log in with auth.method " + candidate.auth.method.shown()
        );
    }
    return sentences;
}

}  // namespace pgmend::config
