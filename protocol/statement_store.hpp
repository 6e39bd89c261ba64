#pragma once
// Prepared statements known to one worker, interned: clients that prepare the same text under the same
// conditions share one statement, and with it the server-side name. Unused ones are kept for a while,
// bounded. One thread.

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "protocol/hash.hpp"
#include "protocol/parameter_set.hpp"
#include "protocol/statement_traits.hpp"

namespace pgmend::protocol {

/// Begins every server-side name of ours; no client's own name reaches a server under it.
inline constexpr std::string_view server_name_prefix = "pgmend_";

/// Equal to no result: clients were told different ones.
inline constexpr std::uint64_t ambiguous_result = 1;

struct prepared_statement {
    std::uint64_t id = 0;
    std::string server_name;
    std::string text;
    std::string types;  ///< parameter types as on the wire: a count and the OIDs
    statement_traits traits;
    std::uint64_t judged_by = 0;  ///< id of the schema_catalog that the traits rest on
    std::uint64_t shape = 0;      ///< see statement_classifier::last_shape; 0: not asked yet, 1: it has none
    bool proven = false;          ///< a server has accepted it
    /// A digest of its result as clients were told it first (see result_digest); 0: they were not.
    std::uint64_t described = 0;
    bool outdated = false;  ///< a server has said so: whoever prepares its text now gets another one

private:
    friend class statement_store;
    friend class statement_ref;
    hash128 key;
    std::uint32_t references = 0;
    class statement_store* store = nullptr;
    std::list<prepared_statement*>::iterator place;
};

/// Shared ownership of a statement, counted without atomics: a statement never leaves its worker.
class statement_ref {
public:
    statement_ref() noexcept = default;
    explicit statement_ref(prepared_statement* statement) noexcept : statement_(statement) { add(); }
    statement_ref(const statement_ref& other) noexcept : statement_(other.statement_) { add(); }
    statement_ref(statement_ref&& other) noexcept : statement_(other.statement_) {
        other.statement_ = nullptr;
    }
    statement_ref& operator=(statement_ref other) noexcept {
        std::swap(statement_, other.statement_);
        return *this;
    }
    ~statement_ref() { drop(); }

    void reset() noexcept {
        drop();
        statement_ = nullptr;
    }
    explicit operator bool() const noexcept { return statement_ != nullptr; }
    const prepared_statement* operator->() const noexcept { return statement_; }
    const prepared_statement& operator*() const noexcept { return *statement_; }
    const prepared_statement* get() const noexcept { return statement_; }
    bool operator==(const statement_ref& other) const noexcept { return statement_ == other.statement_; }
    /// A server has accepted it.
    void prove() const noexcept { statement_->proven = true; }
    /// A client was told what its result is like.
    void describe(std::uint64_t digest) const noexcept {
        const bool first = statement_->described == 0;
        statement_->described = first || statement_->described == digest ? digest : ambiguous_result;
    }
    void note_shape(std::uint64_t shape) const noexcept { statement_->shape = shape == 0 ? 1 : shape; }
    /// True the first time.
    bool outdate() const noexcept { return !std::exchange(statement_->outdated, true); }
    /// The catalog has changed, and with it what the statement may reach.
    void judge(const statement_traits& traits, std::uint64_t catalog) const noexcept {
        statement_->traits = traits;
        statement_->judged_by = catalog;
    }

private:
    friend class statement_store;
    inline void add() noexcept;
    inline void drop() noexcept;
    prepared_statement* statement_ = nullptr;
};

/// What besides the text decides whether two Parses mean the same (HEALING section 4, prepared statements).
struct parse_conditions {
    std::uint64_t parameters = 0;  ///< id of the session's parameter_set
    std::uint64_t epoch = 0;       ///< rises with every DDL seen; unique while the session is in doubt
    /// Id of the schema_catalog by which a new statement is judged. Not part of the comparison.
    std::uint64_t catalog = 0;
};

class statement_store {
public:
    explicit statement_store(std::size_t unused_kept) : unused_kept_(unused_kept) {}
    statement_store(const statement_store&) = delete;
    statement_store& operator=(const statement_store&) = delete;
    ~statement_store();

    /// The statement for this text; `classify` is called for a new one only. One that must not be shared
    /// (special date literals) is made afresh each time.
    template <class Classify>
    statement_ref intern(
        std::string_view text, byte_view types, const parse_conditions& conditions, Classify&& classify
    ) {
        const hash128 key = key_of(text, types, conditions);
        if (prepared_statement* known = find(key, text)) return statement_ref{known};
        statement_ref added = add(key, text, types, classify(text));
        added.statement_->judged_by = conditions.catalog;
        return added;
    }
    /// The same, but only if it exists and a server has accepted it.
    statement_ref find_proven(std::string_view text, byte_view types, const parse_conditions& conditions) {
        prepared_statement* known = find(key_of(text, types, conditions), text);
        return known != nullptr && known->proven ? statement_ref{known} : statement_ref{};
    }
    std::size_t size() const noexcept { return all_.size() + private_; }

private:
    friend class statement_ref;
    struct key_hash {
        std::size_t operator()(const hash128& key) const noexcept { return key.low; }
    };
    static hash128 key_of(
        std::string_view text, byte_view types, const parse_conditions& conditions
    ) noexcept;
    prepared_statement* find(const hash128& key, std::string_view text) noexcept;
    statement_ref add(const hash128& key, std::string_view text, byte_view types, statement_traits traits);
    void unreferenced(prepared_statement& statement) noexcept;
    void referenced(prepared_statement& statement) noexcept;

    std::unordered_map<hash128, prepared_statement*, key_hash> all_;
    // Every statement stands in one of these; moving between them allocates nothing.
    std::list<prepared_statement*> used_;
    std::list<prepared_statement*> unused_;  ///< oldest first
    std::size_t unused_kept_;
    std::size_t private_ = 0;
    std::uint64_t last_id_ = 0;
};

void statement_ref::add() noexcept {
    if (statement_ != nullptr && statement_->references++ == 0) statement_->store->referenced(*statement_);
}

void statement_ref::drop() noexcept {
    if (statement_ != nullptr && --statement_->references == 0) statement_->store->unreferenced(*statement_);
}

}  // namespace pgmend::protocol
