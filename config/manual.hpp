#pragma once
// Manual pages from the declarations, as roff for man(1).

#include <string>
#include <string_view>

namespace pgmend::config {

/// Text as roff takes it: backslashes, and dots and quotes at the beginning of a line.
std::string roff(std::string_view text);

/// pgmend.yaml(5): every setting with its variable, default, range and meaning.
std::string settings_manual(std::string_view version);

}  // namespace pgmend::config
