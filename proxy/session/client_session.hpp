#pragma once
// One client from accept to good-bye. It parks on its gate without a buffer; woken, it moves bytes between
// the client and its server, asks the pool for one and gives it back at safe points. What the bytes mean is
// decided by request_relay, reply_pump and session_facts. One worker thread; owned by the worker.

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "health/retry_schedule.hpp"
#include "pool/reply_pump.hpp"
#include "pool/server_pool.hpp"
#include "proxy/limits/limit_book.hpp"
#include "proxy/login/client_login.hpp"
#include "proxy/session/commit_outcome.hpp"
#include "proxy/session/notification_hub.hpp"
#include "proxy/session/old_backend.hpp"
#include "proxy/session/recovery_plan.hpp"
#include "proxy/session/request_relay.hpp"
#include "proxy/session/session_facts.hpp"
#include "proxy/session/standby_reader.hpp"
#include "proxy/session/wal_witness.hpp"
#include "proxy/session/write_refusal.hpp"

namespace pgmend::proxy {

class worker_core;

/// In this order: whether a session holds its client's request back is asked at every turn.
enum class session_phase : std::uint8_t {
    login,          ///< startup, TLS, authentication, welcome
    idle,           ///< no request, no server unless pinned
    active,         ///< a request runs
    waiting,        ///< a request waits for a server; from here on it is held back
    pausing,        ///< a request waits to be sent again
    evicting,       ///< the server is asked to end the backend that worked for this client before
    resolving,      ///< the server is asked what became of a COMMIT whose answer was lost
    sourcing,       ///< the server is asked why it is read-only
    surveying,      ///< the server is asked what its database's own functions do
    restoring,      ///< the server is being set up for this client
    reviewing,      ///< the server is asked what the request left behind
    replanning,     ///< a prepared statement is closed there, so that it is parsed anew
    refused_write,  ///< the server takes no writes; it has said so, and not ended the group yet
    failing,        ///< the server is put into the failed block that the client believes in
    handing_over,   ///< its channels go to the shared connection; up to here it is held back
    blind,          ///< replication: bytes are passed on unread
    closing,        ///< the last words are on their way to the client
    console,        ///< an administrator's: it has no server, and admin_console speaks for it
};

class client_session final : public pool::pool_waiter,
                             public pool::reply_sink,
                             public pool::list_node<client_session> {
public:
    client_session(worker_core& worker, std::unique_ptr<pool::stream> io, std::string peer, bool local);
    ~client_session();

    /// Starts the session's coroutine; when it ends, the worker destroys the session.
    void start();

    // Orders of the worker. They take effect at the session's next turn.
    /// The client's query is to be cancelled.
    void cancel();
    /// Close at the next safe point, with 57P01.
    void drain() noexcept;
    /// Close now.
    void kill() noexcept;
    /// Close now, with 57P01: an administrator wants it gone.
    void terminate() noexcept { gate_.set(key_.pid == 0 ? killed : terminated); }
    /// What is known of the servers has changed.
    void reconsider();
    /// There is a server again that takes writes.
    void writes_taken() noexcept;
    /// The limits of the policy have.
    void limits_changed();

    void collect_parameters(std::unordered_set<const protocol::parameter_set*>& live) const;
    session_phase phase() const noexcept { return phase_; }
    const client_key& key() const noexcept { return key_; }
    /// No other of this process has it.
    std::uint32_t id() const noexcept { return id_; }
    static std::uint32_t seconds_of(config::time_point when) noexcept {
        return static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count()
        );
    }
    pool::server_connection* server() const noexcept { return server_; }

    // pool_waiter
    void granted(pool::server_connection& server) override;
    void refused(const pool::pool_refusal& why) override;

