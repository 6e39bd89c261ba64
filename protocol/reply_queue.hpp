#pragma once
// What a server still owes, in order, and what becomes of each answer: forwarded, swallowed, invented or put
// in other words (HEALING section 5). It also says when the server is at a safe point. Pure; one worker
// thread.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocol/message_type.hpp"
#include "protocol/statement_store.hpp"

namespace pgmend::protocol {

/// The message that is to be answered.
enum class reply_kind : std::uint8_t {
    parse,
    bind,
    describe,
    execute,
    close,
    sync,           ///< answered by ReadyForQuery
    query,          ///< simple Query; ends with ReadyForQuery
    function_call,  ///< ends with ReadyForQuery
    copy_end,       ///< CopyDone or CopyFail of the client: no answer of its own, a mark in the order
};

enum class reply_action : std::uint8_t {
    forward,     ///< the client asked, the client gets it
    swallow,     ///< we asked on the client's behalf; an error of it is the client's all the same
    own,         ///< we asked for ourselves; nothing of it is the client's
    synthesize,  ///< the server was not asked: we answer when its turn comes
    substitute,  ///< sent so that it fails where the client's message would have: the error gets other words
    drop,        ///< the client that asked is gone
};

/// Words for a `substitute`.
enum class substitute_error : std::uint8_t {
    none,
    duplicate_statement,  ///< a forwarded Parse under a spare name that is taken
    no_unnamed_statement,
    unknown_statement,
    too_many_statements,
    changed_result,  ///< the statement's table has changed since it was described
    malformed,
};

/// What is made of the answer to a Describe, besides what becomes of it.
enum class description : std::uint8_t {
    unread,
    told,     ///< it is remembered what clients are told of the statement's result
    checked,  ///< it is compared with what they were told
};

/// A client's name for a prepared statement, and what it stands for; empty once it was closed.
class client_statement {
public:
    explicit client_statement(std::string name) : name_(std::move(name)) {}
    const std::string& name() const noexcept { return name_; }
    statement_ref statement;

private:
    std::string name_;
};

/// What a message leaves behind when it has ended its transaction for good, or has begun one.
enum class transaction_end : std::uint8_t {
    unknown,      ///< neither, or more comes behind that, or nobody looked
    idle,         ///< COMMIT, PREPARE TRANSACTION
    chained,      ///< AND CHAIN: the next transaction
    rolled_back,  ///< ROLLBACK; other statements of a simple Query may stand beside it
    begun,        ///< BEGIN
};

struct owed_reply {
    reply_kind kind = reply_kind::sync;
    reply_action action = reply_action::forward;
    substitute_error error = substitute_error::none;
    /// A Parse that reached the server under the statement's shared name, not as the unnamed one; a Close of
    /// a client's name, known or not.
    bool named_on_server = false;
    description answer = description::unread;
    bool of_portal = false;  ///< a Describe
    bool failed = false;     ///< the error was this message's own; those behind it were skipped
    transaction_end ends = transaction_end::unknown;
    std::uint32_t group = 0;    ///< of messages between two Syncs; given by the queue
    std::uint32_t tally = 0;    ///< of a Query or Execute: where whoever sent it counts the statement
    std::uint64_t evicted = 0;  ///< a Close of ours: the statement it was to take from the server
    statement_ref statement;
    /// The client's name for it; and, for Parse and Close, what it stood for before, to be restored if the
    /// server skips the message.
    client_statement* client = nullptr;
    statement_ref previous;
};

class reply_queue {
public:
    explicit reply_queue(std::size_t limit) : limit_(limit) {}

    /// A message that is to be answered goes to the server. What else is to be known of it is filled in by
    /// the caller, before the next call.
    owed_reply& push(reply_kind kind, reply_action action = reply_action::forward) {
        if (count_ == ring_.size()) grow();
        owed_reply& reply = at(count_++);
        reply.kind = kind;
        reply.action = action;
        reply.error = substitute_error::none;
        reply.named_on_server = reply.failed = reply.of_portal = false;
        reply.answer = description::unread;
        reply.ends = transaction_end::unknown;
        reply.group = group_;
        reply.evicted = 0;
        reply.client = nullptr;
        switch (kind) {
            case reply_kind::parse:
            case reply_kind::bind:
            case reply_kind::describe:
            case reply_kind::execute:
            case reply_kind::close:
                group_open_ = true;
                break;
            case reply_kind::sync:
                group_open_ = false;
                skipping_ = false;
                ++group_;
                break;
            case reply_kind::query:
            case reply_kind::function_call:
                ++group_;
                break;
            case reply_kind::copy_end:
                break;
        }
        return reply;
    }
    bool empty() const noexcept { return count_ == 0; }
    bool full() const noexcept { return count_ >= limit_; }
    void set_limit(std::size_t limit) noexcept { limit_ = limit; }
    std::size_t size() const noexcept { return count_; }
    owed_reply& front() noexcept { return ring_[first_]; }
    /// Whether the next answer is ours to give, without the server.
    bool ours_is_next() const noexcept {
        return count_ != 0 && ring_[first_].action == reply_action::synthesize;
    }
    owed_reply& at(std::size_t index) noexcept { return ring_[(first_ + index) & (ring_.size() - 1)]; }

