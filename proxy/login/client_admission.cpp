// The part of client_login that says whether there is room for a client: in the process, in its database, and
// within the limits of the policy.

#include "protocol/sqlstate.hpp"
#include "proxy/login/client_login.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace metrics = config::metrics;

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
        refuse(
            protocol::sqlstate::out_of_memory, "too little memory is left for another client",
            login_result::unavailable, "The limit is machine.memory, or that of pgmend's cgroup."
        );
        return false;
    }
    if (!for_console() && worker_.sessions() > worker_.max_sessions()) {
        worker_.metrics().clients_refused.add(metrics::refusal::client_limit);
        refuse(
            protocol::sqlstate::too_many_connections, "sorry, too many clients already",
            login_result::unavailable,
            "The limit is " + std::to_string(worker_.settings().listen.max_clients()) +
                " (listen.max_clients)."
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
