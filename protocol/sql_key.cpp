#include "protocol/sql_key.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

#include "protocol/sql_characters.hpp"

namespace pgmend::protocol {
namespace {

constexpr std::size_t name_block = 16;
/// Behind the copy of a text and behind the longest key: a whole block is read and written everywhere.
constexpr std::size_t padding = name_block + 2;
constexpr char integer_mark = 6;

/// Stands for a constant in the key. Constants of one grammatical kind are one, unless a word in them
/// matters. None of these bytes can begin another token.
char elided(const sql_token& token) noexcept {
    const int words = (token.names_moment ? 1 : 0) + (token.names_temp_schema ? 2 : 0);
    switch (token.kind) {
        case sql_token_kind::string:
            return static_cast<char>(1 + words);
        case sql_token_kind::bit_string:
            return 5;
        case sql_token_kind::integer:
            return integer_mark;
        case sql_token_kind::number:
            return 7;
        case sql_token_kind::end:
        case sql_token_kind::identifier:
        case sql_token_kind::quoted_identifier:
        case sql_token_kind::parameter:
        case sql_token_kind::operator_:
        case sql_token_kind::punctuation:
        case sql_token_kind::error:
            break;
    }
    return 0;
}

#ifdef __SSE2__

/// Where bytes are `first` to `last`, all ones.
__m128i within(__m128i bytes, char first, char last) noexcept {
    const __m128i distance = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(static_cast<char>(last - first))), distance);
}

/// Writes a block of a name in lower case and returns how many bytes of it are the name's; what is written
/// behind those means nothing. Both sides have room for a block.
std::size_t fold_name(const char* from, char* to) noexcept {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m128i capital = within(bytes, 'A', 'Z');
    const __m128i folded = _mm_or_si128(bytes, _mm_and_si128(capital, _mm_set1_epi8(32)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), folded);
    __m128i part = _mm_or_si128(within(folded, 'a', 'z'), within(bytes, '0', '9'));
    part = _mm_or_si128(part, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')));
    part = _mm_or_si128(part, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('$')));
    // Bytes above 127 have the bit that is asked for here.
    const auto parts = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(part, bytes)));
    return static_cast<std::size_t>(std::countr_one(parts));
}

#else

std::size_t fold_name(const char* from, char* to) noexcept {
    std::size_t length = 0;
    for (char folded; length < name_block && (folded = folded_name_part(from[length])) != 0; ++length) {
        to[length] = folded;
    }
    return length;
}

#endif

bool is_at(const char* at, std::uint8_t any) noexcept { return is(static_cast<unsigned char>(*at), any); }

const char* behind_digits(const char* at) noexcept {
    while (is_at(at, digit))
        ++at;
    return at;
}

/// Marks the end of a statement. Nothing but this mark ends in a semicolon.
char* separate(const char* key, char* out) noexcept {
    if (out != key && out[-1] != ';') *out++ = ';';
    return out;
}

/// Cuts a name and folds it. False for what only begins like one: E'…' and its kin are constants, U&"…" a
/// quoted name.
bool cut_name(const char*& at, char*& out, scanned_words& words) noexcept {
    std::size_t length = 0;
    for (std::size_t taken = name_block; taken == name_block;) {
        taken = fold_name(at + length, out + length);
        length += taken;
    }
    if (length == 1 && (at[1] == '\'' || at[1] == '&')) return false;
    if (*out == 'p' && begins_with_pg_temp({out, length})) words.temp_schema = true;
    at += length;
    out += length;
    *out++ = ' ';
    if (*at == ' ') ++at;
    return true;
}

/// Where a text and its key begin, and what is noted of it on the way.
struct cutting {
    const char* text;
    const char* key;
    scanned_words& words;
    integer_places& integers;
};

