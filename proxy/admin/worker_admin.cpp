#include "proxy/admin/worker_admin.hpp"

#include <algorithm>

#include "config/log.hpp"
#include "proxy/servers/server_names.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

/// Of each worker: a longer list would keep its clients waiting while it is made.
constexpr std::size_t most_healings = 1000;
/// The ones that refuse most come first.
constexpr std::size_t most_limits = 1000;

/// The ones that took most time come first; the others are told as one.
constexpr std::size_t most_statements = 1000;

std::vector<statement_tally> dearest(std::vector<const statement_tally*> all) {
    std::ranges::sort(all, [](const auto* a, const auto* b) { return a->time > b->time; });
    std::vector<statement_tally> told;
    for (std::size_t i = 0; i < std::min(all.size(), most_statements); ++i)
        told.push_back(*all[i]);
    if (all.size() <= most_statements) return told;
    statement_tally& others = told.emplace_back();
    others.text = statement_tallies::other_statements;
    for (std::size_t i = most_statements; i < all.size(); ++i)
        others.absorb(*all[i]);
    return told;
}

/// The auth query's own pools have a zero byte in their users' names.
std::string shown_user(const std::string& user) {
    const std::size_t zero = user.find('\0');
    if (zero == user.npos) return user;
    return user.substr(0, zero) + (user.ends_with("reads") ? " (reads)" : " (auth_query)");
}

std::string value_of(const protocol::parameter_set* set, std::string_view name) {
    const std::string* found = set == nullptr ? nullptr : set->find(name);
    return found == nullptr ? std::string() : *found;
}

shown_server state_of(const pool::server_connection& server) {
    if (server.cancels_under_way != 0) return shown_server::being_canceled;
    switch (server.state) {
        case pool::server_state::connecting:
            return shown_server::login;
        case pool::server_state::idle:
        case pool::server_state::closed:
            return shown_server::idle;
        case pool::server_state::active:
            return shown_server::active;
        case pool::server_state::cleaning:
            return shown_server::tested;
    }
    return shown_server::idle;
}

void count(const pool::server_connection& server, pool_facts& pool) {
    switch (state_of(server)) {
        case shown_server::active:
            ++pool.servers_active;
            break;
        case shown_server::idle:
            ++pool.servers_idle;
            break;
        case shown_server::tested:
            ++pool.servers_tested;
            break;
        case shown_server::login:
            ++pool.servers_login;
            break;
        case shown_server::being_canceled:
            ++pool.servers_being_canceled;
            break;
    }
    if (server.cancels_under_way != 0) ++pool.cancels;
}

server_facts facts_of(
    const pool::server_connection& server, const backend_cluster& cluster, config::time_point now
) {
    server_facts facts;
    facts.place = cluster.place_of(server.where);
    facts.id = server.id;
    facts.user = shown_user(server.pool.login().user);
    facts.database = server.pool.login().database;
    facts.application_name = value_of(server.reported, "application_name");
    if (server.io) server.io->describe(facts.ends);
    facts.state = state_of(server);
    facts.close_needed = server.close_when_free;
    facts.busy = !server.in.empty() || server.out.blocked();
    facts.pid = server.key.pid;
    facts.prepared = server.statements.size();
    facts.connected = now - (server.opened_at == config::time_point{} ? now : server.opened_at);
    const auto last = server.state == pool::server_state::idle ? server.idle_since : now;
    facts.requested = now - (last == config::time_point{} ? now : last);
    return facts;
}

}  // namespace

template <class Visit>
void worker_admin::each_pool(const database_choice& which, Visit visit) {
    for (auto& [name, pool] : worker_.pools_) {
        if (!which || name.first == *which) visit(*pool);
    }
}

bool worker_admin::console_begins() {
    if (consoles_ >= worker_.settings().admin.max_consoles()) return false;
    ++consoles_;
    return true;
}

void worker_admin::pause(const database_choice& which) {
    if (which) {
        paused_.insert(*which);
    } else {
        all_paused_ = true;
    }
    each_pool(which, [](pool::server_pool& pool) { pool.pause(); });
}

