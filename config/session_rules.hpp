#pragma once
// What becomes of the sessions of certain databases and users: the first rule that fits, and says it,
// decides.

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/modes.hpp"

namespace pgmend::config {

/// Empty names stand for all.
struct session_rule {
    std::string database;
    std::string user;
    std::optional<session_policy> state;
    std::optional<replay_mode> replay;
    auto operator<=>(const session_rule&) const = default;
};
using session_rule_list = std::vector<session_rule>;

/// Reads a sequence of `{database, user, session_state, replay}`; each says one of the last two at least.
bool read_session_rules(
    const document_node& node, std::string_view key, session_rule_list& into, problems& found
);
std::string print_session_rules(const session_rule_list& rules);

/// By the first that fits and says so; nothing where none does.
std::optional<session_policy> session_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
);
std::optional<replay_mode> replay_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
);

}  // namespace pgmend::config
