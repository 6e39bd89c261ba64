#pragma once
// Which prepared statements one server connection has, least recently used first to go. It follows what was
// sent, and knows what is certain: a Parse that was sent may yet be skipped together with its group (HEALING
// section 5). Pure; one worker thread.

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
    uncertain,  ///< its Parse is under way in an earlier group, which may fail
};

class server_statements {
public:
    explicit server_statements(std::size_t limit) noexcept : limit_(limit) {}

    /// What a message of `group` will find; what is there is now the most recently used.
    statement_presence use(std::uint64_t id, std::uint32_t group) {
        if (!order_.empty() && order_.back().id == id) return presence(order_.back(), group);
        const auto it = places_.find(id);
        if (it == places_.end()) return statement_presence::absent;
        order_.splice(order_.end(), order_, it->second);
        return presence(*it->second, group);
    }
    /// A Parse of it is sent in `group`.
    void insert(std::uint64_t id, std::uint32_t group) {
        erase(id);
        places_.emplace(id, order_.insert(order_.end(), {id, group, false}));
    }
    /// That Parse was carried out.
    void confirm(std::uint64_t id) {
        const auto it = places_.find(id);
        if (it != places_.end()) it->second->certain = true;
    }
    /// That Parse was skipped, and no later one was sent.
    void skipped(std::uint64_t id, std::uint32_t group) {
        const auto it = places_.find(id);
        if (it != places_.end() && it->second->group == group && !it->second->certain) erase(id);
    }
    /// A Close of it was skipped: it is still there.
    void still_there(std::uint64_t id) {
        if (places_.contains(id)) return;
        places_.emplace(id, order_.insert(order_.begin(), {id, 0, true}));
    }
    /// The one to close before another is added; none while there is room. It is forgotten here.
    std::optional<std::uint64_t> evict() {
        if (order_.size() < limit_) return std::nullopt;
        const std::uint64_t id = order_.front().id;
        erase(id);
        return id;
    }
    /// After DISCARD ALL or DEALLOCATE ALL.
    void clear() noexcept {
        order_.clear();
        places_.clear();
        unnamed_ = {};
    }
    std::size_t size() const noexcept { return order_.size(); }
    static std::string name_of(std::uint64_t id) {
        return std::string{protocol::server_name_prefix} + std::to_string(id);
    }

    /// The same for the server's unnamed statement, which a new Parse simply replaces.
    bool unnamed_is(std::uint64_t id, std::uint32_t group) const noexcept {
        return unnamed_.id == id && presence(unnamed_, group) != statement_presence::uncertain;
    }
    void set_unnamed(std::uint64_t id, std::uint32_t group) noexcept { unnamed_ = {id, group, false}; }
    void confirm_unnamed(std::uint64_t id) noexcept {
        unnamed_.certain = unnamed_.certain || unnamed_.id == id;
    }
    /// After a simple Query, or when it is not known.
    void drop_unnamed() noexcept { unnamed_ = {}; }

private:
    struct entry {
        std::uint64_t id = 0;
        std::uint32_t group = 0;
        bool certain = false;
    };
    static statement_presence presence(const entry& what, std::uint32_t group) noexcept {
        if (what.certain) return statement_presence::present;
        return what.group == group ? statement_presence::pending : statement_presence::uncertain;
    }
    void erase(std::uint64_t id) {
        const auto it = places_.find(id);
        if (it == places_.end()) return;
        order_.erase(it->second);
        places_.erase(it);
    }

    std::list<entry> order_;
    std::unordered_map<std::uint64_t, std::list<entry>::iterator> places_;
    std::size_t limit_;
    entry unnamed_;
};

}  // namespace pgmend::pool
