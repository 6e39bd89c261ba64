// How a client proves who it is: the rule that fits it, and the exchange that rule asks for. Refusals are
// PostgreSQL's own, so that nobody learns more here than there. Source: PostgreSQL 15, auth.c.

#include <openssl/crypto.h>

#include <array>
#include <cstring>

#include "config/log.hpp"
#include "protocol/md5_auth.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/scram.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/login/client_login.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

using config::auth_method;
using config::certificate_demand;
namespace metrics = config::metrics;

namespace {

constexpr std::uint32_t auth_ok = 0;
constexpr std::uint32_t auth_cleartext = 3;
constexpr std::uint32_t auth_md5 = 5;
constexpr std::uint32_t auth_sasl = 10;
constexpr std::uint32_t auth_sasl_continue = 11;
constexpr std::uint32_t auth_sasl_final = 12;

protocol::auth_error authorization_failed(std::string message) {
    return {protocol::sqlstate::invalid_authorization, std::move(message)};
}

/// A certificate that is not this user's, in the words of the method it came with.
protocol::auth_error not_named(auth_method method, const std::string& user) {
    switch (method) {
        case auth_method::cert:
            return authorization_failed("certificate authentication failed for user \"" + user + '"');
        case auth_method::trust:
            return authorization_failed("\"trust\" authentication failed for user \"" + user + '"');
        case auth_method::reject:
        case auth_method::password:
        case auth_method::md5:
        case auth_method::scram_sha_256:
            break;
    }
    return protocol::password_failed(user);
}

}  // namespace

/// The client's host without its port; `[local]` for a Unix socket, as PostgreSQL says.
std::string_view client_login::address() const { return session_.local_ ? "[local]" : session_.address(); }

pool::task<bool> client_login::authenticate() {
    access_ = worker_.live().access;
    config::hba_question question;
    if (!session_.local_) {
        // What is no address (a simulated client) may come in where every address may.
        question.address = config::parse_address(address()).value_or(config::ip_address{});
    }
    question.encrypted = tls_ != nullptr;
    question.physical_replication = physical_replication_;
    question.user = user_;
    question.database = database_;
    const config::hba_rule* rule = access_->find(question);
    if (rule == nullptr || rule->method == auth_method::reject) co_return refuse_by_rule(rule);
    if (rule->certificate != certificate_demand::none && !(tls_ != nullptr && tls_->peer())) {
        co_return refuse(
            authorization_failed("connection requires a valid client certificate"), login_result::protocol
        );
    }
    if (!co_await check(*rule)) co_return false;
    if (rule->certificate == certificate_demand::named && !check_certificate(*rule)) {
        co_return co_await refuse_proof(not_named(rule->method, user_));
    }
    proven_ = rule->method != auth_method::trust || rule->certificate == certificate_demand::named;
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.authentication(auth_ok);
    say_later(frame);
    co_return true;
}

pool::task<bool> client_login::check(const config::hba_rule& rule) {
    const bool by_secret = rule.method == auth_method::password || rule.method == auth_method::md5 ||
                           rule.method == auth_method::scram_sha_256;
    if (by_secret && !co_await find_secret()) co_return false;
    switch (rule.method) {
        case auth_method::trust:
        case auth_method::cert:
        case auth_method::reject:
            co_return true;
        case auth_method::password:
            co_return co_await check_password();
        case auth_method::md5:
            // As in PostgreSQL, a user with a SCRAM verifier is asked for SCRAM.
            if (!worker_.users().has_verifier(user_)) co_return co_await check_md5();
            break;
        case auth_method::scram_sha_256:
            break;
    }
    co_return co_await check_scram();
}

/// Asks the database for the secret of a user whom nothing else names.
pool::task<bool> client_login::find_secret() {
    auth_query& query = worker_.asking();
    if (!query.enabled() || worker_.users().knows(user_)) co_return true;
    auth_asker asker{session_.gate_, client_session::server_granted};
    query.ask(user_, asker);
    while (asker.outcome() == auth_asker::state::waiting) {
        const auto bits = co_await session_.gate_.wait();
        if ((bits & client_session::drained) != 0) session_.draining_ = true;
        if ((bits & (client_session::killed | client_session::timed_out)) != 0) break;
        // What the client says meanwhile is read when it was asked for.
        if ((bits & client_session::client_readable) != 0) session_.io_->arm(pool::interest::none);
    }
    // An answer that came before we waited has set the bit as well: it must not pass for a server.
    session_.gate_.clear(client_session::server_granted);
    session_.io_->arm(pool::interest::read);
    if (asker.outcome() == auth_asker::state::answered) co_return true;
    co_return refuse(
        protocol::sqlstate::cannot_connect_now, "the database could not be asked for authentication",
        login_result::unavailable
    );
}

bool client_login::check_certificate(const config::hba_rule& rule) {
    const auto certificate = tls_->peer();
    return certificate && access_->names_user(rule, *certificate, user_);
}

