#pragma once
// What becomes of the sessions of certain databases and users: the first rule that fits decides.

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
    session_policy state = session_policy::follow;
    auto operator<=>(const session_rule&) const = default;
};
using session_rule_list = std::vector<session_rule>;

/// Reads a sequence of `{database, user, session_state}`.
bool read_session_rules(
    const document_node& node, std::string_view key, session_rule_list& into, problems& found
);
std::string print_session_rules(const session_rule_list& rules);

/// The first that fits; nothing where none does.
std::optional<session_policy> session_rule_for(
    const session_rule_list& rules, std::string_view database, std::string_view user
);

}  // namespace pgmend::config
