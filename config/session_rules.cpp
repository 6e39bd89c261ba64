#include "config/session_rules.hpp"

#include <algorithm>

namespace pgmend::config {

namespace {

constexpr std::size_t most_rules = 10'000;
constexpr auto states = words(session_policy{});

bool complain(position at, std::string key, std::string_view text, problems& found) {
    found.push_back({at, std::move(key), std::string(text)});
    return false;
}

bool read_member(const document_member& member, const std::string& key, session_rule& rule, problems& found) {
    if (member.value.kind != node_kind::scalar)
        return complain(member.value.at, key, "must be a single value, not a list or a mapping", found);
    const std::string& text = member.value.text;
    if (member.key == "database") {
        rule.database = text;
    } else if (member.key == "user") {
        rule.user = text;
    } else if (member.key == "session_state") {
        const auto* state =
            std::find_if(states.begin(), states.end(), [&](const auto& each) { return each.text == text; });
        if (state == states.end())
            return complain(member.value.at, key, "must be one of virtual, pin, off", found);
        rule.state = state->value;
    } else {
        return complain(member.at, key, "unknown; known are database, user, session_state", found);
    }
    return true;
}

bool read_rule(const document_node& node, const std::string& key, session_rule& rule, problems& found) {
    if (node.kind != node_kind::mapping)
        return complain(node.at, key, "must be a mapping {database, user, session_state}", found);
    bool good = true;
    bool says_state = false;
    for (const document_member& member : node.members) {
        good = read_member(member, key + "." + member.key, rule, found) && good;
        says_state = says_state || member.key == "session_state";
    }
    if (good && !says_state) return complain(node.at, key + ".session_state", "is missing", found);
    return good;
}

}  // namespace

bool read_session_rules(
    const document_node& node, std::string_view key, session_rule_list& into, problems& found
) {
    const std::string name(key);
    if (node.kind != node_kind::sequence)
        return complain(node.at, name, "must be a list of {database, user, session_state}", found);
    if (node.items.size() > most_rules)
        return complain(node.at, name, "has more than " + std::to_string(most_rules) + " rules", found);
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        session_rule rule;
        good = read_rule(node.items[i], name + "[" + std::to_string(i) + "]", rule, found) && good;
        into.push_back(std::move(rule));
    }
    return good;
}

std::string print_session_rules(const session_rule_list& rules) {
    std::string list;
    const auto name = [](const std::string& text) { return text.empty() ? std::string("*") : text; };
    for (const session_rule& rule : rules) {
        const auto* state = std::find_if(states.begin(), states.end(), [&](const auto& each) {
            return each.value == rule.state;
        });
        list.append(list.empty() ? "" : ", ")
            .append(name(rule.user))
            .append("@")
            .append(name(rule.database))
            .append(": ")
            .append(state->text);
    }
    return list;
}

std::optional<session_policy> session_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
) {
    const auto fits = [](const std::string& wanted, std::string_view name) {
        return wanted.empty() || wanted == name;
    };
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const session_rule& each) {
        return fits(each.database, database) && fits(each.user, user);
    });
    return rule == rules.end() ? std::nullopt : std::optional(rule->state);
}

}  // namespace pgmend::config
