#pragma once
// The settings as a JSON Schema, so that editors complete and check the policy file. Made of the declarations
// alone: what a value may be is told by the words of its setting.

#include <string>

namespace pgmend::config {

class setting_base;

/// The whole document, ready to be written to a file.
std::string print_schema();
/// What one value may be, as a schema of its own; empty where the words of `allowed()` are not known here,
/// which a test does not let happen.
std::string schema_of(const setting_base& setting);

}  // namespace pgmend::config
