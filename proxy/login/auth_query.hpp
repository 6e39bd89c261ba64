#pragma once
// Secrets asked from the database itself, with PgBouncer's semantics: one query with the user's name as its
// parameter, on connections of their own that no client's parameter ever reaches. Few run at a time, many
// askers of one user share an answer, and answers are remembered for a moment. One worker thread.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pool/intrusive_list.hpp"
#include "pool/server_pool.hpp"
#include "proxy/login/user_directory.hpp"

namespace pgmend::proxy {

class worker_core;

/// Somebody who waits for an answer. Leaves by itself when it is destroyed.
class auth_asker final : public pool::list_node<auth_asker> {
public:
    auth_asker(pool::event_gate& gate, pool::event_mask bit) noexcept : gate_(gate), bit_(bit) {}
    ~auth_asker() { pool::intrusive_list<auth_asker>::remove(*this); }

    enum class state : std::uint8_t { waiting, answered, failed };
    state outcome() const noexcept { return state_; }

private:
    friend class auth_query;
    pool::event_gate& gate_;
    pool::event_mask bit_;
    state state_ = state::answered;
};

class auth_query {
public:
    explicit auth_query(worker_core& worker) noexcept;
    ~auth_query();
    auth_query(const auth_query&) = delete;
    auth_query& operator=(const auth_query&) = delete;

    bool enabled() const noexcept;
    /// Makes sure that the user directory knows what the database says of `user`. `answered` at once when it
    /// was asked a moment ago; else the asker's bit is set once.
    void ask(const std::string& user, auth_asker& asker);
    /// The end: nobody is answered any more.
    void stop();
    /// Questions under way.
    std::size_t pending() const noexcept { return questions_.size(); }

private:
    struct question;

    pool::detached run(question& asked, pool::server_connection& server);
    void over(question& asked, bool good);
    bool send(pool::server_connection& server, const std::string& user);
    void refused(question& asked, const pool::pool_refusal& why);

    worker_core& worker_;
    std::map<std::string, std::unique_ptr<question>> questions_;
};

/// What came back for one question; a step machine over the server's messages.
class auth_answer {
public:
    enum class state : std::uint8_t { more, done, broken };

    explicit auth_answer(std::string_view user) noexcept : user_(user) {}
    /// One whole message of the server's.
    state read(char type, protocol::byte_view body);
    /// Once done: why there is no answer, in words; empty when there is one.
    const std::string& problem() const noexcept { return problem_; }
    /// The user's secret; empty for a user who may not come in.
    std::string& secret() noexcept { return secret_; }

private:
    void read_row(protocol::byte_view body);

    std::string_view user_;
    std::string secret_;
    std::string problem_;
    std::size_t rows_ = 0;
};

}  // namespace pgmend::proxy
