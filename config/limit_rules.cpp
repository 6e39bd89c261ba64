#include "config/limit_rules.hpp"

#include <algorithm>
#include <array>

#include "config/hba_rules.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t most_rules = 10'000;
constexpr std::uint32_t most_requests = 1'000'000;
constexpr std::uint32_t most_clients = 1'000'000;
constexpr std::string_view behind_rate = " burst ";
constexpr auto scopes = words(limit_scope{});
constexpr std::string_view members =
    "user, database, address, application_name, per, clients, requests, waiting, query_timeout, "
    "idle_transaction_timeout, transaction_timeout, result_size";
constexpr milliseconds longest_time = std::chrono::hours{24};
constexpr byte_size largest_result = gib(1024);

struct preset {
    std::string_view name;
    request_rate rate;
};
constexpr std::array presets{
    preset{"strict", {10, std::chrono::minutes{1}, 10}},
    preset{"normal", {100, std::chrono::minutes{1}, 100}},
    preset{"loose", {1000, std::chrono::minutes{1}, 1000}},
    preset{"hourly", {1000, std::chrono::hours{1}, 1000}}};

struct rate_unit {
    std::string_view name;
    milliseconds period;
};
constexpr std::array units{
    rate_unit{"s", std::chrono::seconds{1}}, rate_unit{"min", std::chrono::minutes{1}},
    rate_unit{"h", std::chrono::hours{1}}};

/// A count from 1 on that is not beyond reason.
std::optional<std::uint32_t> parse_requests(std::string_view text) {
    const auto count = parse_count(text);
    if (!count.value || *count.value == 0 || *count.value > most_requests) return std::nullopt;
    return static_cast<std::uint32_t>(*count.value);
}

bool complain(position at, std::string key, std::string text, problems& found) {
    found.push_back({at, std::move(key), std::move(text)});
    return false;
}

bool read_count(
    const document_member& member, const std::string& key, std::optional<std::uint32_t>& into, problems& found
) {
    const auto count = parse_count(member.value.text);
    if (!count.value || *count.value > most_clients)
        return complain(member.value.at, key, "must be a whole number up to 1000000", found);
    into = static_cast<std::uint32_t>(*count.value);
    return true;
}

bool read_time(
    const document_member& member, const std::string& key, std::optional<milliseconds>& into, problems& found
) {
    const auto time = parse_duration(member.value.text);
    if (!time.value || *time.value > longest_time)
        return complain(member.value.at, key, "must be a duration such as 500ms or 30s, up to 24h", found);
    into = *time.value;
    return true;
}

bool read_size(
    const document_member& member, const std::string& key, std::optional<byte_size>& into, problems& found
) {
    const auto size = parse_size(member.value.text);
    if (!size.value || *size.value > largest_result)
        return complain(member.value.at, key, "must be a size such as 64MiB, up to 1024GiB", found);
    into = *size.value;
    return true;
}

bool read_member(
    const document_member& member, const std::string& key, limit_rule& rule, bool& says_per, problems& found
) {
    if (member.value.kind != node_kind::scalar)
        return complain(member.value.at, key, "must be a single value, not a list or a mapping", found);
    const std::string& text = member.value.text;
    if (member.key == "user") {
        rule.user = text;
    } else if (member.key == "database") {
        rule.database = text;
    } else if (member.key == "application_name") {
        rule.application_name = text;
    } else if (member.key == "address") {
        if (text != "local" && !parse_address_range(text))
            return complain(member.value.at, key, "must be an address, a network or local", found);
        rule.address = text;
    } else if (member.key == "per") {
        const auto* scope =
            std::find_if(scopes.begin(), scopes.end(), [&](const auto& each) { return each.text == text; });
        if (scope == scopes.end())
            return complain(
                member.value.at, key, "must be one of user, database, address, application_name, together",
                found
            );
        rule.per = scope->value;
        says_per = true;
    } else if (member.key == "requests") {
        auto rate = parse_request_rate(text);
        if (!rate.value) return complain(member.value.at, key, rate.problem, found);
        rule.requests = *rate.value;
    } else if (member.key == "clients") {
        return read_count(member, key, rule.clients, found);
    } else if (member.key == "waiting") {
        return read_count(member, key, rule.waiting, found);
    } else if (member.key == "query_timeout") {
        return read_time(member, key, rule.query_timeout, found);
    } else if (member.key == "idle_transaction_timeout") {
        return read_time(member, key, rule.idle_transaction_timeout, found);
    } else if (member.key == "transaction_timeout") {
        return read_time(member, key, rule.transaction_timeout, found);
    } else if (member.key == "result_size") {
        return read_size(member, key, rule.result_size, found);
    } else {
        return complain(member.at, key, "unknown; known are " + std::string(members), found);
    }
    return true;
}

/// The one name that the rule gives says what it counts.
bool find_scope(limit_rule& rule) {
    int names = 0;
    const auto consider = [&](const std::string& name, limit_scope scope) {
        if (name.empty()) return;
        ++names;
        rule.per = scope;
    };
    consider(rule.user, limit_scope::user);
    consider(rule.database, limit_scope::database);
    consider(rule.address, limit_scope::address);
    consider(rule.application_name, limit_scope::application_name);
    return names == 1;
}

