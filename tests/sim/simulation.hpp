#pragma once
// One run: builds the world of a schedule around a subject, lets it happen, heals it, and asks the oracles.
// Also how a failing schedule is made smaller. Each run owns all it uses.

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "tests/sim/fault_schedule.hpp"
#include "tests/sim/oracle.hpp"
#include "tests/sim/subject.hpp"

namespace pgmend::sim {

struct run_report {
    std::optional<violation> broken;
    std::uint64_t event_hash = 0;
    std::uint64_t turns = 0;
    std::size_t connections = 0;  ///< of all clients
    std::size_t server_connections_peak = 0;
    /// Rare branches that the run has reached: what the subject counts of itself, and `told <SQLSTATE>` for
    /// what clients were told because of a fault.
    std::set<std::string> marks;
    /// What each connection of the group carried, in the order in which they were opened.
    std::vector<link_traffic> client_links = {};
    std::vector<link_traffic> server_links = {};

    bool passed() const noexcept { return !broken; }
};

run_report run_schedule(const fault_schedule& schedule, const subject_factory& make, bool verbose = false);

/// The same, and what no run tells by itself: whether it reached what the schedule was written for and, with
/// `twice`, whether a second one goes the same way.
run_report run_checked(
    const fault_schedule& schedule, const subject_factory& make, bool twice, bool verbose = false
);

/// The smallest schedule found that breaks the same oracle: faults and clients are left out, exchanges and
/// traits reduced, as long as it still does. At most `attempts` runs.
fault_schedule shrink(const fault_schedule& failing, const subject_factory& make, std::size_t attempts = 400);

using run_property = std::function<bool(const run_report&)>;
/// The same for any property of a run that `from` has.
fault_schedule shrink_while(
    const fault_schedule& from, const subject_factory& make, const run_property& wanted,
    std::size_t attempts = 400
);

}  // namespace pgmend::sim
