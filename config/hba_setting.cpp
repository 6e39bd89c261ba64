// Rules in the configuration itself: `auth.hba` as lines, or as mappings that are turned into lines.

#include <array>

#include "config/hba_rules.hpp"

namespace pgmend::config {

namespace {

/// In the order in which they stand in a line; what is left out reads as `otherwise`.
struct column {
    std::string_view name;
    std::string_view otherwise;
};
constexpr std::array columns{column{"type", "host"},   column{"database", "all"}, column{"user", "all"},
                             column{"address", "all"}, column{"method", ""},      column{"map", ""},
                             column{"clientcert", ""}, column{"clientname", ""}};

std::string element(std::string_view key, std::size_t index) {
    return std::string(key) + "[" + std::to_string(index) + "]";
}

bool complain(position at, std::string key, std::string text, problems& found) {
    found.push_back({at, std::move(key), std::move(text)});
    return false;
}

/// The text of a column: a scalar, or a list whose values go between commas.
bool text_of(const document_node& node, const std::string& key, std::string& into, problems& found) {
    if (node.kind == node_kind::scalar) {
        into = node.text;
    } else if (node.kind == node_kind::sequence) {
        for (const document_node& item : node.items) {
            if (item.kind != node_kind::scalar) return complain(item.at, key, "must be text", found);
            into.append(into.empty() ? "" : ",").append(item.text);
        }
    } else {
        return complain(node.at, key, "must be text or a list", found);
    }
    const bool good = !into.empty() && into.find_first_of("\n\\#") == std::string::npos;
    return good || complain(node.at, key, "is empty or has a character that no rule has", found);
}

bool line_of(const document_node& node, const std::string& key, std::string& line, problems& found) {
    std::array<std::string, columns.size()> texts;
    for (const document_member& member : node.members) {
        std::size_t at = 0;
        while (at < columns.size() && columns[at].name != member.key)
            ++at;
        const std::string full = key + "." + member.key;
        if (at == columns.size()) {
            return complain(
                member.at, full,
                "unknown; known are type, database, user, address, method, map, clientcert, clientname", found
            );
        }
        if (!text_of(member.value, full, texts[at], found)) return false;
    }
    const bool local = texts[0] == "local";
    for (std::size_t at = 0; at < columns.size(); ++at) {
        std::string text = texts[at].empty() ? std::string(columns[at].otherwise) : texts[at];
        if (columns[at].name == "method" && text.empty())
            return complain(node.at, key + ".method", "is missing", found);
        if (text.empty() || (local && columns[at].name == "address")) continue;
        line.append(line.empty() ? "" : " ");
        if (at > 4) line.append(columns[at].name).append("=");
        line.append(text);
    }
    return true;
}

}  // namespace

bool read_hba(const document_node& node, std::string_view key, hba_lines& into, problems& found) {
    if (node.kind != node_kind::sequence)
        return complain(node.at, std::string(key), "must be a list of rules", found);
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        const document_node& item = node.items[i];
        std::string line;
        if (item.kind == node_kind::scalar) {
            line = item.text;
        } else if (item.kind != node_kind::mapping) {
            return complain(item.at, element(key, i), "must be a rule", found);
        } else if (!line_of(item, element(key, i), line, found)) {
            return false;
        }
        const auto rule = parse_hba(line);
        if (!rule.value) {
            // The place is within the rule; that of the rule says more.
            const std::size_t place = rule.problem.find(": ");
            return complain(item.at, element(key, i), rule.problem.substr(place + 2), found);
        }
        if (rule.value->rules.size() != 1)
            return complain(item.at, element(key, i), "must be one rule", found);
        into.lines.push_back(std::move(line));
    }
    return true;
}

}  // namespace pgmend::config
