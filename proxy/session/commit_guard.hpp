#pragma once
// What all sessions of one worker share to know what became of a lost COMMIT: the statement that asks for a
// transaction's number, with the messages that run it, and which servers refuse to answer. One thread.

#include <map>
#include <string>
#include <vector>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "config/modes.hpp"
#include "pool/server_connection.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/statement_store.hpp"
#include "proxy/session/protection.hpp"

namespace pgmend::proxy {

class commit_guard {
public:
    commit_guard(protocol::statement_store& statements, config::environment& environment);

    config::environment& env;
    protocol::statement_ref ask;
    std::vector<std::byte> run;  ///< Bind to Sync: statement and portal have names of ours
    std::vector<std::byte>
        run_in_group;  ///< Bind to Flush, for a group of the client's: its Sync closes the portal
    /// What is done for writes outside of a block.
    config::write_guard writes = config::write_guard::flight;

    /// The server has refused to tell, and would do so again: it lacks the privileges, or a function. Whoever
    /// is logged in to its database there as the same user asks no more for a while. True: that is news.
    bool refused(const pool::server_connection& server);
    bool refuses(const pool::server_connection& server) {
        return !refused_until_.empty() && still_refuses(server);
    }

    /// What it has said of privileges: `missing` functions, or nothing but an error.
    void told(const pool::server_connection& server, std::string missing, std::string_view sqlstate);
    std::vector<protection_facts> protections() const;

private:
    struct word {
        protection_facts facts;
        config::time_point at{};
    };
    bool still_refuses(const pool::server_connection& server);

    std::map<std::string, config::time_point> refused_until_;  ///< by server, database and user
    std::map<std::string, word> words_;                        ///< the same
};

/// Before PostgreSQL 13 a server does not know the functions that are asked.
bool knows_transaction_numbers(const pool::server_connection& server) noexcept;

}  // namespace pgmend::proxy
