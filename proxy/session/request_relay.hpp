#pragma once
// Reads what a client sends, message by message, and puts it into the flight to its server: untouched where
// possible, under the server's own statement names where not, with what the server lacks sent ahead. It keeps
// the queue of owed replies and the session's facts. It decides; the session acts. Pure but for the buffers;
// one worker thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/metrics.hpp"
#include "pool/channel.hpp"
#include "pool/reply_pump.hpp"
#include "pool/server_connection.hpp"
#include "pool/traffic_stats.hpp"
#include "protocol/statement_classifier.hpp"
#include "proxy/servers/database_catalog.hpp"
#include "proxy/session/client_statements.hpp"
#include "proxy/session/commit_guard.hpp"
#include "proxy/session/replay_journal.hpp"
#include "proxy/session/session_facts.hpp"
#include "proxy/session/statement_tallies.hpp"

namespace pgmend::proxy {

/// Told of statements that change what servers are logged in to, or as whom.
class login_changes {
public:
    /// `text` is about to run and speaks of databases or roles.
    virtual void about_logins(std::string_view text) = 0;

protected:
    ~login_changes() = default;
};

/// What all sessions of one worker share for this.
struct relay_context {
    protocol::statement_store& statements;
    protocol::statement_classifier& classifier;
    protocol::parameter_store& parameters;
    config::metrics::cells& metrics;
    std::uint64_t& schema_epoch;  ///< rises with every DDL seen
    std::uint64_t& doubts;        ///< rises with every Parse that must not be shared
    std::size_t held_message;
    std::size_t client_statements;
    sequence_habits& habits;
    pool::leak_suspects& suspects;
    statement_tallies& tallies;
    login_changes* logins = nullptr;  ///< null: nobody wants to know
    commit_guard* guard = nullptr;    ///< null: what becomes of a lost COMMIT is not asked
};

enum class request_result : std::uint8_t {
    need_more,    ///< nothing more can be done with these bytes
    need_server,  ///< a message needs a server and there is none
    flight_full,  ///< send the flights and call again
    too_many,     ///< as many replies are owed as may be
    terminate,    ///< the client says good-bye
    violation,    ///< the client broke the protocol: `violation()` says how
};

struct request_step {
    request_result result;
    std::size_t consumed = 0;
    std::size_t want = 0;  ///< size of the message that is waited for
};

/// Whether a client that has asked for `request` needs none of `answer`, its beginning, when it gets another
/// answer from the beginning on, or an error: nothing in it is final, or news that is told once.
bool may_be_unsaid(const pool::gather& answer, const pool::request_record& request) noexcept;

class request_relay {
public:
    /// Fails at once, whatever else is true of the session: no block can have such a savepoint. What it
    /// leaves is a failed block with all of PostgreSQL's own behaviour.
    static constexpr std::string_view failing_block = "BEGIN; ROLLBACK TO SAVEPOINT pgmend_lost_block";

    request_relay(const relay_context& context, session_facts& facts) noexcept
        : context_(context), facts_(facts) {
        facts.habits = &context.habits;
    }

    /// Of the database the client is logged into; null: nothing is known of it.
    void use_catalog(database_catalog* catalog) noexcept { catalog_ = catalog; }
    database_catalog* catalog() const noexcept { return catalog_; }
    /// Where prepared statements are counted; null: nowhere.
    void use_traffic(pool::traffic_stats* traffic) noexcept { traffic_ = traffic; }
    /// Deals with `data`. `server` is null while the client has none; answers that need none go to
    /// `to_client`.
    request_step read(
        std::span<std::byte> data, pool::server_connection* server, pool::gather& to_server,
        pool::gather& to_client
    );

    /// Whether `data` begins with a whole message that surely needs a server. False does not say the
    /// opposite: `read` decides.
    bool begins_request(std::span<const std::byte> data) const noexcept {
        if (body_left_ != 0 || skip_to_sync_ || lost_block_ != lost_block::none || data.size() < 5)
            return false;
        const char type = static_cast<char>(data[0]);
        const std::size_t length = protocol::load_u32(data.data() + 1);
        return (type == 'Q' || type == 'B') && length >= 4 && length < data.size();
    }

    /// The request at the front cannot be carried out: consumes its first message (the rest of it as it
    /// arrives), and skips to the next Sync where it is of the extended protocol. Returns what was consumed.
    /// True in `needs_ready` when ReadyForQuery is to follow the error at once.
    std::size_t refuse_front(std::span<const std::byte> data, bool& needs_ready) noexcept;

