#include "protocol/sql_key.hpp"

#include <algorithm>
#include <cstring>

#include "protocol/sql_characters.hpp"

namespace pgmend::protocol {
namespace {

constexpr char integer_mark = 6;
constexpr int integer_digits = 9;  // as many surely fit 32 bits

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

bool is_at(const char* at, std::uint8_t any) noexcept { return is(static_cast<unsigned char>(*at), any); }

}  // namespace

/// Every token ends itself: names and operators by a blank, which neither can contain, quoted names by their
/// quote, the rest by its length.
bool sql_key::make(std::string_view text) {
    if (text_.size() < text.size() + 1) {
        text_.resize(text.size() + 1);
        key_.resize(2 * text.size() + 2);
    }
    if (!text.empty()) std::memcpy(text_.data(), text.data(), text.size());
    text_[text.size()] = '\0';
    words_ = {};
    const std::string_view copy(text_.data(), text.size());
    const char* at = copy.data();
    char* out = key_.data();
    for (;;) {
        if (is_at(at, name_start)) {
            const char* const begin = at;
            char* const name = out;
            char folded = folded_name_part(*at);
            do {
                *out++ = folded;
                folded = folded_name_part(*++at);
            } while (folded != 0);
            const auto length = static_cast<std::size_t>(at - begin);
            // E'…' and its kin are constants, U&"…" a quoted name.
            if (length > 1 || (*at != '\'' && *at != '&')) {
                if (*name == 'p' && begins_with_pg_temp({name, length})) words_.temp_schema = true;
                *out++ = ' ';
                continue;
            }
            at = begin;
            out = name;
        } else if (is_at(at, blank)) {
            ++at;
            continue;
        } else if (is_at(at, digit)) {
            const char* behind = at + 1;
            while (is_at(behind, digit))
                ++behind;
            if (behind - at <= integer_digits && *behind != '.' && !is_at(behind, name_start)) {
                *out++ = integer_mark;
                at = behind;
                continue;
            }
        } else if (is_at(at, self)) {
            const bool alone = *at != ':' && (*at != '.' || (at[1] != '.' && !is_at(at + 1, digit)));
            if (alone) {
                out = *at == ';' ? separate(out) : (*out = *at, out + 1);
                ++at;
                continue;
            }
        } else if (is_at(at, op) && !is_at(at + 1, op)) {
            *out++ = *at++;
            *out++ = ' ';
            continue;
        } else if (*at == '$' && is_at(at + 1, digit)) {
            const char* behind = at + 2;
            while (is_at(behind, digit))
                ++behind;
            if (!is_at(behind, name_start)) {
                out = std::copy(at, behind, out);
                *out++ = ' ';
                at = behind;
                continue;
            }
        }
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

/// Nothing but a semicolon ends in one.
char* sql_key::separate(char* out) const noexcept {
    if (out != key_.data() && out[-1] != ';') *out++ = ';';
    return out;
}

char* sql_key::put(const sql_token& token, char* out) noexcept {
    words_.moment_literal = words_.moment_literal || token.names_moment;
    words_.temp_schema = words_.temp_schema || token.names_temp_schema;
    if (const char constant = elided(token); constant != 0) {
        *out++ = constant;
        return out;
    }
    if (token.kind == sql_token_kind::punctuation && token.text[0] == ';') return separate(out);
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
