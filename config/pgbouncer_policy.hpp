#pragma once
// The policy of pgmend that does what a pgbouncer.ini says, and what of it has no equivalent. Pure.

#include <string>
#include <string_view>
#include <vector>

namespace pgmend::config {

struct pgbouncer_policy {
    std::string yaml;                  ///< ready to be a policy file; what is not taken over in comments
    std::vector<std::string> missing;  ///< what has no equivalent, a line each, with the reason
    std::vector<std::string> errors;   ///< the file could not be understood; then there is no policy
};

/// Where PgBouncer's default is another than ours, PgBouncer's is written down.
pgbouncer_policy policy_from_pgbouncer(std::string_view ini);

}  // namespace pgmend::config