    /// The front has been answered; removes it, and copy marks that now stand in front.
    void pop() noexcept {
        drop_front();
        while (count_ != 0 && front().kind == reply_kind::copy_end) {
            drop_front();
        }
    }
    /// An error in the extended protocol: the server skips everything up to the next Sync. Calls both for
    /// each skipped entry, the latest first: `skipped` as it was sent, `undone` with what is left to undo of
    /// the client's names.
    template <class Skipped, class Undone>
    void skip_to_sync(Skipped&& skipped, Undone&& undone) {
        std::size_t end = 0;
        while (end < count_ && at(end).kind != reply_kind::sync) {
            ++end;
        }
        for (std::size_t i = end; i-- > 0;) {
            skipped(std::as_const(at(i)));
            hand_down(at(i), end);
            undone(at(i));
        }
        while (end-- > 0) {
            drop_front();
        }
        skipping_ = empty();
        end_copy();
    }
    /// CopyInResponse for the front: the server now ignores Sync until the copy ends, also those sent
    /// already.
    void begin_copy_in();
    /// The copy is over by the server's word (CommandComplete or an error).
    void end_copy() noexcept;
    /// A Sync goes to the server while it copies in: ignored, unless the copy has failed by then.
    void sync_in_copy() noexcept { dropped_syncs_ = true; }
    /// The client's CopyDone or CopyFail goes to the server.
    void push_copy_end();
    /// ReadyForQuery; returns false when it answers nothing that is owed.
    bool ready() noexcept {
        skipping_ = false;
        if (empty()) return in_doubt_;
        const reply_kind kind = front().kind;
        if (kind != reply_kind::sync && kind != reply_kind::query && kind != reply_kind::function_call)
            return false;
        pop();
        if (empty()) group_open_ = false;
        return true;
    }

    /// The messages of an extended group have all been answered, and its Sync will not come here. False when
    /// the queue owes something, or skips.
    bool end_group() noexcept {
        if (!empty() || skipping_ || copying_in_) return false;
        group_open_ = false;
        return true;
    }

    /// True while the server reads copy data and drops Sync.
    bool copying_in() const noexcept { return copying_in_; }
    /// An error came while it is unknown whether a Sync was still ignored: one more ReadyForQuery may come.
    bool in_doubt() const noexcept { return in_doubt_; }
    void error_during_copy() noexcept { in_doubt_ = in_doubt_ || dropped_syncs_; }
    /// Nothing owed, no extended group without its Sync, nothing being skipped: after ReadyForQuery the
    /// server is at a point where it may change hands.
    bool settled() const noexcept { return empty() && !group_open_ && !skipping_ && !copying_in_; }
    bool group_open() const noexcept { return group_open_ || skipping_; }
    bool skipping() const noexcept { return skipping_; }
    /// Whether a message of an earlier group, not yet answered, may change what `client` (null: the unnamed
    /// statement) stands for: then nothing that depends on it can be decided.
    bool undecided(const client_statement* client) noexcept;
    /// Messages between two Syncs are done or skipped together.
    std::uint32_t group() const noexcept { return group_; }
    /// The client is gone: nothing is forwarded any more, its map is not touched.
    void orphan() noexcept;

private:
    void drop_front() noexcept {
        owed_reply& gone = ring_[first_];
        gone.statement.reset();
        gone.previous.reset();
        first_ = (first_ + 1) & (ring_.size() - 1);
        --count_;
    }
    void grow();
    void hand_down(owed_reply& skipped, std::size_t from);
    void shrink(std::size_t kept);

    std::vector<owed_reply> ring_;  ///< entries that are not owed refer to no statement
    std::size_t first_ = 0;
    std::size_t count_ = 0;
    std::size_t limit_;
    std::uint32_t group_ = 0;
    bool group_open_ = false;
    bool skipping_ = false;
    bool copying_in_ = false;
    bool dropped_syncs_ = false;
    bool in_doubt_ = false;
};

}  // namespace pgmend::protocol
