#pragma once
// What a server has said of the transaction that a client has open there, so that its outcome can be found
// out when the answer to its COMMIT is lost (HEALING section 7), and what is known of the server's present
// life. It belongs to the connection; null there until a block is opened while guard.commit_outcome is on.
// Pure; one worker thread.

#include <cstdint>
#include <string>
#include <string_view>

#include "config/environment.hpp"
#include "protocol/statement_traits.hpp"

namespace pgmend::pool {

/// By what a server shows that it is the same one, and has not recovered from a crash: every recovery ends
/// with a checkpoint, and every start of the whole server has its own time.
struct server_life {
    std::string system;      ///< its identifier
    std::string start;       ///< of the postmaster, in microseconds
    std::string timeline;    ///< that it writes to, in hexadecimal digits
    std::string checkpoint;  ///< where the last one is recorded
    std::string redo;        ///< where recovery would begin from it
};

class commit_evidence {
public:
    // Of the connection.
    server_life life;
    config::time_point life_read{};  ///< or that it could not be had
    bool life_known = false;

    // The group of messages of ours that is under way, at most one.
    bool asked = false;
    bool asked_life = false;  ///< it asks for `life`
    bool in_group = false;    ///< it stands in front of the client's own Sync, which commits
    std::uint32_t group = 0;  ///< its number in the queue of replies

    // Of the block.
    bool due = false;   ///< something was sent that may have written, and nobody was asked since
    std::string xid;    ///< of the transaction; empty: none is known
    std::string lsn;    ///< a place in the WAL behind its first record
    std::string token;  ///< that the record which ends there says, and no other
    /// It had no number when everything that may have written was answered.
    bool none_yet = false;

    /// A group of ours is sent, as number `number` of the queue.
    void ask(std::uint32_t number, bool for_life) noexcept {
        asked = true;
        asked_life = for_life;
        in_group = false;
        group = number;
        asked_in_ = block_;
        none_yet = false;
        if (!for_life) due = false;
    }
    /// The same, inside the group of the client's that is open, whose Sync ends the transaction: what is sent
    /// from here on belongs to another one.
    void ask_in_group(std::uint32_t number) noexcept {
        ask(number, false);
        in_group = true;
        seal();
    }
    /// That group was answered.
    void group_over() noexcept {
        asked = false;
        if (still_meant()) new_block();
    }
    /// Whether what the group asked for is about the block that is open now.
    bool still_meant() const noexcept { return asked_in_ == block_; }

    /// A request begins; nothing is under way.
    void begin_request() noexcept {
        if (asked && asked_life) life_read = {};
        asked = false;
        new_block();
    }
    /// A statement that begins or ends transactions is sent, in group `number` of the queue.
    void new_block(std::uint32_t number) noexcept {
        opened_in_ = number;
        new_block();
    }
    /// Whether that was answered, where group `front` is the next to be.
    bool begun(std::uint32_t front) const noexcept {
        return static_cast<std::int32_t>(front - opened_in_) > 0;
    }
    /// What was answered was not about an open transaction.
    void answer_is_void() noexcept {
        xid.clear();
        none_yet = false;
        due = true;
    }
    /// Something may have been written in this block, and its end was not sent: a BEGIN here is only a
    /// warning.
    bool under_way() const noexcept { return !sealed_ && (due || other_ || asked || !xid.empty()); }
    /// A COMMIT was sent: what is sent from here on belongs to another transaction.
    void seal() noexcept { sealed_ = true; }
    bool sealed() const noexcept { return sealed_; }
    /// A statement was sent that may write. `certain_number`: where it has written anything, the transaction
    /// has a number. `later`: the server must not be asked right behind it, as it may read copy data then, or
    /// has no snapshot yet. `settled`: everything before it was answered.
    void written(bool certain_number, bool later, bool settled) noexcept {
        if (settled) waits_ = false;
        waits_ = waits_ || later;
        other_ = other_ || !certain_number;
        none_yet = false;
        due = true;
    }
    /// Whether the server may be asked now, behind what was sent.
    bool may_ask(bool settled) noexcept {
        if (settled) waits_ = false;
        return due && !asked && life_known && xid.empty() && !waits_ && !sealed_;
    }
    /// A transaction without a number has nothing to commit.
    bool nothing_written() const noexcept { return none_yet && !due && !other_ && xid.empty(); }

private:
    void new_block() noexcept {
        ++block_;
        due = waits_ = other_ = sealed_ = none_yet = false;
        xid.clear();
    }

    std::uint32_t block_ = 0;
    std::uint32_t asked_in_ = 0;
    std::uint32_t opened_in_ = 0;
    bool waits_ = false;
    bool other_ = false;
    bool sealed_ = false;
};

}  // namespace pgmend::pool