    /// After too_many: whether it is worth trying again.
    bool may_go_on(const pool::server_connection& server) const noexcept {
        // What waits behind a COPY from the client waits in vain: see what is to become of it.
        if (undecided_ || server.owed.copying_in()) return true;
        return barrier_ == barrier::now ? server.owed.empty() : !server.owed.full();
    }
    /// Whether the rest of a request that was refused is still to come, or a block is still to be ended.
    bool mid_request() const noexcept {
        return body_left_ != 0 || skip_to_sync_ || lost_block_ != lost_block::none;
    }
    /// Whether the client stopped inside a message that has been forwarded in part.
    bool mid_message() const noexcept { return body_left_ != 0 && !body_discard_; }
    /// Whether what comes next begins with a message.
    bool at_message() const noexcept { return body_left_ == 0; }
    std::string_view violation() const noexcept { return violation_; }
    client_statements& statements() noexcept { return statements_; }
    /// Whether the client's group has a Flush that invented answers must obey.
    /// After too_many: only an answer of the server can decide it.
    bool waits_for_answers() const noexcept { return undecided_; }
    /// DEALLOCATE has succeeded.
    void deallocated();
    /// DEALLOCATE ALL or DISCARD ALL has.
    void all_deallocated();
    /// The server has skipped what was to give it a copy of the client's statement (`was_made`), or to take
    /// it away.
    void copy_skipped(std::string_view name, bool was_made) noexcept;
    /// The server has statements of this client's under its own names.
    bool materialized() const noexcept { return !materialized_.empty(); }
    bool take_flush() noexcept { return std::exchange(flush_seen_, false); }
    // What the request may have done so far, by what was sent of it.
    bool may_have_written() const noexcept { return may_have_written_; }
    bool commit_sent() const noexcept { return commits_sent_ != 0; }
    /// One COMMIT and nothing else that may commit was sent, nothing that commits was answered, and the
    /// client waits for that COMMIT and for nothing behind it.
    bool lone_commit(pool::server_connection& server) const noexcept;
    /// A group that has written outside of a block is all that is unanswered, nothing else of the request has
    /// written, and the server was asked about it ahead of its Sync.
    bool lone_write(pool::server_connection& server) const noexcept;
    /// What the request has written outside of a block is in a group whose Sync was not sent.
    bool write_open() const noexcept { return write_open_; }
    /// The Execute of what was bound last may commit.
    bool commits_next() const noexcept {
        return commits_sent_ != 0 ||
               (portal_ && protocol::has(portal_->traits.control, protocol::transaction_control::commit));
    }
    bool write_not_ended() const noexcept { return write_open_ && commits_sent_ == 0 && !may_survive_; }
    /// What PostgreSQL would answer to what is owed of it; empty where that is not known.
    std::vector<std::byte> commit_answer(pool::server_connection& server) const;
    /// What the client's names for prepared statements stand for, as far as the request has changed them.
    std::vector<name_journal::belief> names_now() { return names_.now(statements_); }
    /// A write was sent outside a transaction block: it commits by itself.
    bool wrote_outside() const noexcept { return wrote_outside_; }
    /// A failed block was gone back in to a savepoint, so that its COMMIT may be one.
    bool went_back() const noexcept { return went_back_; }
    /// Whether the client is inside a transaction block: by what it has sent, or, where an error was shown
    /// to it that its group has not ended yet (`failed`), by what was answered in front of that.
    bool block_open(pool::server_connection& server, bool failed) const noexcept;
    /// A statement of the client's was answered with this tag, or has failed; and the end of its group.
    void answered(std::string_view tag, protocol::transaction_end ends) noexcept;
    void failed(pool::server_connection& server) noexcept;
    void group_over() noexcept { answered_block_ = answered_block::as_before; }
    /// It holds something that an error does not undo: it may commit by itself, or acts elsewhere.
    bool may_survive() const noexcept { return may_survive_; }
    bool outside_effects() const noexcept { return outside_effects_; }
    void request_over() noexcept {
        may_have_written_ = may_survive_ = outside_effects_ = wrote_outside_ = commit_unguarded_ = false;
        write_open_ = end_asked_ = controls_group_ = false;
        commits_sent_ = 0;
        went_back_ = block_open_ = false;
        ends_ = protocol::transaction_end::unknown;
        statements_sent_ = 0;
        hazard_ = no_hazard;
        names_.clear();
        group_over();
    }
    /// The first reason, among what was sent of the request, why it must not be run again.
    std::optional<replay_hindrance> hazard() const noexcept {
        if (names_.full()) return replay_hindrance::not_recorded;
        if (hazard_ == no_hazard) return std::nullopt;
        return static_cast<replay_hindrance>(hazard_);
    }
    void note_hazard(std::optional<replay_hindrance> why) noexcept {
        if (hazard_ == no_hazard && why) hazard_ = static_cast<std::uint8_t>(*why);
    }
    /// Where the statement is counted that the client waits for first; 0 when it waits for none.
    statement_tallies::place awaited_tally(pool::server_connection& server) const;
    /// A COMMIT of it was sent whose outcome could not be found out, and that was counted.
    bool commit_unguarded() const noexcept { return commit_unguarded_; }
    /// Whether something that was sent of the request may keep it from being run again.
    bool unprotected() const noexcept { return hazard_ != no_hazard || wrote_outside_; }
    /// Statements of the request, as far as it was sent.
    std::uint32_t statements_sent() const noexcept { return statements_sent_; }
    /// The server is lost, and the last thing it answered was the end of a transaction (`transaction_end`).
    /// Takes ReadyForQuery for answered where nothing else is owed before it; says in `ready_owed` whether
    /// the client waits for it already, or has not sent its Sync yet. False when more was asked of the
    /// server.
    bool end_answered_group(pool::server_connection& server, bool& ready_owed);