    // reply_sink
    std::optional<std::string> reported(std::string_view name, std::string_view value) override;
    void own_row(protocol::byte_view body) override;
    protocol::byte_view instead_of(const protocol::error_view& error, bool& last) override;
    void error(std::string_view sqlstate, std::string_view message, bool fatal, bool own) override;
    bool farewell(std::string_view sqlstate, std::string_view message, bool is_error) override;
    bool stale_plan(const protocol::statement_ref& statement, bool untold) override;
    bool refused_write(protocol::byte_view error) override;
    bool leaving() const override { return server_leaves(); }
    void command_complete(std::string_view tag) override;
    void ended_without_tag() override { answered_end_ = protocol::transaction_end::unknown; }
    void ready() override;
    void undone(protocol::owed_reply& reply) override;
    bool notification(std::span<std::byte> body) override;
    protocol::byte_view before_ready(bool& wait) override;

private:
    friend class client_login;
    friend class admin_console;
    friend class worker_admin;

    /// Events on the gate. Handled in one order: killed, orders, server, client.
    enum event : pool::event_mask {
        client_readable = 1,
        client_writable = 2,
        server_readable = 4,
        server_writable = 8,
        server_granted = 16,
        server_refused = 32,
        timed_out = 64,
        killed = 128,
        drained = 256,
        client_broken = 512,
        cancel_over = 1024,
        server_unfit = 2048,
        server_unmuted = 4096,
        notified = 8192,
        hub_answered = 16384,
        hub_lost = 32768,
        fence_over = 65536,
        terminated = 131072,
        console_answered = 262144,
        console_cancelled = 524288,
        retry_due = 1048576,
        limit_due = 2097152,
    };
    /// What the pool said no with.
    struct refusal {
        std::string sqlstate;
        std::string message;
        std::string detail;
        std::string hint;
        std::vector<std::byte> error_frame;
        bool keeps_client = false;  ///< only this request fails
    };

    /// A request that is run again, until all that was shown of it has come out the same
    /// (session_replay.cpp).
    struct replay_attempt {
        protocol::hash128 shown;
        std::uint64_t shown_bytes = 0;
        std::size_t record_bytes = 0;   ///< of all that was sent
        std::size_t request_bytes = 0;  ///< of the whole messages that are read again
        std::size_t unread = 0;         ///< of these, at the front of what the client has sent
        std::size_t group_left = 0;     ///< and of these, up to where the server is waited for
        bool begun = false;             ///< a message follows them that had not come whole
        bool in_block = false;
        bool failed = false;          ///< the client knows that its block has failed
        bool inside_message = false;  ///< it has been shown a part of one
        bool differs = false;
        // For the case that it is given up.
        const protocol::parameter_set* told = nullptr;
        request_relay::unanswered unanswered;
        request_relay::belief belief;

        /// Everything was answered before the loss, and nothing has come since. `received`: bytes of the
        /// client's that are here.
        bool asks_nothing(std::size_t received) const noexcept {
            return unanswered.ends.empty() && !unanswered.open_group && received == unread && !begun;
        }
    };

    /// A COMMIT whose answer was lost, until it is known what became of it (session_outcome.cpp).
    struct lost_commit {
        pool::commit_evidence evidence;
        std::string where;
        std::vector<std::byte> answer;              ///< what is owed to the client if it was carried out
        std::vector<name_journal::belief> names;    ///< what its names stand for then
        std::optional<replay_hindrance> hindrance;  ///< why it is not run again if it was not
        std::string shape;                          ///< of the request
        bool in_group = false;       ///< not a COMMIT, but the Sync of a write outside of a block
        config::time_point began{};  ///< the request: its transaction had no number yet
        config::time_point since{};
        health::backoff pauses{{std::chrono::milliseconds{50}, std::chrono::seconds{1}}};
        outcome_reason why = outcome_reason::not_answered;
        wal_claim wal;  ///< whether the transaction's record has survived, where that was asked
    };

