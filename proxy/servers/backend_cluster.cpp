#include "proxy/servers/backend_cluster.hpp"

#include <algorithm>
#include <numeric>

#include "config/log.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::proxy {

using config::session_attributes;
using config::metrics::connect_result;
using health::node_condition;
using health::node_role;

backend_cluster::backend_cluster(const config::settings& settings, config::environment& env)
    : env_(env),
      wanted_(settings.upstream.target_session_attrs()),
      pauses_{settings.pool.retry_delay_min(), settings.pool.retry_delay_max()},
      pause_when_full_(settings.pool.retry_delay_full()),
      changing_(settings.upstream.servers_change()),
      breakers_(settings.breaker, env) {
    adopt(*health::server_directory(settings.upstream.servers()).roster());
}

void backend_cluster::adopt(const health::server_roster& servers) {
    for (std::size_t place = 0; place < servers.size(); ++place) {
        const auto& address = servers[place].address;
        pool::endpoint where{address.address.empty() ? address.host : address.address, address.port};
        if (place == candidates_.size()) {
            candidates_.push_back(candidate{std::move(where), health::backoff{pauses_}, {}});
            breakers_.add(candidates_.back().where.to_string());
        } else if (candidates_[place].where != where) {
            candidates_[place] = candidate{std::move(where), health::backoff{pauses_}, {}};
            breakers_.replace(place, candidates_[place].where.to_string());
        }
        candidates_[place].listed = servers[place].here == health::presence::listed;
        candidates_[place].behind = servers[place].behind;
    }
    order_.resize(candidates_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::stable_sort(order_, {}, [&servers](std::size_t place) { return servers[place].rank; });
}

void backend_cluster::connect_worker(
    config::metrics::cells& metrics, healing_ledger& ledger, std::function<void()> room
) {
    ledger_ = &ledger;
    breakers_.connect(metrics, ledger, std::move(room));
}

void backend_cluster::update(health::topology_snapshot picture) {
    const health::topology_snapshot before = std::exchange(picture_, std::move(picture));
    knew_primary_ = knew_primary_ || picture_->memory.primary.has_value();
    const bool others = picture_->servers && (!before || picture_->servers != before->servers);
    if (others) adopt(*picture_->servers);
    for (std::size_t place = 0; place < picture_->nodes.size() && place < candidates_.size(); ++place) {
        const bool was_up =
            before && place < before->nodes.size() && before->nodes[place].condition == node_condition::up;
        if (!was_up && picture_->nodes[place].condition == node_condition::up) breakers_.probed(place);
    }
}

void backend_cluster::adopt(const config::settings& settings) noexcept {
    pauses_ = {settings.pool.retry_delay_min(), settings.pool.retry_delay_max()};
    pause_when_full_ = settings.pool.retry_delay_full();
    for (candidate& one : candidates_)
        one.pause.set_limits(pauses_);
}

std::size_t backend_cluster::place_of(const pool::endpoint& where) const noexcept {
    const auto it = std::find_if(candidates_.begin(), candidates_.end(), [&](const candidate& c) {
        return c.where == where;
    });
    return static_cast<std::size_t>(it - candidates_.begin());
}

const health::node_view* backend_cluster::view_of(const pool::endpoint& where) const noexcept {
    const std::size_t place = place_of(where);
    if (!picture_ || place >= picture_->nodes.size()) return nullptr;
    return &picture_->nodes[place];
}

bool backend_cluster::roles_matter() const noexcept {
    return picture_ && !is_alone() && (picture_->memory.primary || picture_->memory.system_identifier != 0);
}

backend_cluster::fitness backend_cluster::fitness_of(std::size_t place) const noexcept {
    if (candidates_[place].banned) return fitness::unfit;
    // One server alone is taken as it is: there is nothing to take it for another one.
    if (!picture_ || is_alone()) return fitness::perhaps;
    const health::node_view& view = picture_->nodes[place];
    // Whom no list names any more gets nothing new; a primary that works has the last word on that.
    if (!candidates_[place].listed && picture_->memory.primary != place) return fitness::unfit;
    // Who has come lately says first what it is: it may be a primary of the past.
    if (view.condition == node_condition::unknown && roles_matter()) return fitness::unfit;
    if (view.role == node_role::fenced || view.role == node_role::foreign) return fitness::unfit;
    if (view.role == node_role::unknown) return fitness::perhaps;
    const bool standby = view.role == node_role::standby;
    // Where nobody else is left it does all the same: it is behind, not wrong.
    const bool spare = standby && candidates_[place].behind && wanted_ != session_attributes::any;
    if (spare && !wants_primary()) return fitness::perhaps;
    const fitness if_alive = view.condition == node_condition::down ? fitness::perhaps : fitness::fit;
    switch (wanted_) {
        case session_attributes::any:
            if (!standby) return if_alive;
            return roles_matter() ? fitness::unfit : fitness::perhaps;
        case session_attributes::read_write:
        case session_attributes::primary:
            return standby ? fitness::unfit : if_alive;
        case session_attributes::read_only:
            return standby || view.read_only ? if_alive : fitness::unfit;
        case session_attributes::standby:
            return standby ? if_alive : fitness::unfit;
        case session_attributes::prefer_standby:
            return standby ? if_alive : fitness::perhaps;
    }
    return fitness::perhaps;
}

backend_cluster::fitness backend_cluster::best_fitness() const noexcept {
    fitness best = fitness::unfit;
    for (std::size_t place = 0; place < candidates_.size(); ++place) {
        best = std::max(best, fitness_of(place));
    }
    return best;
}

/// The one that worked last, then the others in the order given, then the one whose rest is over first.
template <class Admitted>
const backend_cluster::candidate* backend_cluster::pick(fitness wanted, Admitted admitted) const {
    const auto now = env_.now();
    const candidate* chosen = nullptr;
    for (std::size_t i = 0; i <= candidates_.size(); ++i) {
        const std::size_t place = i == 0 ? present_ : order_[i - 1];
        const candidate& one = candidates_[place];
        if (fitness_of(place) != wanted || !admitted(place)) continue;
        if (one.rests_until <= now) return &one;
        if (chosen == nullptr || one.rests_until < chosen->rests_until) chosen = &one;
    }
    return chosen;
}

pool::endpoint_choice backend_cluster::choose(bool patient) {
    breakers_.settle();
    const fitness best = best_fitness();
    if (best == fitness::unfit) return {};
    const auto admitted = [this](std::size_t place) { return breakers_.admits(place); };
    const candidate* chosen = pick(best, admitted);
    // A breaker turns to who would do less well, where that is wished for at all.
    if (chosen == nullptr && best == fitness::fit && wanted_ == session_attributes::prefer_standby) {
        chosen = pick(fitness::perhaps, admitted);
    }
    // There is nobody else: one at a time, however often it failed.
    if (chosen == nullptr) {
        chosen = pick(best, [&](std::size_t place) { return !patient || breakers_.admits_if_alone(place); });
    }
    pool::endpoint_choice choice;
    choice.busy = chosen == nullptr;
    if (chosen == nullptr) return choice;
    choice.where = chosen->where;
    choice.ticket = breakers_.begin(place_of(chosen->where));
    return choice;
}

bool backend_cluster::accepts(const pool::endpoint&, const pool::server_connection& server) {
    const auto is_on = [&server](std::string_view name) {
        const std::string* value = server.reported->find(name);
        return value != nullptr && *value == "on";
    };
    const bool standby = is_on("in_hot_standby");
    const bool read_only = standby || is_on("default_transaction_read_only");
    switch (wanted_) {
        case session_attributes::any:
            return !standby || !roles_matter();
        case session_attributes::read_write:
            return !read_only;
        case session_attributes::read_only:
            return read_only;
        case session_attributes::primary:
            return !standby;
        case session_attributes::standby:
            return standby;
        case session_attributes::prefer_standby:
            return standby || standby_preference_given_up_;
    }
    return true;
}

config::duration backend_cluster::report(
    const pool::endpoint_choice& choice, const pool::login_outcome& outcome
) {
    const pool::endpoint& where = *choice.where;
    const std::size_t place = place_of(where);
    if (place == candidates_.size()) return {};
    const auto now = env_.now();
    config::time_point again{};
    if (admitted(choice, outcome, again)) {
        if (place != present_) log::info("server_chosen", {{"server", where.to_string()}});
        present_ = place;
        return {};
    }
    switch (outcome.result) {
        case connect_result::wrong_role:
            tell(where, health::traffic_evidence::read_only);
            break;
        case connect_result::timeout:
            tell(where, health::traffic_evidence::timed_out);
            break;
        default:
            tell(where, health::traffic_evidence::refused);
            break;
    }
    auto soonest = config::time_point::max();
    bool any_left = false;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
        if (fitness_of(i) == fitness::unfit) continue;
        any_left = any_left || candidates_[i].rests_until <= now;
        soonest = std::min(soonest, candidates_[i].rests_until);
    }
    if (any_left) return {};
    // Nobody is a standby: prefer-standby takes what there is.
    standby_preference_given_up_ = true;
    return soonest == config::time_point::max() ? again - now : soonest - now;
}

