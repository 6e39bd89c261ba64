#pragma once
// What the declarations say about themselves: the commented example, the reference in Markdown and the
// effective values. deploy/ keeps the first two; a unit test compares them with what is rendered here.

#include <string>

#include "config/registry.hpp"

namespace pgmend::config {

/// deploy/config.example.yaml: every setting with its meaning, commented out.
std::string example_yaml();

/// deploy/CONFIGURATION.md.
std::string print_reference();

/// One row a setting: key, value, default, source, what a change needs. Secrets are `***`.
std::string print_config(const registry& settings);

}  // namespace pgmend::config
