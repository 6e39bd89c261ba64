#pragma once
// pgmend(1), from what the program says of itself with --help.

#include <string>
#include <string_view>

namespace pgmend::proxy {

/// `usage` is the text of --help; its options become the page's.
std::string program_manual(std::string_view usage, std::string_view version);

}  // namespace pgmend::proxy