pool::endpoint_choice backend_cluster::admit(std::size_t place) {
    breakers_.settle();
    if (candidates_[place].rests_until > env_.now() || !breakers_.admits(place)) return {};
    pool::endpoint_choice choice;
    choice.where = candidates_[place].where;
    choice.ticket = breakers_.begin(place);
    return choice;
}

bool backend_cluster::admitted(
    const pool::endpoint_choice& choice, const pool::login_outcome& outcome, config::time_point& again
) {
    const std::size_t place = place_of(*choice.where);
    if (place == candidates_.size()) return true;
    candidate& reported = candidates_[place];
    breakers_.over(choice.ticket, outcome);
    // What is about the client and not about the server says nothing about the server.
    const bool server_is_fine = !outcome.worth_retrying() && outcome.result != connect_result::tls_failed;
    if (server_is_fine) {
        reported.pause.reset();
        reported.rests_until = {};
        return true;
    }
    std::chrono::milliseconds pause = reported.pause.next(env_.random());
    if (outcome.sqlstate == protocol::sqlstate::too_many_connections)
        pause = std::min(pause, pause_when_full_);
    again = reported.rests_until = env_.now() + pause;
    return false;
}

bool backend_cluster::is_fit_standby(std::size_t place) const noexcept {
    const candidate& one = candidates_[place];
    if (!picture_ || is_alone() || one.banned || !one.listed || one.behind) return false;
    if (place >= picture_->nodes.size()) return false;
    const health::node_view& view = picture_->nodes[place];
    return view.role == node_role::standby && view.condition == node_condition::up &&
           view.timeline == picture_->memory.timeline;
}

