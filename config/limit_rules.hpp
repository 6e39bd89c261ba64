#pragma once
// How many requests may come in which time, and which limits certain clients have: the first rule that fits
// and speaks of a limit decides it. Pure; read at start-up and on reload.

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

/// `count` in each `period`, spread evenly, of which `burst` may come at once. A count of 0: no limit.
struct request_rate {
    std::uint32_t count = 0;
    milliseconds period{1000};
    std::uint32_t burst = 0;
    auto operator<=>(const request_rate&) const = default;
    bool limited() const noexcept { return count != 0; }
};

/// `none`, a preset, or `100/s`, `100/min`, `100/h`; behind the last two perhaps ` burst 20`.
parsed<request_rate> parse_request_rate(std::string_view text);
std::string print_request_rate(const request_rate& rate);

/// Empty names stand for all. A limit that is not given is left to later rules.
struct limit_rule {
    std::string user;
    std::string database;
    std::string address;  ///< an address, a network, or `local`: a Unix socket
    std::string application_name;
    limit_scope per = limit_scope::together;
    std::optional<std::uint32_t> clients;
    std::optional<request_rate> requests;
    std::optional<std::uint32_t> waiting;
    std::optional<milliseconds> query_timeout;
    std::optional<milliseconds> idle_transaction_timeout;
    std::optional<milliseconds> transaction_timeout;
    std::optional<byte_size> result_size;

    /// Of one of those four, in ms or bytes; nothing where the rule does not speak of it.
    std::optional<std::uint64_t> bound(request_limit which) const noexcept;
    bool bounds_requests() const noexcept {
        return query_timeout || idle_transaction_timeout || transaction_timeout || result_size;
    }
    auto operator<=>(const limit_rule&) const = default;
};
using limit_rule_list = std::vector<limit_rule>;

/// Reads a sequence of mappings with the members of limit_rule.
bool read_limit_rules(
    const document_node& node, std::string_view key, limit_rule_list& into, problems& found
);
std::string print_limit_rules(const limit_rule_list& rules);

/// How many clients of a pool may wait, by the first rule that fits and says so.
std::optional<std::uint32_t> waiting_limit_for(
    const limit_rule_list& rules, std::string_view database, std::string_view user
);

/// How many clients one user or database may have, as far as that is the same from wherever they come;
/// `otherwise` where no rule says so. 0: any number.
std::uint32_t client_limit_for(
    const limit_rule_list& rules, limit_scope per, std::string_view name, std::uint32_t otherwise
);

}  // namespace pgmend::config
