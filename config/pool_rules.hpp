#pragma once
// What holds for the pools and sessions of certain databases and users: of each thing the first rule that
// fits, and says it, decides.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/modes.hpp"
#include "config/units.hpp"

namespace pgmend::config {

/// Empty names stand for all.
struct pool_rule {
    std::string database;
    std::string user;
    std::optional<pool_mode> mode;
    std::optional<std::uint32_t> size;
    std::optional<std::uint32_t> min_size;
    std::optional<std::uint32_t> reserve_size;
    std::optional<milliseconds> reserve_timeout;
    std::optional<milliseconds> wait_timeout;
    std::optional<milliseconds> idle_timeout;
    std::optional<milliseconds> lifetime;
    std::optional<session_policy> state;
    std::optional<replay_mode> replay;
    auto operator<=>(const pool_rule&) const = default;
};
using pool_rule_list = std::vector<pool_rule>;

/// Reads a sequence of mappings; each says one thing at least.
bool read_pool_rules(const document_node& node, std::string_view key, pool_rule_list& into, problems& found);
std::string print_pool_rules(const pool_rule_list& rules);

/// What the first rule says of `what` (a member of pool_rule) that fits and says it; nothing where none does.
template <class T>
std::optional<T> pool_rule_for(
    const pool_rule_list& rules, std::optional<T> pool_rule::*what, std::string_view database,
    std::string_view user
) {
    const auto fits = [](const std::string& wanted, std::string_view name) {
        return wanted.empty() || wanted == name;
    };
    for (const pool_rule& rule : rules) {
        if (rule.*what && fits(rule.database, database) && fits(rule.user, user)) return rule.*what;
    }
    return std::nullopt;
}

}  // namespace pgmend::config
