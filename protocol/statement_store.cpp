#include "protocol/statement_store.hpp"

#include <array>

namespace pgmend::protocol {

statement_store::~statement_store() {
    for (prepared_statement* statement : used_) {
        delete statement;
    }
    for (prepared_statement* statement : unused_) {
        delete statement;
    }
}

hash128 statement_store::key_of(
    std::string_view text, byte_view types, const parse_conditions& conditions
) noexcept {
    const hash128 body = hash_bytes(as_bytes(text), conditions.epoch);
    const hash128 tail = hash_bytes(types, conditions.parameters);
    const std::array<std::uint64_t, 4> parts{body.low, body.high, tail.low, tail.high};
    return hash_bytes(std::as_bytes(std::span{parts}));
}

prepared_statement* statement_store::find(const hash128& key, std::string_view text) noexcept {
    const auto it = all_.find(key);
    return it != all_.end() && it->second->text == text ? it->second : nullptr;
}

statement_ref statement_store::add(
    const hash128& key, std::string_view text, byte_view types, statement_traits traits
) {
    auto* statement = new prepared_statement;
    statement->id = ++last_id_;
    statement->server_name = std::string{server_name_prefix} + std::to_string(statement->id);
    statement->text = text;
    statement->types = as_text(types);
    statement->traits = traits;
    statement->key = key;
    statement->store = this;
    const bool shared = !has(traits.effects, session_effect::special_literal | session_effect::unknown);
    if (!shared || !all_.try_emplace(key, statement).second) {
        statement->key = {};
        ++private_;
    }
    unused_.push_back(statement);
    statement->place = std::prev(unused_.end());
    return statement_ref{statement};
}

void statement_store::referenced(prepared_statement& statement) noexcept {
    used_.splice(used_.end(), unused_, statement.place);
}

void statement_store::unreferenced(prepared_statement& statement) noexcept {
    if (statement.key == hash128{}) {
        --private_;
        used_.erase(statement.place);
        delete &statement;
        return;
    }
    unused_.splice(unused_.end(), used_, statement.place);
    if (unused_.size() <= unused_kept_) return;
    prepared_statement* oldest = unused_.front();
    unused_.pop_front();
    all_.erase(oldest->key);
    delete oldest;
}

}  // namespace pgmend::protocol
