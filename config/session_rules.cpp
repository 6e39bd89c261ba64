#include "config/session_rules.hpp"

#include <algorithm>

namespace pgmend::config {

namespace {

constexpr std::size_t most_rules = 10'000;
constexpr auto states = words(session_policy{});
constexpr auto replays = words(replay_mode{});
constexpr std::string_view form = "{database, user, session_state, replay}";

bool complain(position at, std::string key, std::string_view text, problems& found) {
    found.push_back({at, std::move(key), std::string(text)});
    return false;
}

template <class E, std::size_t N>
bool read_word(const std::array<word<E>, N>& known, const std::string& text, std::optional<E>& into) {
    const auto* found =
        std::find_if(known.begin(), known.end(), [&](const auto& each) { return each.text == text; });
    if (found == known.end()) return false;
    into = found->value;
    return true;
}

template <class E, std::size_t N>
std::string_view text_of(const std::array<word<E>, N>& known, E value) {
    return std::find_if(
               known.begin(), known.end(), [&](const auto& each) { return each.value == value; }
    )->text;
}

bool fits(const std::string& wanted, std::string_view name) { return wanted.empty() || wanted == name; }

bool fits(const session_rule& rule, std::string_view database, std::string_view user) {
    return fits(rule.database, database) && fits(rule.user, user);
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
        if (!read_word(states, text, rule.state))
            return complain(member.value.at, key, "must be one of virtual, pin, off", found);
    } else if (member.key == "replay") {
        if (!read_word(replays, text, rule.replay))
            return complain(member.value.at, key, "must be one of off, on", found);
    } else {
        return complain(member.at, key, "unknown; known are database, user, session_state, replay", found);
    }
    return true;
}

bool read_rule(const document_node& node, const std::string& key, session_rule& rule, problems& found) {
    if (node.kind != node_kind::mapping)
        return complain(node.at, key, "must be a mapping " + std::string(form), found);
    bool good = true;
    for (const document_member& member : node.members) {
        good = read_member(member, key + "." + member.key, rule, found) && good;
    }
    if (good && !rule.state && !rule.replay)
        return complain(node.at, key, "must say session_state, replay, or both", found);
    return good;
}

}  // namespace

bool read_session_rules(
    const document_node& node, std::string_view key, session_rule_list& into, problems& found
) {
    const std::string name(key);
    if (node.kind != node_kind::sequence)
        return complain(node.at, name, "must be a list of " + std::string(form), found);
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
        list.append(list.empty() ? "" : ", ").append(name(rule.user)).append("@").append(name(rule.database));
        if (rule.state) list.append(": ").append(text_of(states, *rule.state));
        if (rule.replay)
            list.append(rule.state ? ", replay " : ": replay ").append(text_of(replays, *rule.replay));
    }
    return list;
}

std::optional<session_policy> session_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
) {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const session_rule& each) {
        return each.state && fits(each, database, user);
    });
    return rule == rules.end() ? std::nullopt : rule->state;
}

std::optional<replay_mode> replay_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
) {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const session_rule& each) {
        return each.replay && fits(each, database, user);
    });
    return rule == rules.end() ? std::nullopt : rule->replay;
}

}  // namespace pgmend::config