    /// What is remembered of the loss of servers until the request is over.
    struct mishap {
        std::uint64_t number = 0;  ///< of the ledger's entry that it begins with; 0: there is none yet
        std::unique_ptr<refusal> goodbye;  ///< the server's last words, if they were an error
        bool leaving = false;              ///< it says that it goes; by a notice, its end follows
        bool undone = false;               ///< an error of ours has undone what was under way
        /// Of sending the request again; nothing before that is decided the first time.
        std::optional<health::retry_schedule> again;
        std::unique_ptr<pool::gate_timer> timer;  ///< of the pause before that
        protocol::statement_ref stale;            ///< to be closed on the server, and parsed anew
        bool planned_again = false;
        std::unique_ptr<replay_attempt> replay;
        std::unique_ptr<old_backend> ghost;  ///< to be ended before anything is sent again
        std::unique_ptr<write_wait> writes;  ///< a server has taken none of this request's
        std::unique_ptr<lost_commit> commit;
    };

    pool::detached run();
    /// Deals with one set of events; false when the session is over.
    bool step(pool::event_mask bits);
    bool progress(pool::event_mask bits);
    bool unusual_progress(pool::event_mask& bits);
    bool step_blind(pool::event_mask bits);
    bool step_closing(pool::event_mask bits);

    bool read_client();
    bool consume_requests();
    void consume(std::size_t count);
    void read_again(const std::vector<std::byte>& request);
    bool read_server();
    bool pump_server();
    bool after_progress();
    void set_interest();
    bool paused() const noexcept;
    bool answer_ahead(bool awaited);
    bool to_client();
    bool to_server();
    bool holding() const noexcept {
        return phase_ >= session_phase::waiting && phase_ <= session_phase::handing_over;
    }

    bool want_server();
    bool take_server(pool::server_connection& server);
    bool prepare_server();
    void restore();
    void survey();
    bool survey_over();
    void tell_of_leak();
    bool request_refused();
    bool refuse_front(const refusal& why);
    bool refuse_cancelled();
    bool at_safe_point() const noexcept;
    bool request_done();
    void own_query(std::string_view text, session_phase phase);
    bool own_query_over();
    bool ask_again();
    bool tell_parameters();
    void give_back(bool client_gone);
    void count_pins() noexcept;
    void tell_of_pin(pin_reason reason) noexcept;

    // session_limits.cpp
    std::string_view address() const;
    client_identity identity() const;
    bool next_request(std::span<std::byte>& bytes);
    bool refuse_over_limit(const client_limits::overdrawn& why);
    bool may_refuse_now();
    bool throw_away();
    protocol::transaction_status status_told() const noexcept;
    bool enter_refused_block();
    bool shed_request();

    // How long its statements and transactions may take, and how much their answers (session_bounds.cpp).
    void note_sent();
    void note_ready(bool all_answered) noexcept;
    void note_answers();
    void await_limit();
    bool keep_limits();
    bool must_not_be_ended();
    bool cancel_for_limit(request_limit why);
    bool end_by_limit(request_limit why);

    // session_listening.cpp
    bool hand_channels_over();
    void handing_over_goes_on();
    bool same_encoding() const;
    notification_hub& hub();
    void drop_channels(bool (*which)(bool live), const std::vector<std::string>* but = nullptr);
    void settle_unlistens();
    void note_tag(std::string_view tag);
    bool hear(pool::event_mask bits);
    bool await_others();
    void others_awaited(pool::event_mask bits);
    void start_fence_timer();
    bool release_ready();
    bool end_listening();
    bool tell_notifications();

    /// Tells the client and closes once it was sent. Always false, so that it may be returned.
    bool fail(
        std::string_view sqlstate, std::string_view message, std::string_view detail = {},
        std::string_view hint = {}
    );
    bool terminated_by_order();
    void close_when_sent();
    bool half_close(bool all_read);
    bool goes_on_half_closed();

