// The classifier answers from its cache what it would answer afresh, for texts that differ in their constants
// and for any two texts; and it never knows less than `session_changes` about what a text leaves behind.

#include "protocol/session_change.hpp"
#include "protocol/sql_scanner.hpp"
#include "protocol/statement_classifier.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

constexpr classifier_limits small{.max_text_bytes = 4096, .cache_entries = 4, .key_seed = 7};

/// The text with other constants of the same kinds.
std::string with_other_constants(std::string_view text, std::uint32_t seed) {
    static constexpr std::string_view strings[] = {"''", "'x'", "'public'", "'1 day'", "'a''b'", "'now2'"};
    static constexpr std::string_view integers[] = {"0", "1", "2", "77", "2147483647", "65536"};
    std::string changed;
    sql_scanner scanner(text);
    std::size_t copied = 0;
    bool behind_uescape = false;
    for (sql_token token = scanner.next(); token.kind != sql_token_kind::end; token = scanner.next()) {
        if (token.kind == sql_token_kind::error) break;
        std::string_view other;
        if (token.kind == sql_token_kind::integer) other = integers[seed % 6];
        // The character behind UESCAPE is grammar: with another one the text may be none.
        if (token.kind == sql_token_kind::string && token.text.front() == '\'' && !behind_uescape)
            other = strings[seed % 6];
        behind_uescape = token.text.size() == 7 && (token.text.front() | 0x20) == 'u';
        if (other.empty()) continue;
        seed = seed * 1664525 + 1013904223;
        const auto at = static_cast<std::size_t>(token.text.data() - text.data());
        changed += text.substr(copied, at - copied);
        changed += other;
        copied = at + token.text.size();
    }
    return changed += text.substr(copied);
}

/// Effects that a change says there must be.
session_effect effects_of(const session_change& change) {
    using kind = session_change_kind;
    switch (change.kind) {
        case kind::set_parameter:
        case kind::reset_parameter:
            if (change.is_local) return session_effect::none;
            return session_effect::sets_parameter | session_effect::calls_set_config | session_effect::seed;
        case kind::reset_all:
            return session_effect::sets_parameter;
        case kind::set_role:
        case kind::reset_role:
        case kind::set_session_authorization:
        case kind::reset_session_authorization:
            if (change.is_local) return session_effect::none;
            return session_effect::sets_role | session_effect::calls_set_config;
        case kind::discard_all:
        case kind::discard_plans:
        case kind::discard_sequences:
        case kind::discard_temp:
            return session_effect::discard;
        case kind::prepare:
            return session_effect::sql_prepare;
        case kind::execute:
            return session_effect::sql_execute;
        case kind::deallocate:
        case kind::deallocate_all:
            return session_effect::sql_deallocate;
        case kind::listen:
            return session_effect::listen;
        case kind::unlisten:
        case kind::unlisten_all:
            return session_effect::unlisten;
        default:
            return session_effect::none;
    }
}

void check_against_changes(std::string_view text, const statement_traits& traits) {
    if (!traits.known()) return;
    for (const session_change& change : session_changes(text, small.max_text_bytes)) {
        const session_effect possible = effects_of(change);
        require(
            possible == session_effect::none || has(traits.effects, possible),
            "traits name every change that the parse tree shows"
        );
    }
}

}  // namespace

void classifier(byte_view input) {
    dice from(input);
    const std::uint32_t seed = from.u32();
    const scan_settings settings{
        .standard_conforming_strings = (seed & 3U) != 3, .ambiguous_encoding = (seed & 31U) == 31};
    std::string_view rest = from.rest_text();
    const std::size_t cut = rest.find('\xff');
    const exact_copy one(rest.substr(0, cut));
    const std::string changed =
        cut == rest.npos ? with_other_constants(one.text(), seed) : std::string(rest.substr(cut + 1));
    const exact_copy two(changed);

    statement_classifier warm(small);
    const statement_traits first = warm.classify(one.text(), settings);
    const statement_traits second = warm.classify(two.text(), settings);
    require(warm.classify(one.text(), settings) == first, "the same text has the same traits");
    statement_classifier fresh(small);
    require(fresh.classify(two.text(), settings) == second, "texts with one key have the same traits");
    if (settings.standard_conforming_strings && !settings.ambiguous_encoding)
        check_against_changes(one.text(), first);
}

}  // namespace pgmend::fuzz
