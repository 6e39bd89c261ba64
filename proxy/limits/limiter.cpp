#include "proxy/limits/limiter.hpp"

#include <algorithm>

namespace pgmend::proxy {

namespace {

constexpr config::duration between_sweeps = std::chrono::seconds{1};
/// No client's name has a zero byte in it.
constexpr std::string_view shared_key{"\0", 1};

std::string_view key_of(const client_identity& who, limit_scope scope) {
    switch (scope) {
        case limit_scope::user:
            return who.user;
        case limit_scope::database:
            return who.database;
        case limit_scope::address:
            return who.address;
        case limit_scope::application_name:
            return who.application_name;
        case limit_scope::together:
            break;
    }
    return {};
}

bool fits(const limit_terms& terms, const client_identity& who) {
    const auto name_fits = [](const std::string& wanted, std::string_view name) {
        return wanted.empty() || wanted == name;
    };
    const config::limit_rule& rule = terms.rule;
    if (!name_fits(rule.user, who.user) || !name_fits(rule.database, who.database) ||
        !name_fits(rule.application_name, who.application_name))
        return false;
    if (rule.address.empty() || rule.address == who.address) return true;
    const auto address = config::parse_address(who.address);
    return terms.range && address && terms.range->contains(*address);
}

/// The rules of the policy, then its defaults as the last of them.
std::vector<limit_terms> rules_of(const config::settings& settings) {
    std::vector<limit_terms> all;
    const auto& limits = settings.limits;
    for (std::size_t i = 0; i < limits.rules().size(); ++i) {
        limit_terms& terms = all.emplace_back();
        terms.rule = limits.rules()[i];
        terms.name = "limits.rules[" + std::to_string(i) + "]";
        if (!terms.rule.address.empty()) terms.range = config::parse_address_range(terms.rule.address);
    }
    const auto add = [&all](limit_scope per, const config::setting_base& setting, auto take) {
        limit_terms& terms = all.emplace_back();
        terms.rule.per = per;
        terms.name = setting.key();
        take(terms.rule);
    };
    const auto clients = [&](limit_scope per, const config::setting<std::uint32_t>& setting) {
        if (setting() != 0) add(per, setting, [&](config::limit_rule& rule) { rule.clients = setting(); });
    };
    const auto requests = [&](limit_scope per, const config::setting<config::request_rate>& setting) {
        if (setting().limited())
            add(per, setting, [&](config::limit_rule& rule) { rule.requests = setting(); });
    };
    const auto bound = [&](const auto& setting, auto config::limit_rule::*member) {
        if (setting() != decltype(setting()){})
            add(limit_scope::together, setting, [&](config::limit_rule& rule) { rule.*member = setting(); });
    };
    clients(limit_scope::user, limits.user_clients);
    clients(limit_scope::database, limits.database_clients);
    clients(limit_scope::address, limits.address_clients);
    clients(limit_scope::application_name, limits.application_clients);
    requests(limit_scope::user, limits.user_requests);
    requests(limit_scope::database, limits.database_requests);
    requests(limit_scope::address, limits.address_requests);
    requests(limit_scope::application_name, limits.application_requests);
    using config::limit_rule;
    bound(limits.query_timeout, &limit_rule::query_timeout);
    bound(limits.idle_transaction_timeout, &limit_rule::idle_transaction_timeout);
    bound(limits.transaction_timeout, &limit_rule::transaction_timeout);
    bound(limits.result_size, &limit_rule::result_size);
    return all;
}

std::string number(std::uint64_t value) { return std::to_string(value); }

/// `role "app"`, as in PostgreSQL's own words where it has some.
std::string subject_of(const limit_account& account) {
    if (account.terms->rule.per == limit_scope::together) return account.terms->name;
    struct words {
        std::string_view one;
        std::string_view several;
    };
    static constexpr std::array names{
        words{"role", "roles"}, words{"database", "databases"}, words{"address", "addresses"},
        words{"application", "applications"}};
    const words& name = names[static_cast<std::size_t>(account.terms->rule.per)];
    if (account.shared) return "several " + std::string(name.several) + " that count as one";
    return std::string(name.one) + " \"" + account.key + '"';
}

std::string in_words(const config::request_rate& rate) {
    std::string_view unit = "second";
    if (rate.period == std::chrono::minutes{1}) unit = "minute";
    if (rate.period == std::chrono::hours{1}) unit = "hour";
    return number(rate.count) + " requests per " + std::string(unit) + ", " + number(rate.burst) + " at once";
}

/// As it is written in a policy.
std::string in_words(request_limit which, std::uint64_t value) {
    if (which == request_limit::result_size) return config::print_size({value});
    return config::print_duration(std::chrono::milliseconds{value});
}

/// Names of SHOW LIMITS.
constexpr std::array<std::string_view, request_limits> bound_names{
    "query_timeout_ms", "idle_transaction_timeout_ms", "transaction_timeout_ms", "result_size_bytes"};

constexpr std::size_t place(request_limit which) noexcept { return static_cast<std::size_t>(which); }

}  // namespace

client_limits::overdrawn client_limits::admit(config::time_point now) noexcept {
    for (std::size_t i = 0; i < rated.size(); ++i) {
        if (rated[i] == nullptr) continue;
        const auto verdict = rated[i]->bucket.take(rated[i]->rate, now);
        if (verdict.admitted) continue;
        for (std::size_t taken = 0; taken < i; ++taken) {
            if (rated[taken] != nullptr) rated[taken]->bucket.give_back(rated[taken]->rate);
        }
        return {rated[i], verdict.retry_after};
    }
    return {};
}

void limiter::adopt(const config::settings& settings) {
    table_size_ = settings.limits.table_size();
    const std::vector<terms> before = std::exchange(rules_, {});
    for (limit_terms& now : rules_of(settings)) {
        // Equal rules are told apart by their order.
        const auto same = std::find_if(before.begin(), before.end(), [&](const terms& each) {
            return each->rule == now.rule && std::find(rules_.begin(), rules_.end(), each) == rules_.end();
        });
        if (same != before.end()) {
            (*same)->name = now.name;
            rules_.push_back(*same);
            continue;
        }
        now.id = ++last_id_;
        rules_.push_back(std::make_shared<limit_terms>(std::move(now)));
    }
    for (const terms& each : before) {
        each->retired = std::find(rules_.begin(), rules_.end(), each) == rules_.end();
    }
    for (auto it = accounts_.begin(); it != accounts_.end();) {
        auto following = std::next(it);
        release(it->second);
        it = following;
    }
}

std::optional<limit_refusal> limiter::enter(
    const client_identity& who, client_limits& into, config::time_point now
) {
    assign(who, into, now);
    for (limit_account* account : into.counted) {
        if (account == nullptr || account->clients <= *account->terms->rule.clients) continue;
        ++account->refused_clients;
        const std::uint64_t limit = *account->terms->rule.clients;
        limit_refusal refusal;
        refusal.scope = account->terms->rule.per;
        const bool from = refusal.scope == limit_scope::address;
        refusal.message =
            (from ? "too many connections from " : "too many connections for ") + subject_of(*account);
        refusal.detail = "The limit is " + number(limit) + " (" + account->terms->name + "), " +
                         number(account->clients - 1) + " are connected, 0 remain.";
        refusal.hint = "Retry when one of them has left, or ask for a higher limit.";
        leave(into);
        return refusal;
    }
    return std::nullopt;
}

void limiter::resettle(const client_identity& who, client_limits& limits, config::time_point now) {
    client_limits old;
    old.counted = std::exchange(limits.counted, {});
    old.rated = std::exchange(limits.rated, {});
    old.bounding = std::exchange(limits.bounding, {});
    limits.bounds = {};
    assign(who, limits, now);
    if (!limits.bounds.any()) limits.clock.stop();
    leave(old);
}

/// For each kind of limit and each scope the first rule that fits and speaks of it; a limit of nothing is one
/// that does not stand in the way.
void limiter::assign(const client_identity& who, client_limits& into, config::time_point now) {
    std::array<bool, limit_scopes> clients_said{};
    std::array<bool, limit_scopes> requests_said{};
    std::array<bool, request_limits> bounds_said{};
    for (const terms& each : rules_) {
        const config::limit_rule& rule = each->rule;
        const auto scope = static_cast<std::size_t>(rule.per);
        const bool clients = rule.clients && !clients_said[scope];
        const bool requests = rule.requests && !requests_said[scope];
        if ((!clients && !requests && !rule.bounds_requests()) || !fits(*each, who)) continue;
        for (std::size_t i = 0; i < request_limits; ++i) {
            const auto which = static_cast<request_limit>(i);
            const auto value = rule.bound(which);
            if (!value || std::exchange(bounds_said[i], true) || *value == 0) continue;
            bind(into, which, account_for(each, key_of(who, rule.per), now));
        }
        if (clients) clients_said[scope] = true;
        if (requests) requests_said[scope] = true;
        const bool counts = clients && *rule.clients != 0;
        const bool rates = requests && rule.requests->limited();
        if (!counts && !rates) continue;
        limit_account& account = account_for(each, key_of(who, rule.per), now);
        if (counts) {
            into.counted[scope] = &account;
            ++account.clients;
            ++account.holders;
        }
        if (rates) {
            into.rated[scope] = &account;
            ++account.holders;
        }
    }
}

void limiter::bind(client_limits& into, request_limit which, limit_account& account) {
    into.bounding[place(which)] = &account;
    ++account.bound[place(which)];
    ++account.holders;
    const std::uint64_t value = *account.terms->rule.bound(which);
    const config::duration time = std::chrono::milliseconds{value};
    switch (which) {
        case request_limit::query_timeout:
            into.bounds.query = time;
            break;
        case request_limit::idle_transaction_timeout:
            into.bounds.idle_transaction = time;
            break;
        case request_limit::transaction_timeout:
            into.bounds.transaction = time;
            break;
        case request_limit::result_size:
            into.bounds.result_bytes = value;
            break;
    }
}

limit_account& limiter::account_for(const terms& rule, std::string_view key, config::time_point now) {
    account_key place{rule->id, key};
    const auto found = accounts_.find(place);
    if (found != accounts_.end()) return found->second;
    if (accounts_.size() - shared_accounts_ >= table_size_) sweep(now);
    const bool shared = accounts_.size() - shared_accounts_ >= table_size_;
    if (shared) place.second = shared_key;
    const auto [it, made] = accounts_.try_emplace(std::move(place));
    limit_account& account = it->second;
    if (!made) return account;
    if (shared) ++shared_accounts_;
    account.terms = rule;
    account.key = it->first.second;
    account.shared = shared;
    if (rule->rule.requests) account.rate = bucket_terms::of(*rule->rule.requests);
    return account;
}

/// Those that nobody holds and that would be as new are forgotten. Not at every client that comes: while
/// there are too many that cannot be forgotten, it would be in vain.
void limiter::sweep(config::time_point now) {
    if (now < next_sweep_) return;
    next_sweep_ = now + between_sweeps;
    std::erase_if(accounts_, [&](const auto& item) {
        const limit_account& account = item.second;
        if (account.holders != 0 || !account.bucket.full(now)) return false;
        if (account.shared) --shared_accounts_;
        return true;
    });
}

/// Nobody holds it any more: it goes, unless tokens have been taken from it that may still count.
void limiter::release(limit_account& account) {
    const bool may_count = account.terms->rule.requests && account.terms->rule.requests->limited();
    // One of all that a rule fits: what it has ended is shown as long as the rule holds.
    const bool has_ended =
        account.terms->rule.per == limit_scope::together && account.ended != decltype(account.ended){};
    if (account.holders != 0 || ((may_count || has_ended) && !account.terms->retired)) return;
    if (account.shared) --shared_accounts_;
    accounts_.erase({account.terms->id, account.key});
}

void limiter::leave(client_limits& limits) {
    std::vector<limit_account*> left;
    const auto let_go = [&left](limit_account* account) {
        --account->holders;
        if (std::find(left.begin(), left.end(), account) == left.end()) left.push_back(account);
    };
    for (limit_account* account : std::exchange(limits.counted, {})) {
        if (account == nullptr) continue;
        --account->clients;
        let_go(account);
    }
    for (limit_account* account : std::exchange(limits.rated, {})) {
        if (account != nullptr) let_go(account);
    }
    const auto bounding = std::exchange(limits.bounding, {});
    for (std::size_t i = 0; i < bounding.size(); ++i) {
        if (bounding[i] == nullptr) continue;
        --bounding[i]->bound[i];
        let_go(bounding[i]);
    }
    for (limit_account* account : left) {
        release(*account);
    }
}

std::optional<limit_refusal> limiter::ended(const client_limits& limits, request_limit which, bool late) {
    limit_account* account = limits.bounding[place(which)];
    if (account == nullptr) return std::nullopt;
    ++account->ended[place(which)];
    limit_refusal words;
    words.scope = account->terms->rule.per;
    words.detail = "The limit is " + in_words(which, *account->terms->rule.bound(which)) + " (" +
                   account->terms->name + ").";
    if (late) words.detail += " The statement before was over it; its cancel came when this one ran.";
    switch (which) {
        case request_limit::query_timeout:
            words.message = "canceling statement due to query timeout";
            words.hint = "Have it do less at a time, or ask for a higher limit.";
            break;
        case request_limit::idle_transaction_timeout:
            words.message = "terminating connection due to idle-in-transaction timeout";
            words.hint = "End transactions before waiting for anything else, or ask for a higher limit.";
            break;
        case request_limit::transaction_timeout:
            words.message = late ? "canceling statement due to transaction timeout"
                                 : "terminating connection due to transaction timeout";
            words.hint = "Do less in one transaction, or ask for a higher limit.";
            break;
        case request_limit::result_size:
            words.message = "canceling statement due to the size of its result";
            words.hint = "Ask for fewer rows at a time, with LIMIT or a cursor, or ask for a higher limit.";
            break;
    }
    return words;
}

limit_refusal limiter::request_refused(const client_limits::overdrawn& why) {
    const limit_account& account = *why.account;
    ++why.account->refused_requests;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(why.retry_after).count();
    limit_refusal refusal;
    refusal.scope = account.terms->rule.per;
    const bool from = refusal.scope == limit_scope::address;
    refusal.message = (from ? "too many requests from " : "too many requests of ") + subject_of(account);
    refusal.detail = "The limit is " + in_words(*account.terms->rule.requests) + " (" + account.terms->name +
                     "), 0 remain.";
    refusal.hint = "Retry after " + std::to_string(seconds) + " s.";
    return refusal;
}

std::vector<limit_facts> limiter::facts(config::time_point now, std::size_t most) const {
    std::vector<limit_facts> rows;
    for (const auto& [key, account] : accounts_) {
        const config::limit_rule& rule = account.terms->rule;
        if (rule.clients && *rule.clients != 0 && (account.clients != 0 || account.refused_clients != 0))
            rows.push_back(
                {"clients", subject_of(account), account.clients, *rule.clients, account.refused_clients,
                 account.terms->name}
            );
        if (rule.requests && rule.requests->limited() && (account.holders != 0 || !account.bucket.full(now)))
            rows.push_back(
                {"requests", subject_of(account),
                 account.rate.burst - account.bucket.remaining(account.rate, now), account.rate.burst,
                 account.refused_requests, account.terms->name}
            );
        for (std::size_t i = 0; i < request_limits; ++i) {
            const auto value = rule.bound(static_cast<request_limit>(i)).value_or(0);
            if (value == 0 || (account.bound[i] == 0 && account.ended[i] == 0)) continue;
            rows.push_back(
                {bound_names[i], subject_of(account), account.bound[i], value, account.ended[i],
                 account.terms->name}
            );
        }
    }
    std::stable_sort(rows.begin(), rows.end(), [](const limit_facts& a, const limit_facts& b) {
        return a.refused > b.refused;
    });
    if (rows.size() > most) rows.resize(most);
    return rows;
}

}  // namespace pgmend::proxy