    // The loss of a server (session_recovery.cpp). False when the session is over.
    bool lost_server();
    loss loss_facts() const;
    /// For server_connection::pinned_by, until the request is over: it has been counted.
    static constexpr statement_tallies::place freshly_pinned = ~statement_tallies::place{0};
    void count_uncovered(replay_hindrance why) noexcept;
    void look_closer() noexcept;
    std::optional<std::string_view> lost_by_failover() const;
    bool send_again(pool::server_connection& server);
    bool start_over(const std::vector<std::byte>& request);
    bool tell_lost(const request_relay::unanswered& left, bool in_block, const refusal& why);
    bool answer_lost(const request_relay::unanswered& left, const recovery_step& step);
    bool end_lost_session(const recovery_step& step);
    void forget_server();
    bool must_tell_lost_block();
    bool tell_lost_block();
    /// A database whose servers go whenever they are set up ends with an error.
    static constexpr std::uint8_t most_setups_lost = 20;
    bool settle_commit();
    void note_committed() noexcept;
    void forget_answers() noexcept {
        committed_ = false;
        answered_end_ = protocol::transaction_end::unknown;
    }
    bool enter_lost_block();
    bool lost_block_entered();
    void hold_back_unsaid() {
        if (server_leaves() && !shown_) drop_beginning_of_answer();
    }
    bool server_leaves() const noexcept { return mishap_ && mishap_->leaving; }
    void drop_beginning_of_answer();
    bool may_plan_again() noexcept;
    bool plan_again();
    std::unique_ptr<refusal> last_words();
    void recovered();
    void note_recovery(const recovery_step& step, std::optional<replay_hindrance> hindrance = {});
    std::string shape_of_request();
    /// What every line of the log about the loss of one request's servers has in common.
    std::string request_name();

    // A server takes no writes (session_writes.cpp).
    void ask_read_only_source();
    void read_only_source_told();
    bool refused_is_repeatable();
    write_refusal judge_write();
    bool write_refused();
    void note_refused_write(write_refusal why);
    bool show_refused_write(write_refusal why);
    bool send_write_again();
    std::vector<std::byte> take_refused_request();

    // A lost transaction is run again (session_replay.cpp).
    bool replaying() const noexcept { return mishap_ && mishap_->replay; }
    replay_facts replay_facts_now() const;
    void show();
    void prove(pool::gather& flight);
    void replayed();
    void note_replay(config::metrics::replay_outcome outcome, const std::string& server);
    void remember_ghost(const pool::server_connection& server);
    bool replay(const loss& facts);
    bool lost_in_replay();
    bool replay_progress();
    void replay_read(std::size_t bytes, bool sent);
    static refusal lost_words();
    static refusal cancelled_words();
    refusal changed_words() const;
    bool give_up_replay(config::metrics::replay_outcome outcome, const refusal& why);
    bool may_haunt(const old_backend& old) const;
    bool asks_of_lost() const;
    const protocol::parameter_set* wanted_settings() const;
    bool evict_old_backend();
    bool old_backend_evicted();
    void begin_record(pool::server_connection& server);
    /// What of the client's bytes may be read now.
    std::span<std::byte> offered_again() noexcept;
    bool withholds_commit() noexcept;
    std::span<std::byte> offered() noexcept { return replaying() ? offered_again() : in_.bytes(); }

    // Standbys are read from (session_reads.cpp).
    void may_read(
        pool::server_pool& from, std::string_view partition_key, const pool::startup_parameters& parameters
    );
    bool on_standby() const noexcept { return server_ != nullptr && server_->standby; }
    bool standby_has_request() const noexcept;
    std::optional<read_route> route_now(standby_reader& reader);
    bool want_read_server();
    pool::server_connection* standby_for_request();
    pool::server_connection* free_standby(standby_reader& reader);
    void standby_offered();
    void rethink_read();
    bool take_granted();
    void read_taken(const pool::server_connection& server);
    bool standby_speaks_alike() const;
    bool leave_standby();
    bool standby_refused(std::string_view sqlstate);
    bool read_elsewhere();
    void note_read_over(bool may_have_written);
    bool must_leave_server() const noexcept;