void worker_admin::resume(const database_choice& which) {
    if (which) {
        paused_.erase(*which);
    } else {
        all_paused_ = false;
        paused_.clear();
    }
    for (auto& [name, pool] : worker_.pools_) {
        if (pool->ledger().paused() && !paused(name.first)) pool->resume();
    }
}

void worker_admin::reconnect(const database_choice& which) {
    each_pool(which, [](pool::server_pool& pool) { pool.recycle(); });
}

void worker_admin::kill(const database_choice& which) {
    pause(which);
    for (client_session* session = worker_.sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        if (session->pool_ == nullptr || session->phase() == session_phase::console) continue;
        if (!which || session->pool_->login().database == *which) session->terminate();
    }
}

bool worker_admin::kill_client(std::uint64_t id) {
    for (client_session* session = worker_.sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        if (session->id() != id || session->pool_ == nullptr) continue;
        if (session->phase() == session_phase::closing) return false;
        session->terminate();
        return true;
    }
    return false;
}

void worker_admin::set_ban(
    std::size_t place, bool banned, std::string_view outcome, const std::string& cause
) {
    backend_cluster& cluster = worker_.cluster_;
    if (place >= cluster.servers() || cluster.is_banned(place) == banned) return;
    cluster.set_ban(place, banned);
    for (auto& [name, pool] : worker_.pools_)
        pool->reconsider();
    if (worker_.options_.index != 0) return;
    worker_.metrics_.servers_banned.add(banned ? 1 : -1);
    healing_event act;
    act.at = worker_.env_.now();
    act.kind = healing_kind::ban;
    act.outcome = outcome;
    act.server = server_name(cluster.picture(), worker_.settings(), place);
    act.cause = cause;
    log::warning("server_ban", {{"server", act.server}, {"outcome", outcome}, {"cause", cause}});
    worker_.ledger_.add(std::move(act));
}

void worker_admin::note(healing_event act) {
    act.at = worker_.env_.now();
    worker_.ledger_.add(std::move(act));
}

void worker_admin::reset_statements() { worker_.tallies_.reset(); }

void worker_admin::close_consoles() {
    for (client_session* session = worker_.sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        if (session->phase() == session_phase::console) session->drain();
    }
}

worker_facts worker_admin::facts(const facts_wanted& wanted) const {
    worker_facts facts;
    add_pools(wanted, facts);
    for (client_session* session = worker_.sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        add_client(*session, wanted, facts);
    }
    for (const auto reason : all_pin_reasons) {
        auto& pins = facts.pins[static_cast<std::size_t>(reason)];
        pins.now = worker_.metrics_.pins.value(reason);
        pins.made = worker_.metrics_.pins_made.value(reason);
    }
    for (std::size_t i = 0; i < facts.refusals.size(); ++i) {
        facts.refusals[i] = worker_.metrics_.clients_refused.value(static_cast<config::metrics::refusal>(i));
    }
    using config::metrics::cleanup_action;
    facts.connections.opened = worker_.metrics_.server_connects.value(config::metrics::connect_result::ok);
    facts.connections.lost_in_use =
        worker_.metrics_.server_closed.value(config::metrics::server_close::lost_in_use);
    facts.connections.rolled_back = worker_.metrics_.cleanups.value(cleanup_action::rollback);
    facts.connections.reset = worker_.metrics_.cleanups.value(cleanup_action::discard);
    facts.memory.sessions = worker_.sessions_.size();
    facts.memory.servers = worker_.server_connections();
    facts.memory.session_bytes = sizeof(client_session);
    facts.memory.server_bytes = sizeof(pool::server_connection);
    facts.memory.buffer_blocks = worker_.buffers_.leased_blocks();
    facts.memory.parameter_sets = worker_.parameters_.size();
    facts.memory.catalogs = worker_.catalogs_.size();
    facts.logins = worker_.logins_under_way_.size();
    facts.consoles = consoles_;
    facts.breakers = worker_.cluster_.breakers();
    if (wanted.protection) facts.protections = worker_.guard_.protections();
    for (std::size_t place = 0; place < worker_.cluster_.servers(); ++place)
        facts.usable.push_back(worker_.cluster_.is_usable(place));
    if (wanted.limits && worker_.options_.index == 0)
        facts.limits = worker_.limits().facts(worker_.env_.now(), most_limits);
    if (wanted.statements) facts.statements = dearest(worker_.tallies_.all());
    if (wanted.healings) {
        facts.healings = worker_.ledger_.latest(most_healings);
    }
    return facts;
}

