#pragma once
// One PostgreSQL backend as a machine of messages: what postgres.c does between a frame and its answers, on
// top of a session_model. It is fed whole messages and leaves bytes in `out`; whoever owns it moves them, and
// decides how long a sleep lasts. Both the simulated server and the oracle of each simulated client are this
// machine. Source: PostgreSQL 15, postgres.c, pquery.c, copyfromparse.c. Pure; one thread.

#include <optional>
#include <string>

#include "protocol/bytes.hpp"
#include "tests/sim/session_model.hpp"

namespace pgmend::sim {

class backend_model {
public:
    /// What keeps the backend from taking the next message.
    enum class activity : std::uint8_t {
        ready,     ///< takes the next message
        sleeping,  ///< pg_sleep: `wake` when `sleep_us` have passed
        locking,   ///< waits for an advisory lock: `try_lock`
        rows,      ///< has rows to send: `produce`
        copy_in,   ///< takes the next message, as COPY data
        gone,      ///< said its FATAL, or the client said Terminate
    };

    backend_model(
        sim_database& database, session_id id, std::string key, std::map<std::string, std::string> defaults
    );

    /// AuthenticationOk to the first ReadyForQuery.
    void welcome();
    /// One message of the client. Only while `ready` or `copy_in`.
    void receive(const message& what);
    /// Continues to send rows until `out` holds `limit` bytes.
    void produce(std::size_t limit);
    /// Does all that is under way at once: sleeps are over, locks free, rows all sent.
    void run_through();
    void wake();
    void try_lock();
    /// A cancel reached this backend: whatever it waits for or sends ends with 57014.
    void cancel(
        const std::string& code = "57014", const std::string& text = "canceling statement due to user request"
    );
    /// The server ends the session: FATAL, then the end.
    void terminate(const std::string& code, const std::string& text);
    /// Between requests: a proxy has lost the server and goes on with another one.
    void lose(bool in_block) {
        portals_.clear();
        session_.lose(in_block);
    }
    /// A notification for an idle session is sent at once, otherwise before the next ReadyForQuery.
    bool deliver_notifications();

    activity doing() const noexcept { return doing_; }
    std::int64_t sleep_us() const noexcept { return sleep_us_; }
    /// `out` must leave now: after ReadyForQuery, Flush, CopyInResponse; else the backend keeps it until 8
    /// KiB.
    bool flush_wanted() const noexcept { return flush_wanted_; }
    void flushed() noexcept { flush_wanted_ = false; }
    bool between_requests() const noexcept { return between_requests_; }

    session_model& session() noexcept { return session_; }
    const session_model& session() const noexcept { return session_; }
    std::uint32_t pid() const noexcept { return session_.id(); }
    const std::string& key() const noexcept { return key_; }

    std::string out;

private:
    struct portal {
        statement what;
        std::vector<text_or_null> arguments;
        std::optional<row_source> rows;  ///< after the first Execute
        std::string tag;
        std::int64_t position = 0;
        bool executed = false;
        std::uint64_t transaction = 0;
    };
    /// A statement under way.
    struct running {
        outcome result;
        std::int64_t position = 0;
        std::int64_t limit = 0;  ///< row number to stop at; -1 none
        std::int64_t sent = 0;
        std::string portal_name;
        bool extended = false;
    };

    void simple_query(const std::string& sql);
    void next_simple_statement();
    void parse(protocol::byte_reader body);
    void bind(protocol::byte_reader body);
    void describe(protocol::byte_reader body);
    void execute(protocol::byte_reader body);
    void close(protocol::byte_reader body);
    void function_call(protocol::byte_reader body);
    void copy_message(const message& what);

    void start(running&& what, const std::string& copy_table);
    void after_wait();
    void send_row(const row& values);
    void finish_rows();
    void complete(const std::string& tag);
    void fail(const error_fields& error);
    void row_description(const std::vector<std::string>& columns);
    void send_error(protocol::backend_message type, const error_fields& fields);
    void ready_for_query();
    void report_parameters();
    bool refused_in_failed_block(const statement* what);
    portal* find_portal(const std::string& name);
    void protocol_violation(const std::string& text);
    void empty_message(protocol::backend_message type) { message_builder(out, type).end(); }

    session_model session_;
    std::string key_;
    activity doing_ = activity::ready;
    std::int64_t sleep_us_ = 0;
    bool flush_wanted_ = false;
    bool between_requests_ = true;
    bool skip_to_sync_ = false;
    std::vector<statement> script_;  ///< rest of a simple Query, last statement first
    bool in_simple_query_ = false;
    std::optional<running> running_;
    std::string copy_table_;
    std::string copy_partial_;
    std::int64_t copied_ = 0;
    std::map<std::string, portal> portals_;
    std::map<std::string, std::string> reported_;
    struct notification {
        session_id from;
        std::string channel;
        std::string payload;
    };
    std::vector<notification> notifications_;
};

}  // namespace pgmend::sim
