#include "proxy/servers/server_breakers.hpp"

#include <algorithm>
#include <utility>

#include "config/log.hpp"

namespace pgmend::proxy {

using config::metrics::connect_result;
using health::breaker;
using health::breaker_state;

namespace {

constexpr std::array classes{breaker_class::local, breaker_class::resource};

health::breaker_limits limits_of(const config::breaker_settings& settings) {
    health::breaker_limits limits;
    limits.failures = settings.failures();
    limits.failure_percent = settings.failure_rate();
    limits.slow_percent = settings.slow_rate();
    limits.slow_call = settings.slow_login();
    limits.window = settings.window();
    limits.min_calls = settings.min_calls();
    limits.cooldown = settings.cooldown();
    limits.cooldown_max = settings.cooldown_max();
    limits.trials = settings.half_open_trials();
    return limits;
}

/// SQLSTATE classes that say nothing of the client: the server lacks something, or is in trouble itself.
bool is_trouble(std::string_view sqlstate) noexcept {
    return sqlstate.starts_with("53") || sqlstate.starts_with("58") || sqlstate.starts_with("XX");
}

/// What a failed login counts as; nothing where the server did well and did not like the client.
std::optional<breaker_class> blamed(const pool::login_outcome& outcome) noexcept {
    switch (outcome.result) {
        case connect_result::refused:
        case connect_result::timeout:
        case connect_result::tls_failed:
        case connect_result::lost:
            return breaker_class::local;
        case connect_result::server_error:
            if (is_trouble(outcome.sqlstate)) return breaker_class::resource;
            if (outcome.worth_retrying()) return breaker_class::local;
            return std::nullopt;
        case connect_result::ok:
        case connect_result::login_failed:
        case connect_result::wrong_role:
            return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace

server_breakers::server_breakers(const config::breaker_settings& settings, config::environment& env)
    : env_(env), limits_(limits_of(settings)) {
    run = [](config::deferred_node& node) noexcept { static_cast<server_breakers&>(node).room_(); };
}

server_breakers::~server_breakers() { env_.withdraw(*this); }

void server_breakers::add(std::string name) {
    servers_.push_back({std::move(name), breaker{limits_}, breaker{limits_}});
    if (metrics_ != nullptr)
        metrics_->breakers.add(breaker_state::closed, static_cast<std::int64_t>(classes.size()));
}

void server_breakers::replace(std::size_t place, std::string name) {
    std::erase_if(attempts_, [place](const auto& each) { return each.second.place == place; });
    server& one = servers_[place];
    if (metrics_ != nullptr) {
        for (const auto what : classes) {
            metrics_->breakers.sub(of(one, what).state());
            metrics_->breakers.add(breaker_state::closed);
        }
    }
    one = server{std::move(name), breaker{limits_}, breaker{limits_}};
}

void server_breakers::connect(
    config::metrics::cells& metrics, healing_ledger& ledger, std::function<void()> room
) {
    metrics_ = &metrics;
    ledger_ = &ledger;
    room_ = std::move(room);
    metrics.breakers.add(breaker_state::closed, static_cast<std::int64_t>(servers_.size() * classes.size()));
}

bool server_breakers::admits(std::size_t place) const noexcept {
    const server& one = servers_[place];
    return one.local.admits() && one.resource.admits();
}

bool server_breakers::admits_if_alone(std::size_t place) const noexcept {
    const server& one = servers_[place];
    return one.local.admits_if_alone() && one.resource.admits_if_alone();
}

template <class Act>
void server_breakers::change(server& one, breaker_class what, Act act) {
    breaker& its = of(one, what);
    const breaker_state before = its.state();
    const std::optional<health::breaker_change> changed = act(its);
    if (!changed) return;
    if (changed->to == breaker_state::open) its.spread(env_.random());
    if (metrics_ != nullptr) {
        metrics_->breakers.sub(before);
        metrics_->breakers.add(changed->to);
        metrics_->breaker_changes.add(changed->why);
    }
    tell(one, what, its, *changed);
    if (changed->to != breaker_state::open && room_) env_.defer(*this);
}

void server_breakers::settle() {
    for (server& one : servers_) {
        for (const auto what : classes)
            change(one, what, [this](breaker& its) { return its.settle(env_.now()); });
    }
}

std::uint64_t server_breakers::begin(std::size_t place) {
    server& one = servers_[place];
    attempts_.emplace(++last_ticket_, attempt{place, one.local.begin(), one.resource.begin()});
    return last_ticket_;
}

void server_breakers::over(std::uint64_t ticket, const pool::login_outcome& outcome) {
    const auto known = attempts_.find(ticket);
    if (known == attempts_.end()) return;
    const attempt call = known->second;
    attempts_.erase(known);
    const auto at_fault = blamed(outcome);
    for (const auto what : classes) {
        // Who could not be reached has said nothing of what it lacks; who lacks something has been reached.
        auto how = at_fault == what ? breaker::outcome::failure : breaker::outcome::success;
        if (what == breaker_class::resource && at_fault == breaker_class::local)
            how = breaker::outcome::nothing;
        const breaker::pass& pass = what == breaker_class::local ? call.local : call.resource;
        change(servers_[call.place], what, [&](breaker& its) {
            return its.end(pass, how, outcome.took, env_.now());
        });
    }
    // A trial is over, and there is room for another.
    if ((call.local.trial || call.resource.trial) && room_) env_.defer(*this);
}

void server_breakers::probed(std::size_t place) {
    change(servers_[place], breaker_class::local, [](breaker& its) { return its.probed(); });
}

void server_breakers::reset(std::size_t place, config::time_point opened_at) {
    server& one = servers_[place];
    // One crash breaks all connections that are open: it counts once.
    if (opened_at <= one.last_reset) return;
    one.last_reset = env_.now();
    change(one, breaker_class::local, [&](breaker& its) { return its.failed(env_.now()); });
}

void server_breakers::told_error(std::size_t place, std::string_view sqlstate) {
    if (!is_trouble(sqlstate)) return;
    server& one = servers_[place];
    // The requests since the last trouble went well. This one will be counted among the next.
    if (one.served > one.served_before) one.resource.succeeded(env_.now(), one.served - one.served_before);
    one.served_before = one.served + 1;
    change(one, breaker_class::resource, [&](breaker& its) { return its.failed(env_.now()); });
}

void server_breakers::tell(
    const server& one, breaker_class what, const breaker& its, health::breaker_change to
) {
    const auto seen = its.recent(env_.now());
    healing_event act;
    act.at = env_.now();
    act.kind = healing_kind::breaker;
    act.outcome = label_word(to.to);
    act.reason = label_word(to.why);
    act.server = one.name;
    act.count = seen.failures;
    act.cause = std::string(label_word(what)) + ": " + std::to_string(its.in_a_row()) + " in a row; " +
                std::to_string(seen.failures) + " failed and " + std::to_string(seen.slow) +
                " were slow of " + std::to_string(seen.calls);
    if (to.to == breaker_state::open) {
        log::warning(
            "breaker_opens",
            {{"server", one.name},
             {"class", label_word(what)},
             {"reason", act.reason},
             {"seen", act.cause},
             {"cooldown_ms",
              std::chrono::duration_cast<std::chrono::milliseconds>(its.open_until() - act.at).count()}}
        );
    } else {
        log::info(
            "breaker_changes",
            {{"server", one.name}, {"class", label_word(what)}, {"to", act.outcome}, {"reason", act.reason}}
        );
    }
    if (ledger_ != nullptr) ledger_->add(std::move(act));
}

std::vector<breaker_facts> server_breakers::facts() const {
    std::vector<breaker_facts> all;
    for (std::size_t place = 0; place < servers_.size(); ++place) {
        for (const auto what : classes) {
            const server& one = servers_[place];
            const breaker& its = what == breaker_class::local ? one.local : one.resource;
            breaker_facts& made = all.emplace_back();
            made.place = place;
            made.counted = what;
            made.state = its.state();
            if (its.reason()) made.reason = label_word(*its.reason());
            made.recent = its.recent(env_.now());
            made.in_a_row = its.in_a_row();
            made.trials = its.trials();
            made.opened = its.opened();
            if (made.state == breaker_state::open)
                made.open_for = std::max(its.open_until() - env_.now(), config::duration{});
        }
    }
    return all;
}

}  // namespace pgmend::proxy
