#pragma once
// Which prepared statements one server connection has, least recently used first to go. It follows what was
// sent; what the server then skipped is taken back (HEALING section 5). Pure; one worker thread.

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "protocol/statement_store.hpp"

namespace pgmend::pool {

class server_statements {
public:
    explicit server_statements(std::size_t limit) noexcept : limit_(limit) {}

    /// Whether the server has it; if so it is now the most recently used.
    bool use(std::uint64_t id) {
        const auto it = places_.find(id);
        if (it == places_.end()) return false;
        order_.splice(order_.end(), order_, it->second);
        return true;
    }
    void insert(std::uint64_t id) {
        if (use(id)) return;
        places_.emplace(id, order_.insert(order_.end(), id));
    }
    void erase(std::uint64_t id) {
        const auto it = places_.find(id);
        if (it == places_.end()) return;
        order_.erase(it->second);
        places_.erase(it);
    }
    /// The one to close before another is added; none while there is room. It is forgotten here.
    std::optional<std::uint64_t> evict() {
        if (order_.size() < limit_) return std::nullopt;
        const std::uint64_t id = order_.front();
        erase(id);
        return id;
    }
    /// After DISCARD ALL or DEALLOCATE ALL.
    void clear() noexcept {
        order_.clear();
        places_.clear();
        unnamed_ = 0;
    }
    std::size_t size() const noexcept { return order_.size(); }
    static std::string name_of(std::uint64_t id) {
        return std::string{protocol::server_name_prefix} + std::to_string(id);
    }

    /// The statement the server's unnamed one was made from; 0 when unknown or none.
    std::uint64_t unnamed() const noexcept { return unnamed_; }
    void set_unnamed(std::uint64_t id) noexcept { unnamed_ = id; }

private:
    std::list<std::uint64_t> order_;
    std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> places_;
    std::size_t limit_;
    std::uint64_t unnamed_ = 0;
};

}  // namespace pgmend::pool
