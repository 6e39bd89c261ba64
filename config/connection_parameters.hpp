#pragma once
// What becomes of each parameter an application may have put into its URL: libpq's own of all versions, and
// those of frameworks. Pure.

#include <string>
#include <string_view>

namespace pgmend::config {

enum class parameter_use {
    libpq,   ///< handed to libpq, and understood here
    alias,   ///< stands for the parameter called `meaning`
    inert,   ///< has no effect; `meaning` is the warning
    silent,  ///< has no effect and asks for nothing
    unknown  ///< has no effect either; `meaning` is the warning
};

struct parameter_verdict {
    parameter_use use;
    std::string meaning;
};

/// Names are case-sensitive, as in libpq. The warning shows the name where it is harmless, never the value.
parameter_verdict judge_parameter(std::string_view name, std::string_view value);

}  // namespace pgmend::config
