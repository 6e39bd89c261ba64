#include "protocol/statement_classifier.hpp"

#include "protocol/sql_scanner.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pgmend::protocol {
namespace {

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

struct keyword_kind {
    std::string_view word;
    statement_kind kind;
    transaction_control control = transaction_control::none;
};

/// First words that leave no doubt what a single statement is, whatever follows them.
constexpr keyword_kind leading_keywords[] = {
    {"abort", statement_kind::rollback, transaction_control::rollback},
    {"alter", statement_kind::ddl},
    {"begin", statement_kind::begin, transaction_control::begin},
    {"call", statement_kind::call},
    {"copy", statement_kind::copy},
    {"create", statement_kind::ddl},
    {"delete", statement_kind::delete_},
    {"do", statement_kind::do_block},
    {"drop", statement_kind::ddl},
    {"end", statement_kind::commit, transaction_control::commit},
    {"explain", statement_kind::explain},
    {"grant", statement_kind::ddl},
    {"insert", statement_kind::insert},
    {"merge", statement_kind::merge},
    {"revoke", statement_kind::ddl},
    {"select", statement_kind::select},
    {"set", statement_kind::set},
    {"show", statement_kind::show},
    {"start", statement_kind::begin, transaction_control::begin},
    {"truncate", statement_kind::ddl},
    {"update", statement_kind::update},
    {"values", statement_kind::values},
};

bool same_word(std::string_view text, std::string_view word) noexcept {
    return text.size() == word.size() &&
           std::equal(text.begin(), text.end(), word.begin(), [](char a, char b) { return lower(a) == b; });
}

/// The texts that drivers send around every transaction, judged by their letters alone. Null for others.
const statement_traits* whole_text_traits(std::string_view text) noexcept {
    const auto control_only = [](statement_kind kind, transaction_control control) {
        return statement_traits{kind, control, false, false, false, false, session_effect::none};
    };
    static const auto begin = control_only(statement_kind::begin, transaction_control::begin);
    static const auto commit = control_only(statement_kind::commit, transaction_control::commit);
    static const auto rollback = control_only(statement_kind::rollback, transaction_control::rollback);
    if (text.size() > 9) return nullptr;
    if (!text.empty() && text.back() == ';') text.remove_suffix(1);
    if (same_word(text, "begin")) return &begin;
    if (same_word(text, "commit") || same_word(text, "end")) return &commit;
    if (same_word(text, "rollback")) return &rollback;
    return nullptr;
}

/// What the first word proves about a text that the parser could not read: newer syntax, or an error.
statement_traits guess(std::string_view text) noexcept {
    statement_traits traits;
    sql_scanner scanner(text);
    sql_token token = scanner.next();
    if (token.kind != sql_token_kind::identifier) return traits;
    const auto* known =
        std::find_if(std::begin(leading_keywords), std::end(leading_keywords), [&](const keyword_kind& each) {
            return same_word(token.text, each.word);
        });
    if (known == std::end(leading_keywords)) return traits;
    bool behind_semicolon = false;
    while (token.kind != sql_token_kind::end) {
        if (token.kind == sql_token_kind::error || behind_semicolon) return traits;
        token = scanner.next();
        while (token.text == ";" && token.kind == sql_token_kind::punctuation) {
            behind_semicolon = true;
            token = scanner.next();
        }
    }
    traits.kind = known->kind;
    traits.control |= known->control;
    traits.multiple = false;
    return traits;
}

}  // namespace

/// Sets of four, the least recently used of them makes room. Allocated once.
struct statement_classifier::cache {
    struct entry {
        XXH128_hash_t key{};
        statement_traits traits;
        std::uint32_t used = 0;  // the tick of its last use; 0: free
    };
    static constexpr std::size_t ways = 4;

    explicit cache(std::size_t wanted)
        : entries(std::bit_ceil(std::max(wanted, ways))), mask(entries.size() / ways - 1) {}

    entry* set_of(XXH128_hash_t key) noexcept { return &entries[(key.low64 & mask) * ways]; }

