#pragma once
// Which prepared statements one server connection has, least recently used first to go. It follows what was
// sent, and knows what is certain: a Parse or a Close that was sent may yet be skipped together with its
// group (HEALING section 5). What was sent last counts until everything sent of a statement is answered; then
// the answers alone count. Pure; one worker thread.

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocol/statement_store.hpp"

namespace pgmend::pool {

/// What may be relied on by a message of a certain group.
enum class statement_presence : std::uint8_t {
    absent,
    present,
    pending,    ///< its Parse stands before this message in the same group: done or skipped together
    uncertain,  ///< its Parse or Close is under way in an earlier group, which may fail
    unchecked,  ///< present, but whether its result is the one clients were told is being asked
    changed,    ///< present, with another result than clients were told
};

class server_statements {
public:
    explicit server_statements(std::size_t limit) noexcept : limit_(limit) {}

    /// What a message of `group` will find; what is there is now the most recently used.
    statement_presence use(std::uint64_t id, std::uint32_t group) {
        if (id != last_id_) {
            const auto it = places_.find(id);
            if (it == places_.end()) return statement_presence::absent;
            last_ = &it->second;
            last_id_ = id;
        }
        const place& found = *last_;
        if (found.expected && order_.back() != id) order_.splice(order_.end(), order_, found.at);
        if (found.unanswered > 0 && found.group != group) return statement_presence::uncertain;
        if (!found.expected) return statement_presence::absent;
        if (found.result != statement_presence::present) return found.result;
        return found.unanswered > 0 ? statement_presence::pending : statement_presence::present;
    }
    /// A Parse of it is sent in `group`.
    void insert(std::uint64_t id, std::uint32_t group) {
        place& sent = send(id, group);
        expect(sent, id, false);
        expect(sent, id, true);  // also a use
        sent.result = statement_presence::present;
    }
    /// Behind its Parse the server is asked what its result is like now.
    void check(std::uint64_t id) { places_[id].result = statement_presence::unchecked; }
    /// It has told: whether that is what clients were told.
    void checked(std::uint64_t id, bool same) {
        const auto it = places_.find(id);
        if (it == places_.end()) return;
        it->second.result = same ? statement_presence::present : statement_presence::changed;
    }
    /// A Close of it is sent in `group`.
    void close(std::uint64_t id, std::uint32_t group) { expect(send(id, group), id, false); }
    /// The one to close in `group` before another is added; none while there is room.
    std::optional<std::uint64_t> evict(std::uint32_t group) {
        if (order_.size() < limit_) return std::nullopt;
        const std::uint64_t id = order_.front();
        close(id, group);
        return id;
    }
    /// The oldest unanswered Parse of it was carried out.
    void confirm(std::uint64_t id) { answered(id, true); }
    /// The oldest unanswered Close of it was carried out.
    void closed(std::uint64_t id) { answered(id, false); }
    /// The latest unanswered Parse or Close of it was skipped.
    void skipped(std::uint64_t id) { answered(id, std::nullopt); }
    /// DISCARD ALL or DEALLOCATE ALL was carried out: what was sent behind it is yet to come.
    void clear() noexcept {
        order_.remove_if([this](std::uint64_t id) { return places_.at(id).unanswered == 0; });
        for (auto it = places_.begin(); it != places_.end();) {
            it->second.there = false;
            it = it->second.unanswered == 0 ? places_.erase(it) : std::next(it);
        }
        unnamed_ = {};
        last_id_ = 0;
    }
    std::size_t size() const noexcept { return order_.size(); }
    /// One goes for each that comes: who has more than the limit keeps as many.
    void set_limit(std::size_t limit) noexcept { limit_ = limit; }
    static std::string name_of(std::uint64_t id) {
        return std::string{protocol::server_name_prefix} + std::to_string(id);
    }

    /// The same for the server's unnamed statement, which a new Parse simply replaces.
    bool unnamed_is(std::uint64_t id, std::uint32_t group) const noexcept {
        return unnamed_.id == id && (unnamed_.certain || unnamed_.group == group);
    }
    void set_unnamed(std::uint64_t id, std::uint32_t group) noexcept { unnamed_ = {id, group, false}; }
    void confirm_unnamed(std::uint64_t id) noexcept {
        unnamed_.certain = unnamed_.certain || unnamed_.id == id;
    }
    /// After a simple Query, or when it is not known.
    void drop_unnamed() noexcept { unnamed_ = {}; }

private:
    struct place {
        std::list<std::uint64_t>::iterator at;  ///< in order_, while expected
        std::uint32_t group = 0;                ///< of what was sent last
        std::uint32_t unanswered = 0;           ///< Parses and Closes
        bool expected = false;                  ///< there once all that was sent is carried out
        bool there = false;                     ///< by the server's own answers
        statement_presence result = statement_presence::present;  ///< or unchecked, or changed
    };
    struct unnamed_place {
        std::uint64_t id = 0;
        std::uint32_t group = 0;
        bool certain = false;
    };

    place& send(std::uint64_t id, std::uint32_t group) {
        place& sent = places_[id];
        sent.group = group;
        ++sent.unanswered;
        return sent;
    }
    void expect(place& where, std::uint64_t id, bool expected) {
        if (where.expected == expected) return;
        where.expected = expected;
        if (expected) {
            where.at = order_.insert(order_.end(), id);
        } else {
            order_.erase(where.at);
        }
    }
    void answered(std::uint64_t id, std::optional<bool> there) {
        const auto it = places_.find(id);
        if (it == places_.end()) return;
        place& found = it->second;
        found.there = there.value_or(found.there);
        if (found.unanswered > 0) --found.unanswered;
        if (found.unanswered > 0) return;
        const bool again = found.there && !found.expected;
        expect(found, id, found.there);
        if (again)
            order_.splice(order_.begin(), order_, found.at);  // it was to go, and is the first to go now
        if (found.there) return;
        places_.erase(it);
        last_id_ = 0;
    }

    std::list<std::uint64_t> order_;
    std::unordered_map<std::uint64_t, place> places_;
    std::uint64_t last_id_ = 0;  ///< asked for last; no statement has the number 0
    const place* last_ = nullptr;
    std::size_t limit_;
    unnamed_place unnamed_;
};

}  // namespace pgmend::pool
