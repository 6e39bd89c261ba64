#pragma once
// The command line.

#include <span>

namespace pgmend::proxy {

/// Does what the arguments (without the program's name) ask for; returns the exit status: 0, 1 when the
/// settings are wrong or something cannot be opened, 2 when the arguments are.
int run_program(std::span<char* const> arguments);

}  // namespace pgmend::proxy
