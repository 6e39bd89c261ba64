#pragma once
// PostgreSQL's lexical rules without PostgreSQL: cuts a text into tokens and allocates nothing. It exists to
// make the key of `statement_classifier`, so that a literal in a text does not cost a parse.
// Source: the rules of PostgreSQL 15's scan.l with `standard_conforming_strings = on`. Pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/sql_characters.hpp"

namespace pgmend::protocol {

enum class sql_token_kind : std::uint8_t {
    end,
    identifier,         // keywords too; not yet folded to lower case
    quoted_identifier,  // "…" and U&"…"
    string,       // '…', E'…', U&'…', $$…$$, N'…' (without its N), all pieces of a continued one
    bit_string,   // B'…', X'…'
    integer,      // fits 32 bits
    number,       // any other number
    parameter,    // $1
    operator_,    // one operator of any length, also :: .. := =>
    punctuation,  // one of , ( ) [ ] . ; :
    error,        // unterminated, or nothing PostgreSQL would accept; the scanner stays there
};

struct sql_token {
    sql_token_kind kind = sql_token_kind::end;
    /// A string or a name may, once its escapes are undone, contain a word that date and time types read as
    /// a moment: now, today, tomorrow, yesterday.
    bool names_moment = false;
    /// The same for `pg_temp`, the schema that makes a relation temporary. Also set for plain identifiers.
    bool names_temp_schema = false;
    /// The bytes of the token with its quotes; part of the scanned text.
    std::string_view text;
};

class sql_scanner {
public:
    /// `text` must outlive the scanner. It begins at `from`, which must be where a token may begin.
    explicit sql_scanner(std::string_view text, std::size_t from = 0) noexcept
        : text_(text), position_(from) {}

    /// The next token; `end` and `error` repeat for ever.
    sql_token next() noexcept;
    /// Behind the last token.
    std::size_t position() const noexcept { return position_; }

private:
    class word_watch;

    unsigned char at(std::size_t position) const noexcept {
        return position < text_.size() ? static_cast<unsigned char>(text_[position]) : 0;
    }
    bool skip_blanks() noexcept;
    bool skip_block_comment() noexcept;
    bool continues_literal() noexcept;
    sql_token identifier() noexcept;
    sql_token quoted_identifier(std::size_t prefix, bool unicode) noexcept;
    sql_token literal(sql_token_kind kind, std::size_t prefix, bool escapes, bool unicode) noexcept;
    bool quoted_piece(word_watch& watch, sql_token_kind kind, bool escapes) noexcept;
    sql_token dollar() noexcept;
    sql_token number() noexcept;
    sql_token operator_or_punctuation() noexcept;
    sql_token taken(sql_token_kind kind, std::size_t begin) const noexcept;
    sql_token failed() noexcept;

    std::string_view text_;
    std::size_t position_ = 0;
    bool failed_ = false;
};

/// Whether a name is pg_temp or one of its numbered kin; a schema is named from its first letter on.
inline bool begins_with_pg_temp(std::string_view name) noexcept {
    constexpr std::string_view wanted = "pg_temp";
    if (name.size() < wanted.size()) return false;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (lower(static_cast<unsigned char>(name[i])) != static_cast<unsigned char>(wanted[i])) return false;
    }
    return true;
}

/// `text` with every comment and every run of blanks made one blank: what may be given to PostgreSQL's
/// parser, whose own scanner takes quadratic time over nested comments. Empty when the text cannot be cut.
std::optional<std::string> without_comments(std::string_view text);

}  // namespace pgmend::protocol
