#pragma once
// Text → `statement_traits` (HEALING section 3). The key is made by `sql_key`, constants elided; a miss
// asks PostgreSQL's own parser once per shape. Owned by one worker, used by its thread alone: no locks.

#include "protocol/recent_texts.hpp"
#include "protocol/sql_key.hpp"
#include "protocol/statement_traits.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace pgmend::protocol {

/// What the session's parameters say about how the server will read a text.
struct scan_settings {
    bool standard_conforming_strings = true;
    /// The client encoding is SJIS, BIG5, GBK, UHC, GB18030 or JOHAB: second bytes may look like ASCII.
    bool ambiguous_encoding = false;
};

/// True for the client encodings in which a quote or a backslash may be half of another character.
/// Accepts PostgreSQL's aliases, in any case ("sjis", "Shift_JIS", "win950").
bool is_ambiguous_encoding(std::string_view client_encoding) noexcept;

struct classifier_limits {
    /// Longer texts are unknown, without being read. The scratch buffers grow to a few times this.
    std::size_t max_text_bytes = 256 * 1024;
    /// Shapes remembered, 32 bytes each; rounded up to a power of two, at least 4.
    std::size_t cache_entries = 4096;
    /// A number no client knows, so that none can make two shapes with one key.
    std::uint64_t key_seed = 0;
};

struct classifier_counters {
    std::uint64_t hits = 0;       // answered by the cache, or by the first word
    std::uint64_t misses = 0;     // asked the parser
    std::uint64_t unknown = 0;    // answered "unknown", for whatever reason
    std::uint64_t evictions = 0;  // shapes forgotten to make room
};

class statement_classifier {
public:
    explicit statement_classifier(classifier_limits limits);
    ~statement_classifier();
    statement_classifier(const statement_classifier&) = delete;
    statement_classifier& operator=(const statement_classifier&) = delete;

    /// Never fails: what cannot be understood has `session_effect::unknown`. A hit allocates nothing once
    /// the scratch buffer has grown to the longest text seen. `text` is only read during the call. `catalog`
    /// is of the database the text is for; null: what is not PostgreSQL's own is not known.
    statement_traits classify(
        std::string_view text, scan_settings settings = {}, const schema_catalog* catalog = nullptr
    ) noexcept;

    void set_max_text(std::size_t bytes) noexcept { limits_.max_text_bytes = bytes; }
    /// A number for the shape of the text classified last, constants elided, whatever the catalog; 0 where it
    /// has none.
    std::uint64_t last_shape() const noexcept { return last_shape_; }
    const classifier_counters& counters() const noexcept { return counters_; }

private:
    struct cache;

    statement_traits judge_and_remember(std::string_view text, const schema_catalog* catalog);

    classifier_limits limits_;
    classifier_counters counters_;
    std::uint64_t last_shape_ = 0;
    sql_key key_;  // of the text at hand, unless it is recent
    recent_texts recent_;
    std::unique_ptr<cache> cache_;
};

}  // namespace pgmend::protocol
