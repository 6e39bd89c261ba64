#include "tests/simulation/subjects.hpp"

#include "tests/sim/faulty_relay.hpp"

namespace pgmend::sim {

namespace {

constexpr std::string_view relay_prefix = "relay:";

}  // namespace

std::optional<subject_factory> find_subject(std::string_view name) {
    if (name == "pgmend") return make_pgmend_subject;
    if (name == "direct") return make_direct_subject;
    if (!name.starts_with(relay_prefix)) return std::nullopt;
    for (std::size_t place = 0; place < planted_bugs_count; ++place) {
        const auto bug = static_cast<planted_bug>(place);
        if (to_string(bug) != name.substr(relay_prefix.size())) continue;
        return [bug](const subject_setup& setup) { return make_faulty_relay(setup, bug); };
    }
    return std::nullopt;
}

std::string subject_names() { return "pgmend|direct|relay:none|relay:<planted bug>"; }

}  // namespace pgmend::sim