bool read_rule(const document_node& node, const std::string& key, limit_rule& rule, problems& found) {
    if (node.kind != node_kind::mapping)
        return complain(node.at, key, "must be a mapping of " + std::string(members), found);
    bool good = true;
    bool says_per = false;
    for (const document_member& member : node.members) {
        good = read_member(member, key + "." + member.key, rule, says_per, found) && good;
    }
    if (!good) return false;
    if (!rule.clients && !rule.requests && !rule.waiting && !rule.bounds_requests())
        return complain(
            node.at, key, "limits nothing: give clients, requests, waiting, a timeout or result_size", found
        );
    if (rule.waiting && !(rule.address.empty() && rule.application_name.empty()))
        return complain(node.at, key + ".waiting", "is of a pool, which is a user's and a database's", found);
    if ((rule.clients || rule.requests) && !says_per && !find_scope(rule))
        return complain(node.at, key + ".per", "is missing: the rule does not give one name alone", found);
    return true;
}

}  // namespace

parsed<request_rate> parse_request_rate(std::string_view text) {
    using result = parsed<request_rate>;
    if (text == "none") return result::of({});
    request_rate rate;
    const std::size_t behind = text.find(behind_rate);
    const std::string_view first = text.substr(0, behind);
    const auto* known = std::ranges::find(presets, first, &preset::name);
    if (known != presets.end()) {
        rate = known->rate;
    } else {
        const std::size_t slash = first.find('/');
        const auto count = parse_requests(first.substr(0, slash));
        const auto* unit = units.end();
        if (slash != first.npos) unit = std::ranges::find(units, first.substr(slash + 1), &rate_unit::name);
        if (!count || unit == units.end())
            return result::failure("is no rate such as strict, 50/s, 600/min or 5000/h, up to 1000000");
        rate = {*count, unit->period, *count};
    }
    if (behind == text.npos) return result::of(rate);
    const auto burst = parse_requests(text.substr(behind + behind_rate.size()));
    if (!burst) return result::failure("has a burst that is not a whole number 1..1000000");
    rate.burst = *burst;
    return result::of(rate);
}

std::string print_request_rate(const request_rate& rate) {
    if (!rate.limited()) return "none";
    const auto* known = std::ranges::find(presets, rate, &preset::rate);
    if (known != presets.end()) return std::string(known->name);
    const auto* unit = std::ranges::find(units, rate.period, &rate_unit::period);
    std::string text = std::to_string(rate.count) + "/" + std::string(unit->name);
    if (rate.burst != rate.count) text.append(behind_rate).append(std::to_string(rate.burst));
    return text;
}

std::optional<std::uint64_t> limit_rule::bound(request_limit which) const noexcept {
    const auto of_time = [](const std::optional<milliseconds>& time) -> std::optional<std::uint64_t> {
        if (!time) return std::nullopt;
        return static_cast<std::uint64_t>(time->count());
    };
    switch (which) {
        case request_limit::query_timeout:
            return of_time(query_timeout);
        case request_limit::idle_transaction_timeout:
            return of_time(idle_transaction_timeout);
        case request_limit::transaction_timeout:
            return of_time(transaction_timeout);
        case request_limit::result_size:
            break;
    }
    if (!result_size) return std::nullopt;
    return result_size->bytes;
}

bool read_limit_rules(
    const document_node& node, std::string_view key, limit_rule_list& into, problems& found
) {
    const std::string name(key);
    if (node.kind != node_kind::sequence) return complain(node.at, name, "must be a list of rules", found);
    if (node.items.size() > most_rules)
        return complain(node.at, name, "has more than " + std::to_string(most_rules) + " rules", found);
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        limit_rule rule;
        good = read_rule(node.items[i], name + "[" + std::to_string(i) + "]", rule, found) && good;
        into.push_back(std::move(rule));
    }
    return good;
}

std::string print_limit_rules(const limit_rule_list& rules) {
    std::string list;
    for (const limit_rule& rule : rules) {
        std::string one;
        const auto add = [&one](std::string_view name, const std::string& value) {
            if (!value.empty()) one.append(one.empty() ? "" : " ").append(name).append("=").append(value);
        };
        add("user", rule.user);
        add("database", rule.database);
        add("address", rule.address);
        add("application_name", rule.application_name);
        if (rule.clients || rule.requests)
            add("per", std::string(label_words(rule.per)[static_cast<std::size_t>(rule.per)]));
        if (rule.clients) add("clients", std::to_string(*rule.clients));
        if (rule.requests) add("requests", print_request_rate(*rule.requests));
        if (rule.waiting) add("waiting", std::to_string(*rule.waiting));
        if (rule.query_timeout) add("query_timeout", print_duration(*rule.query_timeout));
        if (rule.idle_transaction_timeout)
            add("idle_transaction_timeout", print_duration(*rule.idle_transaction_timeout));
        if (rule.transaction_timeout) add("transaction_timeout", print_duration(*rule.transaction_timeout));
        if (rule.result_size) add("result_size", print_size(*rule.result_size));
        list.append(list.empty() ? "" : ", ").append(one);
    }
    return list;
}

std::optional<std::uint32_t> waiting_limit_for(
    const limit_rule_list& rules, std::string_view database, std::string_view user
) {
    const auto fits = [](const std::string& wanted, std::string_view name) {
        return wanted.empty() || wanted == name;
    };
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const limit_rule& each) {
        return each.waiting && fits(each.database, database) && fits(each.user, user);
    });
    return rule == rules.end() ? std::nullopt : rule->waiting;
}

std::uint32_t client_limit_for(
    const limit_rule_list& rules, limit_scope per, std::string_view name, std::uint32_t otherwise
) {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const limit_rule& each) {
        if (!each.clients || each.per != per || !each.address.empty() || !each.application_name.empty())
            return false;
        const std::string& wanted = per == limit_scope::user ? each.user : each.database;
        const std::string& other = per == limit_scope::user ? each.database : each.user;
        return other.empty() && (wanted.empty() || wanted == name);
    });
    return rule == rules.end() ? otherwise : *rule->clients;
}

}  // namespace pgmend::config
