#pragma once
// One client's prepared statements of the protocol, by its own names. Names are changed when a message is
// sent and changed back when the server skips it, so that the map follows what was really executed. Pure; one
// worker thread.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "protocol/reply_queue.hpp"

namespace pgmend::proxy {

class client_statements {
public:
    /// The statement of that name; null when there is none.
    protocol::client_statement* find(std::string_view name) noexcept {
        const auto it = named_.find(name);
        return it == named_.end() || !it->second->statement ? nullptr : it->second.get();
    }
    /// The entry of that name, even one that stands for nothing now; null for the empty name.
    protocol::client_statement* known(std::string_view name) noexcept {
        const auto it = named_.find(name);
        return it == named_.end() ? nullptr : it->second.get();
    }
    /// The entry for a name, made when there is none; its address holds until `forget`.
    protocol::client_statement& entry(std::string_view name) {
        const auto it = named_.find(name);
        if (it != named_.end()) return *it->second;
        auto made = std::make_unique<protocol::client_statement>(std::string{name});
        protocol::client_statement& entry = *made;
        named_.emplace(entry.name(), std::move(made));
        return entry;
    }
    /// Drops an entry that stands for nothing.
    void forget(protocol::client_statement& entry) {
        if (!entry.statement) named_.erase(named_.find(entry.name()));
    }
    void clear_named() {
        for (auto& [name, entry] : named_) {
            entry->statement = {};
        }
    }
    /// Entries nothing refers to any more; call when no reply is owed.
    void prune() {
        std::erase_if(named_, [](const auto& item) { return !item.second->statement; });
    }
    std::size_t size() const noexcept { return named_.size(); }

    protocol::statement_ref unnamed;

private:
    /// Keyed by views into the entries themselves.
    std::unordered_map<std::string_view, std::unique_ptr<protocol::client_statement>> named_;
};

}  // namespace pgmend::proxy
