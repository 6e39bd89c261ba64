#include "pool/server_pool.hpp"

#include <algorithm>
#include <utility>

#include "config/log.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::pool {

namespace metrics = config::metrics;
using metrics::server_close;

namespace {

std::string in_ms(config::duration time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

metrics::server_state metric_of(server_state state) noexcept {
    switch (state) {
        case server_state::connecting:
            return metrics::server_state::connecting;
        case server_state::idle:
        case server_state::closed:
            return metrics::server_state::idle;
        case server_state::active:
            return metrics::server_state::active;
        case server_state::cleaning:
            return metrics::server_state::cleaning;
    }
    return metrics::server_state::idle;
}

server_close metric_of(close_reason reason) noexcept {
    switch (reason) {
        case close_reason::idle_timeout:
            return server_close::idle_timeout;
        case close_reason::lifetime:
            return server_close::lifetime;
        case close_reason::repartition:
        case close_reason::none:
            return server_close::repartition;
        case close_reason::pool_closed:
            return server_close::shutdown;
        case close_reason::paused:
            return server_close::paused;
        case close_reason::resized:
            return server_close::resized;
    }
    return server_close::shutdown;
}

}  // namespace

void server_connection::notify(event_mask) noexcept { pool.idle_ready(*this); }

server_pool::server_pool(const pool_context& context, login_settings login, pool_options options)
    : context_(context), login_(std::move(login)), options_(options), ledger_(options.limits) {
    adopt_sizing();
    pool_ledger::actions nothing;
    ledger_.set_limits(limits_now(), context_.env.now(), nothing);
    note_size();
    fire = [](config::timer_node& node) noexcept {
        auto& self = static_cast<server_pool&>(node);
        pool_ledger::actions actions;
        self.look_at_size();
        self.look_for_share();
        self.ledger_.tick(self.context_.env.now(), actions);
        self.carry_out(actions);
        self.inspect_idle();
    };
    run = [](config::deferred_node& node) noexcept { static_cast<server_pool&>(node).bury(); };
}

server_pool::~server_pool() {
    context_.env.cancel(*this);
    context_.env.withdraw(*this);
    if (holding_) context_.metrics.pools_holding.sub();
    context_.metrics.pool_size.sub(static_cast<std::int64_t>(told_size_));
    for (const auto& server : servers_) {
        context_.metrics.servers.sub(metric_of(server->state));
        intrusive_list<ledger_server>::remove(*server);
    }
}

partition_id server_pool::partition(std::string_view key, const startup_parameters& parameters) {
    for (std::size_t i = 0; i < partitions_.size(); ++i) {
        if (partitions_[i].key == key) return static_cast<partition_id>(i);
    }
    partitions_.push_back({std::string{key}, parameters, nullptr});
    return static_cast<partition_id>(partitions_.size() - 1);
}

bool server_pool::greets() const noexcept {
    return std::any_of(partitions_.begin(), partitions_.end(), [](const pool_partition& one) {
        return one.welcome != nullptr;
    });
}

void server_pool::move(server_connection& server, server_state to) noexcept {
    if (server.state != server_state::closed) context_.metrics.servers.sub(metric_of(server.state));
    server.state = to;
    if (to == server_state::active) server.used_since_check = true;
    if (to != server_state::closed) context_.metrics.servers.add(metric_of(to));
}

server_connection* server_pool::take_idle(pool_waiter& waiter) noexcept {
    auto* server = static_cast<server_connection*>(ledger_.take_idle(waiter, context_.env.now()));
    if (server == nullptr) return nullptr;
    if (waiter.last.server() == nullptr) waiter.last.attach(server);
    move(*server, server_state::active);
    ++traffic_.assignments;
    return server;
}

server_connection* server_pool::acquire(pool_waiter& waiter) {
    if (server_connection* server = take_idle(waiter)) return server;
    pool_ledger::actions actions;
    begin_look();
    ledger_.acquire(waiter, context_.env.now(), actions);
    context_.metrics.clients_waiting.add();
    carry_out(actions);
    return nullptr;
}

server_connection* server_pool::home_for(partition_id id) const noexcept {
    if (ledger_server* idle = ledger_.home_for(id)) return static_cast<server_connection*>(idle);
    server_connection* home = nullptr;
    for (const auto& server : servers_) {
        if (server->partition != id || server->state == server_state::connecting) continue;
        if (home == nullptr || server->followers.size() < home->followers.size()) home = server.get();
    }
    return home;
}

bool server_pool::acquire_own(pool_waiter& waiter) {
    const auto* home = home_for(waiter.partition);
    if ((home != nullptr && home->followers.empty()) || !ledger_.may_grow()) return false;
    pool_ledger::actions actions;
    ledger_.acquire_new(waiter, context_.env.now(), actions);
    context_.metrics.clients_waiting.add();
    carry_out(actions);
    return true;
}

void server_pool::withdraw(pool_waiter& waiter) noexcept {
    if (!waiter.linked()) return;
    ledger_.withdraw(waiter);
    context_.metrics.clients_waiting.sub();
}

void server_pool::carry_out(pool_ledger::actions& actions) {
    for (const pool_action& action : actions) {
        switch (action.kind) {
            case pool_action_kind::hand_over: {
                auto& server = static_cast<server_connection&>(*action.server);
                context_.metrics.clients_waiting.sub();
                if (action.held) {
                    context_.metrics.holds.add(metrics::hold_end::released);
                    ++released_;
                    context_.metrics.hold_seconds.record(context_.env.now() - action.waiter->since);
                }
                if (action.waiter->last.server() == nullptr) action.waiter->last.attach(&server);
                move(server, server_state::active);
                ++traffic_.assignments;
                traffic_.wait_time += context_.env.now() - action.waiter->since;
                static_cast<pool_waiter*>(action.waiter)->granted(server);
                break;
            }
            case pool_action_kind::connect:
                open(action.partition);
                break;
            case pool_action_kind::close:
                close_server(static_cast<server_connection&>(*action.server), metric_of(action.reason));
                break;
            case pool_action_kind::time_out:
                give_up(*static_cast<pool_waiter*>(action.waiter), action.end);
                break;
        }
    }
    note_hold();
    plan_tick();
    if (owes_share_) owes_share_ = context_.shares->still_owes_share(*this);
}

void server_pool::give_up(pool_waiter& waiter, wait_end why) {
    context_.metrics.clients_waiting.sub();
    pool_refusal refusal;
    refusal.timed_out = true;
    refusal.sqlstate = protocol::sqlstate::too_many_connections;
    refusal.hint = "Retry after 1 s.";
    const std::string others = std::to_string(ledger_.waiting()) + " more clients wait.";
    if (why == wait_end::busy) {
        refusal.message = "no server connection became free in time";
        refusal.detail = "The longest wait is " + in_ms(options_.limits.wait_timeout) + " (" +
                         std::string(options_.wait_limit) + "); ";
        refusal.detail += ledger_.paused() ? "the pool is paused (PAUSE on the console), "
                                           : std::to_string(ledger_.in_use()) + " of " +
                                                 std::to_string(ledger_.limits().size) +
                                                 " server connections are in use, ";
        refusal.detail += others;
    } else if (why == wait_end::full) {
        refusal.counted_as = metrics::refusal::waiters;
        refusal.message = "too many clients wait for a server connection";
        refusal.detail = "The limit is " + std::to_string(options_.limits.max_waiters) +
                         " (limits.waiting_clients), " + others;
    } else if (why == wait_end::shed) {
        const auto now = context_.env.now();
        refusal.counted_as = metrics::refusal::overload;
        refusal.message = "the request was refused, as too many wait for a server connection";
        refusal.detail = "It has waited for " + in_ms(now - waiter.since) + ", the limit under overload is " +
                         in_ms(options_.limits.queue_delay) +
                         " (limits.queue_delay); clients have waited without a break for " +
                         in_ms(now - ledger_.line_began()) + ", " + others;
    } else {
        const bool crowded = why == wait_end::crowded;
        context_.metrics.holds.add(crowded ? metrics::hold_end::crowded : metrics::hold_end::timed_out);
        ++given_up_;
        refusal.sqlstate = protocol::sqlstate::cannot_connect_now;
        refusal.message = crowded ? "no server can be reached, and too many clients wait for one"
                                  : "no server could be reached in time";
        const auto held = std::chrono::duration_cast<std::chrono::milliseconds>(
            context_.env.now() - std::max(ledger_.hold_began(), waiter.since)
        );
        refusal.detail = "Held for " + std::to_string(held.count()) + " ms";
        refusal.detail += crowded ? ", and no more than " + std::to_string(options_.limits.hold_max_waiters) +
                                        " may be (hold.max_waiters); "
                                  : ", which is the limit (hold.timeout); ";
        refusal.detail += context_.endpoints.absence() + "; " + others;
    }
    if (!last_failure_.empty()) refusal.detail += " Last failure: " + last_failure_;
    waiter.refused(refusal);
}

/// One event for each time that requests are held, one when they no longer are, and one when the last of
/// them has a server.
void server_pool::note_hold() {
    if (options_.standbys) return;
    if (ledger_.holding() != holding_) {
        holding_ = ledger_.holding();
        context_.metrics.pools_holding.add(holding_ ? 1 : -1);
        if (holding_) holding_since_ = context_.env.now();
        tell_of_hold(holding_ ? hold_news::stage::begun : hold_news::stage::ended);
    }
    const bool through = !holding_ && (released_ != 0 || given_up_ != 0) && !ledger_.held_waiting();
    if (through) tell_of_hold(hold_news::stage::released);
}

void server_pool::tell_of_hold(hold_news::stage what) {
    using stage = hold_news::stage;
    const auto lasted = context_.env.now() - holding_since_;
    const bool through = what == stage::released;
    const hold_news news{what,      login_, last_failure_, through ? released_ : ledger_.waiting(),
                         given_up_, lasted};
    const std::string pool = login_.user + "@" + login_.database;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(lasted).count();
    if (what == stage::begun) {
        log::warning(
            "hold_begins",
            {{"pool", pool}, {"servers", context_.endpoints.absence()}, {"cause", last_failure_}}
        );
    } else if (what == stage::ended) {
        log::info("hold_ends", {{"pool", pool}, {"waiting", news.count}, {"lasted_ms", ms}});
    } else {
        log::info(
            "hold_released",
            {{"pool", pool}, {"released", released_}, {"given_up", given_up_}, {"lasted_ms", ms}}
        );
    }
    context_.endpoints.holding(news);
    if (through) released_ = given_up_ = 0;
}

void server_pool::plan_tick() {
    auto due = std::min(ledger_.next_tick(), share_due());
    if (look_) due = std::min(due, look_->began + pool_sizer::period);
    if (due == config::time_point::max()) {
        // An idle server may yet be due to be asked what was left in it.
        if (scheduled() && (closing_ || options_.leak_check <= config::duration::zero()))
            context_.env.cancel(*this);
        return;
    }
    // A tick too early only looks; moving the timer for every idle server would cost more.
    if (!scheduled() || due < when) context_.env.schedule(*this, due);
}

void server_pool::release(server_connection& server, bool touched) {
    if (touched || server.close_when_free || server.cancels_under_way != 0 || !server.at_safe_point()) {
        clean(server, touched, false);
        return;
    }
    if (ledger_.waiting() == 0 && !closing_ && check_due(server) <= context_.env.now()) {
        inspect(server);
        return;
    }
    back_to_ledger(server);
}

void server_pool::back_to_ledger(server_connection& server) {
    server.io->watch(server, {1, 1});
    server.io->arm(interest::read);
    server.parameters = server.settings;
    move(server, server_state::idle);
    const auto now = context_.env.now();
    if (ledger_.put_back(server, now)) {
        if (!scheduled()) plan_tick();
        // Each release passes here: where the timer is early enough, nothing is to do.
        if (const auto due = check_due(server);
            due < config::time_point::max() && (!scheduled() || due < when))
            context_.env.schedule(*this, std::max(due, now));
        return;
    }
    pool_ledger::actions actions;
    actions.swap(free_actions_);
    ledger_.release(server, now, actions);
    carry_out(actions);
    actions.clear();
    free_actions_.swap(actions);
}

void server_pool::abandon(server_connection& server, bool touched, bool mid_message, bool left) {
    if (mid_message || server.broken) {
        context_.metrics.cleanups.add(metrics::cleanup_action::close);
        discard(server, server.broken ? server_close::protocol : server_close::unclean);
        return;
    }
    clean(server, touched, left);
}

void server_pool::discard(server_connection& server, server_close why) {
    if (why == server_close::lost_in_use) context_.endpoints.broke(server);
    close_server(server, why);
    pool_ledger::actions actions;
    ledger_.lost_in_use(context_.env.now(), actions);
    carry_out(actions);
}

void server_pool::close_server(server_connection& server, server_close why) {
    if (server.state == server_state::closed) return;
    log::debug("server_closed", {{"server", server.where.to_string()}, {"reason", label_word(why)}});
    move(server, server_state::closed);
    context_.metrics.server_closed.add(why);
    while (affinity* follower = server.followers.front()) {
        follower->attach(nullptr);
    }
    if (!server.broken && server.at_safe_point() && !server.out.blocked()) {
        std::byte terminate[5]{std::byte{'X'}, {}, {}, {}, std::byte{4}};
        const iovec piece{terminate, sizeof terminate};
        server.io->write_some({&piece, 1});
    }
    server.io->close();
    server.in.clear();
    server.out.clear();
    const auto it =
        std::find_if(servers_.begin(), servers_.end(), [&](const auto& s) { return s.get() == &server; });
    if (it != servers_.end()) {
        dead_.push_back(std::move(*it));
        servers_.erase(it);
    }
    context_.env.defer(*this);
}

void server_pool::bury() noexcept {
    // A cancel under way still refers to its connection; it defers this again when it is over.
    std::erase_if(dead_, [](const auto& server) { return server->cancels_under_way == 0; });
}

void server_pool::collect_parameters(std::unordered_set<const protocol::parameter_set*>& live) const {
    for (const auto& server : servers_) {
        for (const auto* set : {server->reported, server->settings, server->reported_at_login}) {
            live.insert(set);
        }
        live.insert(static_cast<const protocol::parameter_set*>(server->parameters));
    }
    for (const auto& partition : partitions_) {
        live.insert(partition.welcome);
    }
}

template <class Condition>
void server_pool::close_as_freed(Condition concerned, server_close why) {
    std::vector<server_connection*> idle;
    for (const auto& server : servers_) {
        if (!concerned(*server)) continue;
        if (server->state == server_state::idle) {
            idle.push_back(server.get());
        } else {
            server->close_when_free = true;
        }
    }
    for (server_connection* server : idle) {
        ledger_.lost_idle(*server);
        close_server(*server, why);
    }
}

void server_pool::reconsider() {
    const auto unfit = [this](const server_connection& server) {
        return server.state != server_state::connecting && !context_.endpoints.may_serve(server.where);
    };
    close_as_freed(unfit, server_close::unfit);
    pool_ledger::actions actions;
    ledger_.reconsider(context_.endpoints.any_serves(), context_.env.now(), actions);
    carry_out(actions);
}

void server_pool::room() {
    if (!std::exchange(put_off_, false)) return;
    pool_ledger::actions actions;
    ledger_.retry_now(context_.env.now(), actions);
    carry_out(actions);
}

void server_pool::pause() {
    pool_ledger::actions actions;
    ledger_.pause(actions);
    carry_out(actions);
}

void server_pool::resume() {
    pool_ledger::actions actions;
    ledger_.resume(context_.env.now(), actions);
    carry_out(actions);
}

void server_pool::reconfigure(
    const login_rules& rules, config::duration login_timeout, const pool_options& options
) {
    options_ = options;
    owes_share_ = false;
    adopt_sizing();
    login_.rules = rules;
    login_.timeout = login_timeout;
    for (const auto& server : servers_) {
        server->statements.set_limit(options.max_prepared_statements);
        server->owed.set_limit(options.owed_replies);
    }
    const auto too_full = [&options](const server_connection& server) {
        return server.statements.size() > options.max_prepared_statements;
    };
    close_as_freed(too_full, server_close::resized);
    pool_ledger::actions actions;
    ledger_.set_limits(limits_now(), context_.env.now(), actions);
    carry_out(actions);
    note_size();
    inspect_idle();  // by the new interval
}

void server_pool::recycle() {
    close_as_freed([](const server_connection&) { return true; }, server_close::reconnect);
    // The next client is greeted by what a new login says.
    for (pool_partition& partition : partitions_) {
        partition.welcome = nullptr;
    }
    pool_ledger::actions actions;
    ledger_.tick(context_.env.now(), actions);
    carry_out(actions);
}

bool server_pool::recycling() const noexcept {
    return std::any_of(servers_.begin(), servers_.end(), [](const auto& server) {
        return server->close_when_free;
    });
}

void server_pool::close() {
    closing_ = true;
    pool_ledger::actions actions;
    ledger_.close_all(actions);
    carry_out(actions);
}

}  // namespace pgmend::pool