    /// What the client still waits for when its server is lost, in order.
    struct unanswered {
        /// One for each ReadyForQuery: whether an error belongs in front of it.
        std::vector<bool> ends;
        /// Messages of the extended protocol whose Sync has not come: an error at once, the rest is skipped.
        bool open_group = false;
    };
    /// The server is lost: takes what is owed out of its queue, undoes what that did to the client's names,
    /// and skips what is still to come of it. `error_shown`: of the one in front.
    unanswered lose(pool::server_connection& server, pool::reply_sink& sink, bool error_shown);
    /// The same, but the client will be read again from the beginning of its request.
    void rewind(pool::server_connection& server, pool::reply_sink& sink);
    /// After `lose`: the client will be read again from the beginning of its request, of which something was
    /// answered. Returns what it takes to stop that half way.
    struct belief {
        std::vector<name_journal::belief> names;
        bool skips = false;  ///< what the client sends up to its next Sync
    };
    belief begin_again();
    /// The client will not be read again after all: goes back to what the client believes. `data` is what was
    /// sent of a message that it had begun, with what has come since; returns how much of that was consumed.
    std::size_t stand_by(belief what, std::span<const std::byte> data, bool begun) noexcept;

    /// The client believes in a transaction block that no server has: until it has ended it, it must get
    /// nothing but errors, and ReadyForQuery says so.
    enum class lost_block : std::uint8_t {
        none,
        untold,            ///< and the client does not know yet that it has failed
        changed_untold,    ///< the same; it was run again, and an answer came out otherwise
        cancelled_untold,  ///< the same; the client has cancelled it while it waited for us
        failed_untold,     ///< it knows that it has failed, but not that no savepoint is left
        told,
    };
    lost_block block() const noexcept { return lost_block_; }
    void set_block(lost_block now) noexcept { lost_block_ = now; }
    /// The kind of the statement in front, when it is a simple Query that is here as a whole.
    protocol::statement_kind kind_in_front(std::span<const std::byte> data) const;
    /// The server was asked what the request has left in it. Returns whether its statement is the one that
    /// leaks, for the first time.
    bool judge_suspect(pool::server_connection& server, bool left);
    /// Whether one of these whole messages of the client's, or a prepared statement they name, speaks of READ
    /// ONLY in whatever way.
    bool speaks_of_read_only(protocol::byte_view messages) noexcept;
    /// Whether the message in front begins a transaction block and more is here behind it than its Sync.
    bool begins_block(std::span<const std::byte> data) const;
    /// Why a standby may not carry out `data`; nothing where it may: it is one SELECT, or one group of them,
    /// as a whole, and nothing stands behind it.
    std::optional<config::metrics::read_route> what_keeps_at_primary(protocol::byte_view data);
    /// What the request did to the catalog, told once.
    enum class catalog_change : std::uint8_t {
        none,
        changed,       ///< DDL after which statements may reach what they could not reach before
        used_changed,  ///< and other statements came behind it
    };
    catalog_change take_catalog_change() noexcept {
        return std::exchange(catalog_change_, catalog_change::none);
    }

private:
    /// Most that is made for one message, injected texts apart.
    static constexpr std::size_t made_bytes = 2048;
    /// Never the name of a shared statement: those are numbered from one.
    static constexpr std::string_view spare_name = "pgmend_0";
    enum class outcome : std::uint8_t { done, wait_whole, stop };
    static constexpr std::uint8_t many_commits = 255;