ledger_page worker_admin::acts(std::optional<std::uint64_t> after, std::size_t most) const {
    const healing_ledger& ledger = worker_.ledger_;
    return {after ? ledger.after(*after, most) : ledger.latest(most), ledger.total()};
}

void worker_admin::add_pools(const facts_wanted& wanted, worker_facts& facts) const {
    const auto now = worker_.env_.now();
    facts.traffic = worker_.past_traffic_;
    for (const auto& [name, pool] : worker_.pools_) {
        facts.traffic[name.first] += pool->traffic();
        pool_facts& one = facts.pools.emplace_back();
        one.database = name.first;
        one.user = shown_user(name.second);
        const pool::pool_ledger& ledger = pool->ledger();
        one.paused = ledger.paused();
        one.recycling = pool->recycling();
        one.empty = ledger.total() == 0 && !pool->busy();
        one.size = ledger.limits().size;
        if (const auto* first = ledger.first_waiter()) one.longest_wait = now - first->since;
        for (const auto& server : pool->servers()) {
            count(*server, one);
            if (wanted.servers) facts.servers.push_back(facts_of(*server, worker_.cluster_, now));
        }
    }
}

void worker_admin::add_client(client_session& session, const facts_wanted& wanted, worker_facts& facts)
    const {
    if (session.pool_ == nullptr) return;  // on its way in, or a console
    const bool waiting =
        session.phase() == session_phase::waiting || session.phase() == session_phase::pausing;
    const pool::login_settings& login = session.pool_->login();
    for (pool_facts& pool : facts.pools) {
        if (pool.user != login.user || pool.database != login.database) continue;
        ++(waiting ? pool.clients_waiting : pool.clients_active);
        if (session.dedicated_) ++pool.servers_active;
        break;
    }
    if (wanted.coverage && session.phase() == session_phase::active && session.server_ != nullptr) {
        live_coverage& live = facts.coverage[login.database];
        ++live.all;
        if (const auto why = session.lost_by_failover()) ++live.lost[*why];
    }
    if (session.server_ != nullptr) {
        const auto its = std::ranges::find(facts.servers, session.server_->id, &server_facts::id);
        if (its != facts.servers.end()) its->client = session.id();
    }
    if (wanted.servers && session.dedicated_) {
        server_facts& own =
            facts.servers.emplace_back(facts_of(*session.dedicated_, worker_.cluster_, worker_.env_.now()));
        own.state = shown_server::active;
        own.client = session.id();
        own.replication = session.physical_ ? "physical" : "logical";
    }
    if (!wanted.clients) return;
    const auto now = worker_.env_.now();
    client_facts& one = facts.clients.emplace_back();
    one.id = session.id();
    const pool::server_connection* server = session.dedicated_ ? session.dedicated_.get() : session.server_;
    if (server != nullptr) one.server = server->id;
    one.user = login.user;
    one.database = login.database;
    one.application_name = value_of(session.facts_.settings, "application_name");
    session.io_->describe(one.ends);
    if (one.ends.remote.empty()) one.ends.remote = session.peer_;
    one.state = waiting             ? client_state::waiting
                : server != nullptr ? client_state::active
                                    : client_state::idle;
    if (session.dedicated_) one.replication = session.physical_ ? "physical" : "logical";
    one.close_needed = session.draining_;
    one.busy = !session.in_.empty() || session.out_.blocked() || server != nullptr;
    one.prepared = session.requests_.statements().size();
    one.pins = session.facts_.pins;
    const std::uint32_t age = client_session::seconds_of(now) - session.connected_s_;
    one.connected = std::chrono::seconds{age};
    const bool asked = session.request_began_ != config::time_point{};
    one.requested = asked ? now - session.request_began_ : one.connected;
    if (waiting) {
        one.waited = now - session.since;
        one.requested = one.waited;
    }
}

}  // namespace pgmend::proxy
