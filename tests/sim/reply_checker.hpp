#pragma once
// Judges what one client connection is answered. It runs a PostgreSQL of its own beside the client, feeds it
// what the client sends, and compares the answers message by message; so a client may send whatever it likes
// and the right answer is always known. It also knows which rows the client was promised. One per connection.
// Pure; one thread.

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/backend_model.hpp"
#include "tests/sim/oracle.hpp"

namespace pgmend::sim {

/// What one message from the server meant for its client.
enum class answer : std::uint8_t {
    fine,      ///< as PostgreSQL would have answered
    excused,   ///< an error that a fault explains; answers up to the last ReadyForQuery no longer count
    farewell,  ///< a FATAL that a fault explains; the connection ends
    wrong,     ///< a violation, given to the judge
};

class reply_checker {
public:
    /// `tag`: this connection's mark in every statement and key of it. `parameters`: its startup packet.
    reply_checker(judge& court, std::string tag, const std::vector<name_value>& parameters);

    /// The minor of protocol 3 that its startup packet asks for.
    void asks_minor(std::uint32_t minor) noexcept { minor_ = minor; }
    /// From now on errors with this SQLSTATE are explained by faults, too.
    void excuse(const std::string& code) { excused_.insert(code); }
    /// Its own direction is closed: it may be asked whether it is still there, by a ParameterStatus it knows.
    void half_closed() noexcept { half_closed_ = true; }
    void sent(const message& what);
    /// The client sends a statement that it may cancel: what PostgreSQL answers is decided by the first
    /// reply.
    void sent_cancellable(const message& what);
    answer received(const message& what, bool faults_began);

    /// Every answer that is owed has come.
    bool satisfied() const noexcept;
    /// After an error that a fault explains, and the ReadyForQuery that was owed: whether it is known what
    /// the session is now. Then the connection is judged on; else its client has to leave.
    bool goes_on();
    /// The connection ended without fault, everything owed having been answered: the notifications must
    /// agree. `some_may_lack`: one that its server has not been heard of for seconds is not waited for.
    void finish(bool some_may_lack = false);
    /// A short account of what is still owed, for the report of a client that waits.
    std::string owed() const;

    using rows = std::map<std::string, std::string>;
    /// Rows this connection's keys may have in the end: exactly one, unless an end came between sending and
    /// answer.
    std::vector<rows> possible_rows() const;
    const std::string& tag() const noexcept { return tag_; }
    /// BackendKeyData as received; empty before.
    const std::string& cancel_key() const noexcept { return cancel_key_; }
    /// NegotiateProtocolVersion was received.
    bool negotiated() const noexcept { return negotiated_; }
    /// What is rare of the request that was answered last, told once; empty when nothing is.
    std::string_view take_sight() noexcept { return std::exchange(sight_, {}); }

private:
    struct expected {
        message what;
        std::size_t commits;  ///< known to be done when this message is seen
        /// ReadyForQuery of a request behind messages that no Sync had ended: their error swallows it.
        bool may_lack = false;
        std::string_view sight = {};
    };
    /// What was sent since the last Sync, as far as it is rare.
    struct group_contents {
        std::size_t executes = 0;
        std::size_t names = 0;  ///< named statements parsed
        bool query_swallowed = false;
    };
    /// What the reference was sent.
    struct sent_message {
        message what;
        bool cancelled;
        bool ends_group;  ///< ReadyForQuery followed
        /// In place of a group that was lost: whether the client is in a failed block since.
        std::optional<bool> lost = {};
    };
    static void take_again(backend_model& reference, const sent_message& one);
    void begin();
    void run_reference();
    std::size_t failed_group_begins() const;
    bool is_clear(const std::string& code, std::size_t commits) const;
    std::vector<rows> rows_without_failed_group(std::size_t groups) const;
    void note_asynchronous(const message& what);
    void skip_asynchronous();
    answer received_degraded(const message& what);
    answer mismatch(const message& what, bool faults_began);
    void degrade();
    void note_group(const message& what, bool answered);
    std::string_view sight_of_group() const noexcept;
    answer wrong(oracle which, const message& what);
    answer check_parameter(const message& what, bool faults_began);
    answer check_notification(const message& what, bool faults_began);
    bool check_parameters(bool faults_began);
    answer check_negotiation(const message& what);

    judge& court_;
    std::string tag_;
    sim_database rows_;
    std::vector<std::size_t> commit_places_;  ///< in the reference's output of this turn
    std::vector<rows> history_;               ///< after each commit
    std::size_t acknowledged_ = 0;
    std::size_t settled_ = 0;     ///< of these, up to the last ReadyForQuery
    bool told_not_done_ = false;  ///< the one commit of the group in which an error was told
    bool clear_loss_ = false;     ///< nothing of the group that failed was done
    bool after_error_ = false;    ///< of a degraded connection: its ReadyForQuery comes next
    std::string status_;          ///< of the last ReadyForQuery
    std::vector<sent_message> log_;
    bool logged_in_ = false;
    std::size_t failed_group_ = 0;  ///< groups that were answered in full before the one that failed
    const std::map<std::string, std::string> defaults_;
    std::optional<backend_model> reference_;
    std::deque<expected> owed_;
    std::size_t owed_ready_ = 0;
    bool half_closed_ = false;
    group_contents group_;
    std::string_view sight_;
    bool unsynced_ = false;     ///< messages of the extended protocol were sent, no Sync since
    bool unclear_end_ = false;  ///< of a degraded connection: how many ReadyForQuery come is not known
    bool degraded_ = false;
    std::optional<message> undecided_;
    bool cancellable_ = false;  ///< the client has asked to cancel what is being answered
    std::map<std::string, std::string> parameters_;
    std::map<std::string, std::string> expected_parameters_;
    std::map<std::string, int> notifications_;  ///< received
    std::map<std::string, int> expected_notifications_;
    std::string cancel_key_;
    std::set<std::string> excused_;
    std::vector<std::string> options_;  ///< protocol options asked for
    std::uint32_t minor_ = 0;           ///< asked for, then agreed on
    bool negotiated_ = false;
};

}  // namespace pgmend::sim