    const statement_traits* find(XXH128_hash_t key) noexcept {
        entry* set = set_of(key);
        for (std::size_t i = 0; i < ways; ++i) {
            if (set[i].used != 0 && XXH128_isEqual(set[i].key, key) != 0) {
                set[i].used = next_tick();
                return &set[i].traits;
            }
        }
        return nullptr;
    }

    /// True when another shape had to go.
    bool insert(XXH128_hash_t key, const statement_traits& traits) noexcept {
        entry* set = set_of(key);
        entry* oldest =
            std::min_element(set, set + ways, [](const entry& a, const entry& b) { return a.used < b.used; });
        const bool evicts = oldest->used != 0;
        *oldest = {key, traits, next_tick()};
        return evicts;
    }

    std::uint32_t next_tick() noexcept {
        if (++tick == 0) tick = 1;
        return tick;
    }

    std::vector<entry> entries;
    std::size_t mask;
    std::uint32_t tick = 0;
    XXH128_hash_t sought{};
};

statement_classifier::statement_classifier(classifier_limits limits)
    : limits_(limits), cache_(std::make_unique<cache>(limits.cache_entries)) {}

statement_classifier::~statement_classifier() = default;

statement_traits statement_classifier::classify(
    std::string_view text, scan_settings settings, const schema_catalog* catalog
) noexcept {
    last_shape_ = 0;
    const bool readable = settings.standard_conforming_strings && !settings.ambiguous_encoding &&
                          text.size() <= limits_.max_text_bytes;
    if (!readable) {
        ++counters_.unknown;
        return {};
    }
    if (const auto* known = whole_text_traits(text)) {
        ++counters_.hits;
        return *known;
    }
    const auto recent = recent_.find(text);
    if (recent) {
        cache_->sought = {recent->low, recent->high};
    } else {
        if (std::memchr(text.data(), 0, text.size()) != nullptr) {
            ++counters_.unknown;
            return {};
        }
        if (!key_.make(text)) {
            ++counters_.unknown;
            return guess(text);
        }
        const std::string_view key = key_.bytes();
        cache_->sought = XXH3_128bits_withSeed(key.data(), key.size(), limits_.key_seed);
        recent_.keep(text, key_.integers(), {cache_->sought.low64, cache_->sought.high64});
    }
    last_shape_ = cache_->sought.low64;
    // Each catalog judges anew. An odd factor: no two catalogs share a number.
    if (catalog != nullptr) cache_->sought.low64 ^= catalog->id() * 0x9e3779b97f4a7c15ULL;
    if (const auto* known = cache_->find(cache_->sought)) {
        ++counters_.hits;
        if (!known->known()) ++counters_.unknown;
        return *known;
    }
    // Its traits went to make room, or were another catalog's; the words in it are needed again.
    if (recent) key_.make(text);
    return judge_and_remember(text, catalog);
}

/// An unreadable text is not remembered: what makes it so may be a constant, and its shape a good one's.
statement_traits statement_classifier::judge_and_remember(
    std::string_view text, const schema_catalog* catalog
) {
    ++counters_.misses;
    const auto plain = without_comments(text);
    auto judged = plain ? judge_statements(plain->c_str(), key_.words(), catalog) : std::nullopt;
    if (!judged) {
        ++counters_.unknown;
        return guess(text);
    }
    if (catalog != nullptr) catalog->extend(*judged, text);
    if (!judged->known()) ++counters_.unknown;
    if (cache_->insert(cache_->sought, *judged)) ++counters_.evictions;
    return *judged;
}

bool is_ambiguous_encoding(std::string_view client_encoding) noexcept {
    // PostgreSQL compares encoding names by their letters and digits alone.
    std::array<char, 16> name{};
    std::size_t length = 0;
    for (const char each : client_encoding) {
        const char c = lower(each);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) continue;
        if (length == name.size()) return false;
        name[length++] = c;
    }
    constexpr std::string_view ambiguous[] = {
        "sjis", "shiftjis", "mskanji",    "win932",  "windows932", "shiftjis2004",
        "big5", "win950",   "windows950", "gbk",     "win936",     "windows936",
        "uhc",  "win949",   "windows949", "gb18030", "johab"};
    return std::find(std::begin(ambiguous), std::end(ambiguous), std::string_view(name.data(), length)) !=
           std::end(ambiguous);
}

}  // namespace pgmend::protocol
