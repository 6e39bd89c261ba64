#pragma once
// The subjects `simulate` can be told to run, by name.

#include <optional>
#include <string>
#include <string_view>

#include "tests/sim/subject.hpp"

namespace pgmend::sim {

/// The proxy itself.
std::unique_ptr<subject> make_pgmend_subject(const subject_setup& setup);

std::optional<subject_factory> find_subject(std::string_view name);
/// All names, for the usage text.
std::string subject_names();

}  // namespace pgmend::sim