    // What became of a COMMIT whose answer was lost (session_outcome.cpp).
    bool resolving() const noexcept { return mishap_ && mishap_->commit; }
    bool evidence_row(protocol::byte_view body);
    bool evidence_failed(std::string_view sqlstate);
    bool evidence_answered();
    bool only_evidence_owed() const noexcept;
    bool ask_outcome(const loss& facts);
    void outcome_asked();
    bool ask_outcome_later();
    bool ask_wal(const health::wal_question& question);
    bool outcome_answered();
    bool take_back_message();
    bool tell_committed(bool waits_for_standbys);
    bool waits_for_old_backend();
    void note_outcome(outcome_reason why);
    refusal outcome_words() const;

    bool send_made(const std::vector<std::byte>& frames);

    worker_core& worker_;
    std::unique_ptr<pool::stream> io_;
    pool::event_gate gate_;
    pool::inbound in_;
    pool::outbound out_;
    pool::server_connection* server_ = nullptr;
    pool::server_pool* pool_ = nullptr;
    session_facts facts_;
    request_relay requests_;
    std::unique_ptr<pool::server_connection> dedicated_;
    std::unique_ptr<pool::gate_timer> closing_timer_;
    std::unique_ptr<refusal> refusal_;
    std::unique_ptr<mishap> mishap_;         ///< null unless a server was lost, or says that it goes
    std::unique_ptr<client_limits> limits_;  ///< null: under no limit
    std::unique_ptr<catalog_survey> survey_;
    std::unique_ptr<subscription> listening_;  ///< null while the shared connection hears nothing for it
    std::unique_ptr<std::vector<std::optional<std::string>>> row_;  ///< the answer to our own query
    client_key key_;
    std::string peer_;
    config::time_point request_began_{};
    const std::uint32_t id_;
    const std::uint32_t connected_s_;  ///< when, in seconds of the worker's clock
    std::uint32_t want_ = 0;           ///< size of the client's message that is waited for
    std::uint32_t server_want_ = 0;    ///< and of the server's
    pin_set counted_pins_;
    pin_set told_pins_;           ///< by the log
    std::uint32_t taken_in_ = 0;  ///< the catalog's epoch when the server was taken
    session_phase phase_ = session_phase::login;
    request_relay::catalog_change catalog_change_ = request_relay::catalog_change::none;
    bool setting_up_ = false;  ///< for a request that has not been sent yet
    bool prepared_ = false;    ///< the server is set up: what is asked now follows a request
    // Asked for together.
    bool draining_ : 1 = false;
    bool half_closed_ : 1 = false;  ///< the client sends no more, and may still read
    bool too_many_owed_ : 1 = false;
    bool physical_ : 1 = false;  ///< replication of the physical kind
    bool local_ : 1 = false;     ///< over a Unix socket: TLS is not asked for
    bool reads_ : 1 = false;     ///< it has a standby_reader
    bool own_over_ = false;
    bool own_failed_ = false;
    bool own_ran_out_of_time_ = false;
    std::uint8_t own_repeats_ = 0;
    bool request_failed_ = false;
    std::uint8_t setups_lost_ = 0;  ///< servers that went while they were set up for this request
    bool committed_ = false;        ///< a transaction was, since ReadyForQuery
    /// What the last CommandComplete was of.
    protocol::transaction_end answered_end_ = protocol::transaction_end::unknown;
    bool server_said_goodbye_ = false;
    bool counted_active_ = false;
    bool reads_both_ = false;         ///< both streams are armed for reading and nothing else
    bool taken_for_request_ = false;  ///< the server holds nothing of requests before this one
    bool session_changed_ = false;    ///< by a part of this request that is committed
    bool replays_ = false;            ///< by its rules
    bool entered_failed_ = false;     ///< the server was put into the client's lost block for this request
    bool shown_ = false;              ///< the client has seen something of this request's answers
};

}  // namespace pgmend::proxy
