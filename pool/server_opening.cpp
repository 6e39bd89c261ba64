// The part of server_pool that opens connections, one coroutine each, and says what became of it.

#include "config/log.hpp"
#include "pool/server_pool.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::pool {

namespace metrics = config::metrics;
using metrics::server_close;

namespace {

/// While there is no server to connect to: asked again only as a precaution, a new picture comes by itself.
constexpr config::duration unheard_of = std::chrono::seconds{1};

constexpr config::duration password_pause = std::chrono::milliseconds{250};

}  // namespace

/// There is no server to log in to, or none at this moment.
void server_pool::put_off(const endpoint_choice& choice) {
    if (choice.busy) {
        put_off_ = true;
        context_.metrics.breaker_waits.add();
    }
    if (!choice.busy || last_failure_.empty()) {
        last_failure_ = choice.busy ? "others try first: " : "there is no primary: ";
        last_failure_ += context_.endpoints.absence();
    }
    const auto now = context_.env.now();
    pool_ledger::actions waiting;
    ledger_.connect_failed(now, now + unheard_of, waiting);
    carry_out(waiting);
}

detached server_pool::open(partition_id id) {
    const endpoint_choice choice = context_.endpoints.choose(true);
    if (!choice.where) {
        put_off(choice);
        co_return;
    }
    ++tasks_;
    const endpoint where = *choice.where;
    servers_.push_back(std::make_unique<server_connection>(
        *this, context_.buffers, where, options_.owed_replies, options_.max_prepared_statements
    ));
    server_connection& server = *servers_.back();
    server.partition = id;
    server.standby = options_.standbys;
    server.id = next_id();
    server.opened_at = context_.env.now();
    server.heard = context_.endpoints.life_sign(where);
    server.served = context_.endpoints.served(where);
    context_.metrics.servers.add(metrics::server_state::connecting);
    const login_context shared{context_.env, context_.net, context_.parameters, context_.scram_keys};
    const startup_parameters parameters = partitions_[id].parameters;
    login_outcome outcome = co_await log_in(server, shared, login_, parameters);
    if (outcome.result == connect_result::ok && !context_.endpoints.accepts(where, server)) {
        outcome = {
            connect_result::wrong_role,
            std::string{protocol::sqlstate::cannot_connect_now},
            where.to_string() + " is not a server of the wanted role",
            {}};
    }
    context_.metrics.server_connects.add(outcome.result);
    const auto now = context_.env.now();
    outcome.took = now - server.opened_at;
    const config::duration pause = context_.endpoints.report(choice, outcome);
    pool_ledger::actions actions;
    if (outcome.result == connect_result::ok) {
        last_failure_.clear();
        server.parameters = server.settings = context_.parameters.empty();
        server.reported_at_login = server.reported;
        if (server.reports_on("default_transaction_read_only"))
            server.read_only = server_connection::read_only_by::not_asked;
        server.checked_at = server.logged_in_at = now;
        partitions_[id].welcome = server.reported;
        server.io->arm(interest::read);  // as every server that is handed out
        move(server, server_state::idle);
        ledger_.connected(server, now, actions);
    } else {
        log::warning(
            "server_connect_failed", {{"server", where.to_string()},
                                      {"reason", label_word(outcome.result)},
                                      {"sqlstate", outcome.sqlstate},
                                      {"message", outcome.message}}
        );
        last_failure_ = outcome.message;
        server.broken = true;
        close_server(server, server_close::lost_in_login);
        if (sizer_ && outcome.sqlstate == protocol::sqlstate::too_many_connections)
            resized(sizer_->server_full(ledger_.in_use() + ledger_.idle()));
        if (outcome.may_pass) {
            // The server is not to be asked in a loop whether the password is right by now.
            ledger_.connect_failed(now, now + std::max(pause, password_pause), actions);
        } else if (outcome.worth_retrying()) {
            ledger_.connect_failed(now, now + pause, actions);
        } else {
            refuse_all(id, outcome);
            ledger_.login_refused(now, now + pause, actions);
        }
    }
    carry_out(actions);
    --tasks_;
}

void server_pool::refuse_all(partition_id id, const login_outcome& why) {
    for (ledger_waiter* waiter = ledger_.first_waiter(); waiter != nullptr;) {
        ledger_waiter* following = intrusive_list<ledger_waiter>::next(*waiter);
        if (waiter->partition == id) {
            auto& refused = static_cast<pool_waiter&>(*waiter);
            withdraw(refused);
            refused.refused({why.sqlstate, why.message, {}, why.error_frame, false});
        }
        waiter = following;
    }
}

void server_pool::open_dedicated(
    startup_parameters parameters,
    std::function<void(std::unique_ptr<server_connection>, const login_outcome&)> done
) {
    ledger_.count_dedicated(1);
    open_alone(std::move(parameters), std::move(done));
}

/// Its place is free: somebody may be waiting for it.
void server_pool::dedicated_closed() {
    ledger_.count_dedicated(-1);
    plan_tick();
}

detached server_pool::open_alone(
    startup_parameters parameters,
    std::function<void(std::unique_ptr<server_connection>, const login_outcome&)> done
) {
    const endpoint_choice choice = context_.endpoints.choose(false);
    if (!choice.where) {
        dedicated_closed();
        const login_outcome nowhere{
            connect_result::wrong_role,
            std::string{protocol::sqlstate::cannot_connect_now},
            "there is no primary: " + context_.endpoints.absence(),
            {}};
        done(nullptr, nowhere);
        co_return;
    }
    ++tasks_;
    const endpoint where = *choice.where;
    auto server = std::make_unique<server_connection>(
        *this, context_.buffers, where, options_.owed_replies, options_.max_prepared_statements
    );
    server->state = server_state::closed;  // never in the pool's books
    server->id = next_id();
    server->opened_at = context_.env.now();
    const login_context shared{context_.env, context_.net, context_.parameters, context_.scram_keys};
    login_outcome outcome = co_await log_in(*server, shared, login_, parameters);
    context_.metrics.server_connects.add(outcome.result);
    outcome.took = context_.env.now() - server->opened_at;
    context_.endpoints.report(choice, outcome);
    if (outcome.result != connect_result::ok) {
        server.reset();
        dedicated_closed();
    }
    done(std::move(server), outcome);
    --tasks_;
}

}  // namespace pgmend::pool
