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
    setting<write_guard> autocommit_writes{
        this, "guard.autocommit_writes", write_guard::flight, reload_class::live,
        "Where guard.commit_outcome is on: what is done for writes outside of a transaction block that are "
        "sent in the extended protocol. flight: the server is asked for the transaction's number in the same "
        "flight, ahead of the Sync that commits; where the answer is lost, the server is asked what became "
        "of "
        "it, as for COMMIT. strict: the Sync is sent when the number has come, one round trip later, so that "
        "nothing stays unknown for want of it. off: whose answer is lost gets 08007."};
};

}  // namespace pgmend::config