void note_integer(cutting& whole, const char* begin, const char* end) noexcept {
    integer_places& integers = whole.integers;
    if (integers.count == integers.places.size()) return;
    // Longer texts, whose places do not fit, are kept by nobody.
    integers.places[integers.count++] = {
        static_cast<std::uint16_t>(begin - whole.text), static_cast<std::uint16_t>(end - begin)};
}

/// Cuts what stands at `at`, a blank or a token of a plain kind, and writes it behind `out`. False when it
/// needs a second look, at the end of the text too.
bool cut_plain(const char*& at, char*& out, cutting& whole) noexcept {
    if (is_at(at, name_start)) return cut_name(at, out, whole.words);
    if (is_at(at, blank)) {
        ++at;
        return true;
    }
    if (is_at(at, digit)) {
        const char* const behind = behind_digits(at + 1);
        if (behind - at > plain_integer_digits || *behind == '.' || is_at(behind, name_start)) return false;
        note_integer(whole, at, behind);
        *out++ = integer_mark;
        at = behind;
        return true;
    }
    if (is_at(at, self)) {
        if (*at == ':' || (*at == '.' && (at[1] == '.' || is_at(at + 1, digit)))) return false;
        if (*at == ';') {
            out = separate(whole.key, out);
        } else {
            *out++ = *at;
        }
        ++at;
        return true;
    }
    if (is_at(at, op) && !is_at(at + 1, op)) {
        *out++ = *at++;
        *out++ = ' ';
        if (*at == ' ') ++at;
        return true;
    }
    if (*at != '$' || !is_at(at + 1, digit)) return false;
    const char* const behind = behind_digits(at + 2);
    if (is_at(behind, name_start)) return false;
    out = std::copy(at, behind, out);
    *out++ = ' ';
    at = behind;
    return true;
}

}  // namespace

/// Every token ends itself: names and operators by a blank, which neither can contain, quoted names by their
/// quote, the rest by its length.
bool sql_key::make(std::string_view text) {
    if (text_.size() < text.size() + padding) {
        text_.resize(text.size() + padding);
        key_.resize(2 * text.size() + padding);
    }
    if (!text.empty()) std::memcpy(text_.data(), text.data(), text.size());
    std::memset(text_.data() + text.size(), 0, padding);
    words_ = {};
    integers_.count = 0;
    const std::string_view copy(text_.data(), text.size());
    const char* at = copy.data();
    const char* const end = at + copy.size();
    char* out = key_.data();
    cutting whole{copy.data(), key_.data(), words_, integers_};
    for (;;) {
        while (cut_plain(at, out, whole)) {
        }
        if (at == end) break;
        sql_scanner scanner(copy, static_cast<std::size_t>(at - copy.data()));
        const sql_token token = scanner.next();
        if (token.kind == sql_token_kind::end) break;
        if (token.kind == sql_token_kind::error) return false;
        at = copy.data() + scanner.position();
        out = put(token, out);
    }
    // A semicolon stands only between two statements.
    if (out != key_.data() && out[-1] == ';') --out;
    length_ = static_cast<std::size_t>(out - key_.data());
    return true;
}

char* sql_key::put(const sql_token& token, char* out) noexcept {
    words_.moment_literal = words_.moment_literal || token.names_moment;
    words_.temp_schema = words_.temp_schema || token.names_temp_schema;
    if (const char constant = elided(token); constant != 0) {
        *out++ = constant;
        return out;
    }
    if (token.kind == sql_token_kind::punctuation && token.text[0] == ';') return separate(key_.data(), out);
    if (token.kind == sql_token_kind::identifier) {
        for (const char c : token.text)
            *out++ = folded_name_part(c);
    } else {
        out = std::copy(token.text.begin(), token.text.end(), out);
    }
    // A colon does not: `: =` are two tokens, `:=` is one.
    const bool ends_itself = token.kind == sql_token_kind::quoted_identifier ||
                             (token.kind == sql_token_kind::punctuation && token.text[0] != ':');
    if (!ends_itself) *out++ = ' ';
    return out;
}

}  // namespace pgmend::protocol