std::atomic<config::time_point::rep>* backend_cluster::life_sign(const pool::endpoint& where) noexcept {
    const std::size_t place = place_of(where);
    return life_ && place < life_->size() ? &(*life_)[place] : nullptr;
}

bool backend_cluster::may_serve(const pool::endpoint& where) const noexcept {
    const std::size_t place = place_of(where);
    if (place == candidates_.size()) return !changing_;
    if (candidates_[place].banned) return false;
    if (!picture_) return true;
    // Nothing is sent into a server that is known to be down: it waits for one that answers.
    return fitness_of(place) != fitness::unfit && picture_->nodes[place].condition != node_condition::down;
}

bool backend_cluster::any_serves() const noexcept {
    return std::any_of(candidates_.begin(), candidates_.end(), [this](const candidate& one) {
        return may_serve(one.where);
    });
}

bool backend_cluster::must_leave(const pool::endpoint& where) const noexcept {
    if (is_alone()) return false;
    const health::node_view* view = view_of(where);
    if (view == nullptr) return false;
    if (view->role == node_role::fenced || view->role == node_role::foreign) return true;
    // A mere freeze is waited out: it is left only when there is somewhere else to go.
    return view->condition == node_condition::down && view->role != node_role::standby &&
           picture_->memory.primary.has_value();
}

