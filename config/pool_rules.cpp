#include "config/pool_rules.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgmend::config {

namespace {

constexpr std::size_t most_rules = 10'000;
constexpr std::uint64_t most_connections = 100'000;  // as of pool.size
constexpr std::string_view form =
    "{database, user, mode, size, min_size, reserve_size, reserve_timeout, wait_timeout, idle_timeout, "
    "lifetime, session_state, replay}";

/// A time that may be said, within the bounds of the setting of the same name.
struct timed_member {
    std::string_view name;
    std::optional<milliseconds> pool_rule::*into;
    milliseconds least;
    milliseconds most;
};
constexpr std::array timed_members{
    timed_member{"reserve_timeout", &pool_rule::reserve_timeout, milliseconds{0}, std::chrono::hours{1}},
    timed_member{"wait_timeout", &pool_rule::wait_timeout, milliseconds{1}, std::chrono::hours{24}},
    timed_member{"idle_timeout", &pool_rule::idle_timeout, milliseconds{0}, std::chrono::hours{720}},
    timed_member{"lifetime", &pool_rule::lifetime, milliseconds{0}, std::chrono::hours{720}}};

bool complain(position at, std::string key, std::string_view text, problems& found) {
    found.push_back({at, std::move(key), std::string(text)});
    return false;
}

/// Empty when the text is one of the words; else what is allowed.
template <class E>
std::string read_word(const std::string& text, std::optional<E>& into) {
    constexpr auto known = words(E{});
    std::string allowed;
    for (const auto& each : known) {
        allowed += (allowed.empty() ? "" : ", ") + std::string(each.text);
        if (each.text == text) into = each.value;
    }
    return into ? "" : "must be one of " + allowed;
}

std::string read_number(const std::string& text, std::uint64_t lowest, std::optional<std::uint32_t>& into) {
    const auto number = parse_count(text);
    if (!number.value || *number.value < lowest || *number.value > most_connections) {
        return "must be a whole number " + std::to_string(lowest) + ".." + std::to_string(most_connections);
    }
    into = static_cast<std::uint32_t>(*number.value);
    return {};
}

std::string read_time(const std::string& text, const timed_member& member, pool_rule& rule) {
    const auto time = parse_duration(text);
    if (!time.value || *time.value < member.least || *time.value > member.most) {
        return "must be a duration " + print_duration(member.least) + ".." + print_duration(member.most);
    }
    rule.*member.into = *time.value;
    return {};
}

template <class E>
std::string_view text_of(E value) {
    constexpr auto known = words(E{});
    return std::find_if(
               known.begin(), known.end(), [&](const auto& each) { return each.value == value; }
    )->text;
}

bool read_member(const document_member& member, const std::string& key, pool_rule& rule, problems& found) {
    if (member.value.kind != node_kind::scalar)
        return complain(member.value.at, key, "must be a single value, not a list or a mapping", found);
    const std::string& text = member.value.text;
    std::string problem;
    if (member.key == "database") {
        rule.database = text;
    } else if (member.key == "user") {
        rule.user = text;
    } else if (member.key == "mode") {
        problem = read_word(text, rule.mode);
    } else if (member.key == "size") {
        problem = read_number(text, 1, rule.size);
    } else if (member.key == "min_size") {
        problem = read_number(text, 0, rule.min_size);
    } else if (member.key == "reserve_size") {
        problem = read_number(text, 0, rule.reserve_size);
    } else if (const auto* timed = std::ranges::find(timed_members, member.key, &timed_member::name);
               timed != timed_members.end()) {
        problem = read_time(text, *timed, rule);
    } else if (member.key == "session_state") {
        problem = read_word(text, rule.state);
    } else if (member.key == "replay") {
        problem = read_word(text, rule.replay);
    } else {
        const std::string known(form.substr(1, form.size() - 2));
        return complain(member.at, key, "unknown; known are " + known, found);
    }
    return problem.empty() || complain(member.value.at, key, problem, found);
}

bool read_rule(const document_node& node, const std::string& key, pool_rule& rule, problems& found) {
    if (node.kind != node_kind::mapping)
        return complain(node.at, key, "must be a mapping " + std::string(form), found);
    bool good = true;
    for (const document_member& member : node.members) {
        good = read_member(member, key + "." + member.key, rule, found) && good;
    }
    const bool says = rule.mode || rule.size || rule.min_size || rule.reserve_size || rule.state ||
                      rule.replay || std::ranges::any_of(timed_members, [&rule](const auto& each) {
                          return (rule.*each.into).has_value();
                      });
    if (good && !says) return complain(node.at, key, "must say something beside database and user", found);
    return good;
}

}  // namespace

bool read_pool_rules(const document_node& node, std::string_view key, pool_rule_list& into, problems& found) {
    const std::string name(key);
    if (node.kind != node_kind::sequence)
        return complain(node.at, name, "must be a list of " + std::string(form), found);
    if (node.items.size() > most_rules)
        return complain(node.at, name, "has more than " + std::to_string(most_rules) + " rules", found);
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        pool_rule rule;
        good = read_rule(node.items[i], name + "[" + std::to_string(i) + "]", rule, found) && good;
        into.push_back(std::move(rule));
    }
    return good;
}

std::string print_pool_rules(const pool_rule_list& rules) {
    std::string list;
    const auto name = [](const std::string& text) { return text.empty() ? std::string("*") : text; };
    for (const pool_rule& rule : rules) {
        list.append(list.empty() ? "" : ", ").append(name(rule.user)).append("@").append(name(rule.database));
        std::string_view mark = ": ";
        const auto says = [&](std::string_view what, std::string_view value) {
            list.append(std::exchange(mark, " ")).append(what).append(value);
        };
        if (rule.mode) says("mode=", text_of(*rule.mode));
        if (rule.size) says("size=", std::to_string(*rule.size));
        if (rule.min_size) says("min_size=", std::to_string(*rule.min_size));
        if (rule.reserve_size) says("reserve_size=", std::to_string(*rule.reserve_size));
        for (const timed_member& each : timed_members)
            if (rule.*each.into) says(std::string(each.name) + "=", print_duration(*(rule.*each.into)));
        if (rule.state) says("session_state=", text_of(*rule.state));
        if (rule.replay) says("replay=", text_of(*rule.replay));
    }
    return list;
}

}  // namespace pgmend::config