    request_step read_messages();
    bool names_statement() const noexcept;
    outcome message();
    request_step lost_in_copy();
    outcome without_server();
    outcome query();
    outcome parse();
    outcome bind();
    outcome describe();
    outcome close();
    outcome execute();
    outcome forward(protocol::reply_kind kind);
    outcome forward_plain();
    outcome stop(request_result result) noexcept {
        result_ = result;
        return outcome::stop;
    }
    outcome violate(std::string_view why) noexcept {
        violation_ = why;
        return stop(request_result::violation);
    }

    bool whole() const noexcept { return data_.size() - at_ >= size_; }
    protocol::byte_view body() const noexcept {
        return data_.subspan(at_ + 5, std::min(size_, data_.size() - at_) - 5);
    }
    void pass_through();
    void pass_body(std::size_t from);
    void close_run() noexcept;
    pool::gather& server_flight() noexcept;
    protocol::owed_reply& owe(
        protocol::reply_kind kind, protocol::reply_action action = protocol::reply_action::forward
    ) {
        return server_->owed.push(kind, action);
    }
    void pass_rest(std::size_t skipped);
    void discard_message();
    enum class provided : std::uint8_t {
        ready,    ///< the server has it, or will when the message comes there
        wait,     ///< that is not known yet: wait for answers
        changed,  ///< its result is not what clients were told, and this one would not be told now
    };
    provided provide(const protocol::statement_ref& statement, bool named, bool told);
    bool described_ahead() const noexcept;
    void inject(const std::vector<std::byte>& frames);
    outcome force_error(protocol::substitute_error error);
    struct parse_parts {
        std::string_view name;
        std::string_view text;
        protocol::byte_view types;
    };
    bool split_parse(parse_parts& parts) const noexcept;
    outcome parse_shared(std::string_view name, const protocol::statement_ref& statement);
    outcome parse_oversize();
    bool parse_without_server();
    void probe_name(const parse_parts& parts);
    outcome duplicate(protocol::client_statement& entry, std::string_view text, protocol::byte_view types);
    static constexpr protocol::session_effect speaks_of_statements = protocol::session_effect::sql_prepare |
                                                                     protocol::session_effect::sql_execute |
                                                                     protocol::session_effect::sql_deallocate;
    bool names_provided(const protocol::statement_ref& statement) {
        return !protocol::has(statement->traits.effects, speaks_of_statements) || provide_names(*statement);
    }
    bool provide_names(const protocol::prepared_statement& statement);
    bool failure_may_be_over() const noexcept;
    /// Whether what is sent now fails, unless it ends the transaction.
    bool surely_failed() const noexcept {
        return server_->status == protocol::transaction_status::failed && !failure_left_;
    }
    void keep_copies(std::string_view text);
    void materialize(std::string_view text, protocol::reply_action action);
    void leave_failure(bool chained);
    void return_to_failure(bool chained);
    void dematerialize();
    void forget_sequences(protocol::reply_action action);
    void announce_channels();
    protocol::statement_traits classify(std::string_view text) const noexcept;
    std::optional<config::metrics::read_route> what_keeps(std::string_view text) const noexcept;
    const protocol::statement_traits& traits_of(const protocol::statement_ref& statement) const;
    void note_schema(const protocol::statement_traits& traits, std::string_view text);
    protocol::scan_settings scan() const noexcept;
    protocol::parse_conditions conditions() const noexcept;
    void note(const protocol::statement_traits& traits, std::string_view text, std::uint64_t shape);
    void tally_new(std::string_view text, std::uint64_t shape);
    void blame(replay_hindrance why) noexcept;
    void note_write(const protocol::statement_traits& traits);
    void note_call();
    std::uint64_t shape_of(const protocol::statement_ref& statement) const;
    void evict();
    void count_parse(config::metrics::parse_route route) noexcept;
    bool depends_on_answers(std::string_view name, const protocol::client_statement* known);
    bool names_undecided(std::string_view text);
    outcome wait_for_answers() noexcept {
        undecided_ = true;
        return stop(request_result::too_many);
    }

