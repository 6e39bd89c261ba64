#pragma once
// What all sessions of one worker share to know what became of a lost COMMIT: the statement that asks for a
// transaction's number, with the messages that run it. One thread.

#include <vector>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/statement_store.hpp"

namespace pgmend::proxy {

struct commit_guard {
    commit_guard(protocol::statement_store& statements, config::environment& environment);

    config::environment& env;
    protocol::statement_ref ask;
    std::vector<std::byte> run;  ///< Bind to Sync: statement and portal have names of ours
    /// A server has refused it in the middle of a client's block: nobody is asked any more.
    bool refused = false;
};

}  // namespace pgmend::proxy
