#pragma once
// The rules that concern more than one setting, or the world outside the configuration.

#include "config/settings.hpp"

namespace pgmend::config {

/// Adds one problem, without place, for each rule that is broken. Looks whether certificate files are
/// readable.
void validate(const settings& candidate, problems& found);

/// What is allowed but hardly meant, one sentence each.
std::vector<std::string> doubts(const settings& candidate);

}  // namespace pgmend::config