    const relay_context& context_;
    session_facts& facts_;
    client_statements statements_;
    database_catalog* catalog_ = nullptr;
    pool::traffic_stats* traffic_ = nullptr;
    protocol::statement_ref portal_;  ///< what the unnamed portal was made from
    std::size_t body_left_ = 0;       ///< of a message under way that is only passed on
    bool body_discard_ = false;
    bool skip_to_sync_ = false;  ///< a request was refused: PostgreSQL would skip to Sync
    bool flush_seen_ = false;
    /// A statement is under way that forgets prepared statements by the server's word: what comes behind it
    /// waits until that word is known. From the next Sync on when it is of the extended protocol.
    enum class barrier : std::uint8_t { none, after_sync, now };
    barrier barrier_ = barrier::none;
    bool undecided_ = false;  ///< a message waits until an earlier group has told what a name stands for
    std::uint8_t commits_sent_ = 0;  ///< or `many_commits`, also where something else may commit
    // One byte: all are false again when the request is over.
    bool may_have_written_ : 1 = false;
    bool may_survive_ : 1 = false;
    bool outside_effects_ : 1 = false;
    bool wrote_outside_ : 1 = false;
    bool commit_unguarded_ : 1 = false;  ///< and that was counted
    bool write_open_ : 1 = false;        ///< the first write outside of a block is in the group that is open
    bool end_asked_ : 1 = false;         ///< the server was asked ahead of the Sync that ended that group
    bool controls_group_ : 1 = false;    ///< what begins or ends transactions was sent since the last Sync
    // And another.
    bool went_back_ : 1 = false;
    bool block_open_ : 1 = false;    ///< by what was sent, while something is owed
    bool failure_left_ : 1 = false;  ///< what may end a failed block was sent, while something is owed
    /// What the answers of the group under way have made of the transaction block.
    enum class answered_block : std::uint8_t { as_before, open, over };
    answered_block answered_block_ : 2 = answered_block::as_before;
    void note_blocks(const protocol::statement_traits& traits) noexcept;
    // request_evidence.cpp
    void note_commit(const protocol::statement_traits& traits) noexcept;
    void note_written(const protocol::statement_traits& traits, std::string_view text) noexcept;
    void note_control(const protocol::statement_traits& traits) noexcept;
    void prepare_evidence();
    bool block_is_known() const noexcept;
    std::optional<config::metrics::evidence_gap> evidence_gap_now() const;
    std::optional<config::metrics::evidence_gap> group_gap_now() const;
    void note_gap();
    void ask_evidence();
    bool ask_for_number(std::uint32_t group);
    bool guards_group() const noexcept;
    bool ends_write();
    bool write_waits();
    bool controls_wait(const protocol::statement_traits& traits);
    /// Whether the statement that comes next is not to be sent yet.
    bool waits_for_evidence(const protocol::statement_traits& traits) {
        if (context_.guard == nullptr) return false;
        if (traits.control != protocol::transaction_control::none) return controls_wait(traits);
        return !traits.read_only && write_waits();
    }
    bool evidence_is_next() const noexcept;
    bool begins_surely() const noexcept;
    protocol::transaction_end ends_ = protocol::transaction_end::unknown;  ///< of the statement noted last
    /// Packed: an idle client is to be small.
    static constexpr std::uint8_t no_hazard = 0xff;
    std::uint8_t hazard_ = no_hazard;  ///< else a replay_hindrance
    lost_block lost_block_ = lost_block::none;
    catalog_change catalog_change_ = catalog_change::none;
    std::string_view violation_;

    // Of the call under way.
    std::span<std::byte> data_;
    std::size_t at_ = 0;
    std::size_t run_ = 0;  ///< begin of what goes on as it is and is not in the flight yet
    std::size_t size_ = 0;
    char type_ = 0;
    request_result result_ = request_result::need_more;
    bool portal_forgets_ = false;        ///< a named portal of this group forgets statements when it runs
    std::uint32_t statements_sent_ = 0;  ///< of the request
    name_journal names_;
    pool::server_connection* server_ = nullptr;
    pool::gather* to_server_ = nullptr;
    pool::gather* to_client_ = nullptr;
    std::vector<std::vector<std::byte>> long_frames_;  ///< made for this flight, too long for its own store
    /// A statement of the client's that the server was given for SQL, under the client's own name.
    struct server_copy {
        std::string name;
        bool holds = false;       ///< it still is what the client means by the name
        bool full = false;        ///< it can be run, and is not empty
        bool uncertain = false;   ///< the name may be SQL's when the copy is taken back: the answers tell
        bool for_portal = false;  ///< a named portal may look for it up to the end of its transaction
    };
    server_copy* copy_of(std::string_view name) noexcept;
    void close_copy(protocol::client_statement& entry);
    void take_back_copies();
    void expect_deallocations(std::string_view text);
    std::vector<server_copy> materialized_;
    std::vector<std::string> deallocating_;  ///< names of SQL's DEALLOCATEs that were sent
};

}  // namespace pgmend::proxy
