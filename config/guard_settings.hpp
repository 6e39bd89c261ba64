#pragma once
// How it is known what became of a commit whose answer was lost. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

struct guard_settings : section {
    using section::section;
    setting<guard_mode> commit_outcome{
        this, "guard.commit_outcome", guard_mode::off, reload_class::live,
        "on: behind the first statement of a transaction that may have written, the server is asked for the "
        "transaction's number in the same flight; where the answer to COMMIT is lost, the server is asked "
        "what "
        "became of it, and the client gets the answer, or its transaction is run again. off: the client gets "
        "08007."};
};

}  // namespace pgmend::config