bool backend_cluster::is_silent(const pool::endpoint& where) const noexcept {
    if (is_alone()) return false;
    const health::node_view* view = view_of(where);
    return view != nullptr && view->condition == node_condition::down;
}

std::string backend_cluster::absence() const {
    if (candidates_.empty()) return "no list has named a server yet";
    std::string text;
    for (std::size_t place = 0; place < candidates_.size(); ++place) {
        const candidate& one = candidates_[place];
        const bool gone = picture_ && picture_->servers && place < picture_->servers->size() &&
                          (*picture_->servers)[place].here == health::presence::gone;
        if (gone) continue;
        if (!text.empty()) text += ", ";
        text += one.where.to_string();
        if (one.banned) text += " is banned";
        if (!picture_ || one.banned) continue;
        const health::node_view& view = picture_->nodes[place];
        text += " is ";
        text += label_word(view.condition);
        if (view.role == node_role::standby) text += ", a standby";
        if (view.role == node_role::fenced) text += ", a primary of an older timeline";
        if (view.role == node_role::foreign) text += ", of another cluster";
    }
    return text;
}

void backend_cluster::tell(const pool::endpoint& where, health::traffic_evidence what) {
    const std::size_t place = place_of(where);
    if (evidence_ && place < candidates_.size()) evidence_(place, what);
}

std::uint64_t* backend_cluster::served(const pool::endpoint& where) noexcept {
    const std::size_t place = place_of(where);
    return place < candidates_.size() ? breakers_.served(place) : nullptr;
}

std::optional<std::size_t> backend_cluster::spare_connections() const noexcept {
    const std::uint32_t told =
        spare_ && present_ < spare_->size() ? (*spare_)[present_].load(std::memory_order_relaxed) : 0;
    return told == 0 ? std::nullopt : std::optional<std::size_t>{told - 1};
}

void backend_cluster::broke(const pool::server_connection& server) {
    tell(server.where, health::traffic_evidence::reset);
    const std::size_t place = place_of(server.where);
    if (place < candidates_.size()) breakers_.reset(place, server.opened_at);
}

void backend_cluster::in_trouble(const pool::endpoint& where, std::string_view sqlstate) {
    const std::size_t place = place_of(where);
    if (place < candidates_.size()) breakers_.told_error(place, sqlstate);
}

void backend_cluster::holding(const pool::hold_news& news) {
    if (ledger_ == nullptr) return;
    using stage = pool::hold_news::stage;
    healing_event act;
    act.at = env_.now();
    act.kind = healing_kind::hold;
    act.outcome = news.what == stage::begun ? "begun" : news.what == stage::ended ? "ended" : "released";
    act.user = news.login.user;
    act.database = news.login.database;
    act.count = news.count;
    act.took = std::chrono::duration_cast<std::chrono::milliseconds>(news.lasted);
    if (news.what == stage::begun) {
        act.cause = news.cause.empty() ? absence() : std::string(news.cause);
    } else if (news.given_up != 0) {
        act.cause = std::to_string(news.given_up) + " gave up";
    } else if (news.what == stage::ended) {
        const auto primary = picture_ ? picture_->memory.primary : std::nullopt;
        if (primary && *primary < candidates_.size())
            act.cause = candidates_[*primary].where.to_string() + " is the primary";
    }
    ledger_->add(std::move(act));
}

}  // namespace pgmend::proxy
