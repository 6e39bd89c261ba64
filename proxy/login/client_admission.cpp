// The part of client_login that says whether there is room for a client: in the process, in its database, and
// within the limits of the policy.

#include "config/log.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/login/client_login.hpp"
#include "proxy/process/memory_room.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace metrics = config::metrics;

/// A handshake takes more memory than all that follows, and comes before the client can be told anything in
/// TLS. So it is told in clear text, as PostgreSQL tells that it cannot start another process; who speaks TLS
/// already gets an alert.
bool client_login::may_start_tls(bool direct) {
    if (memory_room::begin_handshake()) return true;
    worker_.metrics().clients_refused.add(metrics::refusal::memory);
    if (!direct) return refuse_for_memory();
    worker_.metrics().client_logins.add(login_result::unavailable);
    log::info("client_refused", {{"client", session_.peer_}, {"reason", "no memory for a TLS handshake"}});
    // internal_error, in the clear: RFC 8446, section 6.
    send({std::byte{21}, std::byte{3}, std::byte{3}, std::byte{0}, std::byte{2}, std::byte{2}, std::byte{80}}
    );
    return false;
}

bool client_login::refuse_for_memory() {
    return refuse(
        protocol::sqlstate::out_of_memory, "too little memory is left for another client",
        login_result::unavailable, "The limit is machine.memory, or that of pgmend's cgroup."
    );
}

/// Whether this client is let in at all, whoever it is; if not, it has been told why.
bool client_login::may_enter() {
    const auto& tls = worker_.live().towards_clients;
    if (tls_ == nullptr && !session_.local_ && tls != nullptr && tls->mode() >= pool::tls_mode::require) {
        worker_.metrics().clients_refused.add(metrics::refusal::tls_required);
        refuse(
            protocol::sqlstate::invalid_authorization, "TLS is required for this connection",
            login_result::protocol
        );
        return false;
    }
    if (worker_.draining()) {
        worker_.metrics().clients_refused.add(metrics::refusal::draining);
        refuse(
            protocol::sqlstate::cannot_connect_now, "the database system is shutting down",
            login_result::unavailable
        );
        return false;
    }
    if (!for_console() && worker_.short_of_memory()) {
        worker_.metrics().clients_refused.add(metrics::refusal::memory);
        return refuse_for_memory();
    }
    if (!for_console() && worker_.sessions() > worker_.max_sessions()) {
        worker_.metrics().clients_refused.add(metrics::refusal::client_limit);
        refuse(
            protocol::sqlstate::too_many_connections, "sorry, too many clients already",
            login_result::unavailable,
            "The limit is " + std::to_string(worker_.settings().listen.max_clients()) +
                " (listen.max_clients), 0 remain.",
            "Retry when one of them has left, or ask for a higher limit."
        );
        return false;
    }
    return true;
}

/// DISABLE: PostgreSQL's own words for a database with ALLOW_CONNECTIONS false.
bool client_login::may_use_database() {
    if (!worker_.admin().disabled(database_)) return true;
    worker_.metrics().clients_refused.add(metrics::refusal::disabled);
    return refuse(
        protocol::sqlstate::object_not_in_prerequisite_state,
        "database \"" + database_ + "\" is not currently accepting connections", login_result::unavailable,
        "An administrator has disabled it (DISABLE on the console)."
    );
}

bool client_login::within_limits() {
    client_identity who;
    who.user = user_;
    who.database = database_;
    who.address = session_.local_ ? std::string_view("local") : session_.address();
    if (application_name_) who.application_name = *application_name_;
    auto admission = worker_.limits().enter(who, worker_.env().now());
    session_.limits_ = std::move(admission.limits);
    if (!admission.refusal) return true;
    const limit_refusal& why = *admission.refusal;
    worker_.metrics().clients_refused.add(metrics::refusal::limit);
    worker_.metrics().limited_clients.add(why.scope);
    return refuse(
        protocol::sqlstate::too_many_connections, why.message, login_result::unavailable, why.detail, why.hint
    );
}

}  // namespace pgmend::proxy
