#pragma once
// One client's prepared statements of the protocol, by its own names. Names are changed when a message is
// sent and changed back when the server skips it, so that the map follows what was really executed. Pure; one
// worker thread.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "protocol/reply_queue.hpp"

namespace pgmend::proxy {

class client_statements {
public:
    /// The statement of that name; null when there is none.
    protocol::client_statement* find(std::string_view name) noexcept {
        protocol::client_statement* entry = known(name);
        return entry == nullptr || !entry->statement ? nullptr : entry;
    }
    /// The entry of that name, even one that stands for nothing now; null for the empty name.
    protocol::client_statement* known(std::string_view name) noexcept {
        if (name.empty() || !named_) return nullptr;
        const auto it = named_->find(name);
        return it == named_->end() ? nullptr : it->second.get();
    }
    /// The entry for a name, made when there is none; its address holds until `prune`.
    protocol::client_statement& entry(std::string_view name) {
        if (!named_) named_ = std::make_unique<map>();
        const auto it = named_->find(name);
        if (it != named_->end()) return *it->second;
        auto made = std::make_unique<protocol::client_statement>(std::string{name});
        protocol::client_statement& entry = *made;
        named_->emplace(entry.name(), std::move(made));
        some_empty_ = true;
        return entry;
    }
    /// What the entry stood for, and stands for no more.
    protocol::statement_ref close(protocol::client_statement& entry) noexcept {
        some_empty_ = true;
        return std::exchange(entry.statement, {});
    }
    /// The server has skipped a message: the entry stands for what it stood for before, if anything.
    void restore(protocol::client_statement& entry, protocol::statement_ref previous) noexcept {
        some_empty_ = true;
        entry.statement = std::move(previous);
    }
    void clear_named() {
        if (!named_) return;
        some_empty_ = true;
        for (auto& [name, entry] : *named_) {
            entry->statement = {};
        }
    }
    /// Drops entries that stand for nothing; call when no reply is owed.
    void prune() {
        if (!std::exchange(some_empty_, false) || !named_) return;
        std::erase_if(*named_, [](const auto& item) { return !item.second->statement; });
    }
    std::size_t size() const noexcept { return named_ ? named_->size() : 0; }

    protocol::statement_ref unnamed;

private:
    /// Keyed by views into the entries themselves.
    using map = std::unordered_map<std::string_view, std::unique_ptr<protocol::client_statement>>;
    std::unique_ptr<map> named_;  ///< most clients prepare nothing, and an idle one is to be small
    bool some_empty_ = false;
};

}  // namespace pgmend::proxy