bool client_login::refuse_by_rule(const config::hba_rule* rule) {
    const bool rejected = rule != nullptr;
    std::string text = rejected ? "pg_hba.conf rejects " : "no pg_hba.conf entry for ";
    if (physical_replication_) text += rejected ? "replication connection" : "replication connection from";
    if (rejected && !physical_replication_) text += "connection";
    if (rejected) text += " for";
    if (text.back() != ' ') text += ' ';
    text.append("host \"").append(address()).append("\", user \"").append(user_).append("\", ");
    if (!physical_replication_) text.append("database \"").append(database_).append("\", ");
    text += tls_ != nullptr ? "SSL encryption" : "no encryption";
    worker_.metrics().clients_refused.add(metrics::refusal::rule);
    return refuse(authorization_failed(std::move(text)), login_result::wrong_password);
}

pool::task<bool> client_login::refuse_proof(const protocol::auth_error& error) {
    const auto& auth = worker_.settings().auth;
    const auto wait = worker_.throttle().failed(
        address(), worker_.env().now(), {auth.failure_burst(), auth.failure_delay()}
    );
    if (wait > config::duration{}) {
        // Nothing is read meanwhile. Who goes away is forgotten when its time has come.
        session_.io_->arm(pool::interest::none);
        deadline_.after(wait);
        while ((co_await session_.gate_.wait() & (client_session::timed_out | client_session::killed)) == 0) {
        }
    }
    co_return refuse(error, login_result::wrong_password);
}

pool::task<bool> client_login::check_password() {
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.authentication(auth_cleartext);
    send(frame);
    const got answer = co_await read_message();
    if (answer != got::message) co_return refuse_unread(answer);
    std::string_view given = protocol::as_text(message_);
    if (!given.empty() && given.back() == '\0') given.remove_suffix(1);
    const bool good = worker_.users().check_password(user_, given);
    OPENSSL_cleanse(message_.data(), message_.size());
    if (good) co_return true;
    co_return co_await refuse_proof(protocol::password_failed(user_));
}

pool::task<bool> client_login::check_md5() {
    protocol::md5_salt salt{};
    const std::uint64_t random = worker_.env().random();
    std::memcpy(salt.data(), &random, salt.size());
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.authentication(auth_md5, salt);
    send(frame);
    const got answer = co_await read_message();
    if (answer != got::message) co_return refuse_unread(answer);
    std::string_view given = protocol::as_text(message_);
    if (!given.empty() && given.back() == '\0') given.remove_suffix(1);
    if (worker_.users().check_md5(user_, salt, given)) co_return true;
    co_return co_await refuse_proof(protocol::password_failed(user_));
}

pool::task<bool> client_login::check_scram() {
    auto& env = worker_.env();
    std::vector<std::byte> frame;
    const std::string end_point = tls_ == nullptr ? std::string() : tls_->end_point();
    std::string mechanisms;
    if (!end_point.empty()) mechanisms.append(protocol::scram_sha_256_plus).append(1, '\0');
    mechanisms.append(protocol::scram_sha_256).append(2, '\0');
    protocol::message_writer{frame}.authentication(auth_sasl, protocol::as_bytes(mechanisms));
    send(frame);
    const std::array<std::uint64_t, 3> nonce{env.random(), env.random(), env.random()};
    auto verifier = worker_.users().verifier(user_);
    protocol::scram_server scram{std::move(verifier), user_, protocol::scram_nonce(nonce), end_point};
    for (bool first = true;; first = false) {
        const got answer = co_await read_message();
        if (answer != got::message) co_return refuse_unread(answer);
        protocol::scram_step step{protocol::scram_status::refused, {}, {}};
        if (first) {
            const auto initial = protocol::parse_sasl_initial_response(message_);
            if (!initial) {
                co_return refuse(
                    protocol::sqlstate::protocol_violation, "malformed SASL message", login_result::protocol
                );
            }
            step = scram.initial_response(*initial);
        } else {
            step = scram.response(protocol::as_text(message_));
        }
        if (step.status == protocol::scram_status::refused) co_return co_await refuse_proof(step.error);
        const bool over = step.status == protocol::scram_status::done;
        frame.clear();
        protocol::message_writer{frame}.authentication(
            over ? auth_sasl_final : auth_sasl_continue, protocol::as_bytes(step.message)
        );
        if (!over) {
            send(frame);
            continue;
        }
        say_later(frame);
        if (scram.recovered()) worker_.users().learn(user_, *scram.recovered());
        co_return true;
    }
}

/// The client sent nothing fit, or went away, or has to go.
bool client_login::refuse_unread(got instead) {
    if (instead == got::closed) {
        // As PostgreSQL, without a word: half of its connection may still be there to hear one.
        worker_.metrics().client_logins.add(login_result::vanished);
        return false;
    }
    if (instead == got::gone) {
        return refuse(
            protocol::sqlstate::admin_shutdown, "terminating connection due to administrator command",
            login_result::vanished
        );
    }
    return refuse(
        protocol::sqlstate::protocol_violation, "expected password response", login_result::protocol
    );
}

}  // namespace pgmend::proxy
