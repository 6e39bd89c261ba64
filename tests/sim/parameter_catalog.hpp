#pragma once
// The configuration parameters the simulated PostgreSQL knows, as guc.c would list them. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::sim {

struct known_parameter {
    std::string_view name;  ///< canonical spelling
    std::string_view default_value;
    bool reported;  ///< GUC_REPORT: the client is told of each change
    bool settable;
};

const std::vector<known_parameter>& known_parameters();
/// By name without regard to case. A name with a dot that is not listed is a custom one, see `is_custom`.
const known_parameter* find_parameter(std::string_view name);
inline bool is_custom(std::string_view name) { return name.find('.') != std::string_view::npos; }
/// The spelling PostgreSQL uses, or nothing for a name it does not know.
std::optional<std::string> canonical_parameter(std::string_view name);
/// The value as PostgreSQL shows it; nothing when it does not accept it.
std::optional<std::string> canonical_value(std::string_view canonical_name, std::string_view value);

}  // namespace pgmend::sim
