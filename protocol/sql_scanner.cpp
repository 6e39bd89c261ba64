#include "protocol/sql_scanner.hpp"

#include <array>

namespace pgmend::protocol {
namespace {

/// PostgreSQL's limit for a name, NAMEDATALEN without its zero.
constexpr std::size_t operator_bytes_max = 63;

constexpr bool is_newline(unsigned char c) noexcept { return c == '\n' || c == '\r'; }

/// True where PostgreSQL's `operator` rule lets a trailing + or - stand: it has a character SQL's own
/// operators do not have.
bool has_foreign_op(std::string_view text) noexcept {
    return text.find_first_of("~!@#^&|`?%") != std::string_view::npos;
}

}  // namespace

/// Watches the characters of a literal go by, after their escapes, for the words that matter. Date and time
/// input takes a run of letters as a word, whatever stands around it.
class sql_scanner::word_watch {
public:
    void feed(unsigned char raw) noexcept {
        const unsigned char c = lower(raw);
        if (c >= 'a' && c <= 'z') {
            if (length_ < word_.size()) word_[length_] = static_cast<char>(c);
            ++length_;
        } else {
            end_word();
        }
        temp_matched_ = c == temp[temp_matched_] ? temp_matched_ + 1 : (c == 'p' ? 1 : 0);
        if (temp_matched_ == temp.size()) {
            names_temp_schema_ = true;
            temp_matched_ = 0;
        }
    }
    /// An escape that is not decoded here: it could be any character.
    void feed_anything() noexcept { names_moment_ = names_temp_schema_ = true; }

    void report(sql_token& token) noexcept {
        end_word();
        token.names_moment = names_moment_;
        token.names_temp_schema = names_temp_schema_;
    }

private:
    static constexpr std::string_view temp = "pg_temp";

    void end_word() noexcept {
        if (length_ >= 3 && length_ <= word_.size()) {
            const std::string_view word(word_.data(), length_);
            if (word == "now" || word == "today" || word == "tomorrow" || word == "yesterday")
                names_moment_ = true;
        }
        length_ = 0;
    }

    std::array<char, 9> word_{};
    std::size_t length_ = 0;
    std::size_t temp_matched_ = 0;
    bool names_moment_ = false;
    bool names_temp_schema_ = false;
};

sql_token sql_scanner::taken(sql_token_kind kind, std::size_t begin) const noexcept {
    sql_token token;
    token.kind = kind;
    token.text = text_.substr(begin, position_ - begin);
    return token;
}

sql_token sql_scanner::failed() noexcept {
    failed_ = true;
    return taken(sql_token_kind::error, position_);
}

sql_token sql_scanner::next() noexcept {
    if (failed_ || !skip_blanks()) return failed();
    if (position_ >= text_.size()) return taken(sql_token_kind::end, position_);
    const unsigned char c = at(position_);
    if (is(c, name_start)) {
        const unsigned char first = lower(c);
        if (at(position_ + 1) == '\'') {
            if (first == 'e') return literal(sql_token_kind::string, 1, true, false);
            if (first == 'b' || first == 'x') return literal(sql_token_kind::bit_string, 1, false, false);
        }
        if (first == 'u' && at(position_ + 1) == '&') {
            if (at(position_ + 2) == '\'') return literal(sql_token_kind::string, 2, false, true);
            if (at(position_ + 2) == '"') return quoted_identifier(2, true);
        }
        return identifier();
    }
    if (c == '\'') return literal(sql_token_kind::string, 0, false, false);
    if (c == '"') return quoted_identifier(0, false);
    if (is(c, digit) || (c == '.' && is(at(position_ + 1), digit))) return number();
    if (c == '$') return dollar();
    if (is(c, op | self)) return operator_or_punctuation();
    return failed();
}

/// False for a block comment without end.
bool sql_scanner::skip_blanks() noexcept {
    while (position_ < text_.size()) {
        const unsigned char c = at(position_);
        if (is(c, blank)) {
            ++position_;
        } else if (c == '-' && at(position_ + 1) == '-') {
            while (position_ < text_.size() && !is_newline(at(position_)))
                ++position_;
        } else if (c == '/' && at(position_ + 1) == '*') {
            if (!skip_block_comment()) return false;
        } else {
            return true;
        }
    }
    return true;
}

/// Comments nest; the depth is only counted, so no text can make it costly.
bool sql_scanner::skip_block_comment() noexcept {
    std::size_t depth = 0;
    while (position_ < text_.size()) {
        if (at(position_) == '/' && at(position_ + 1) == '*') {
            ++depth;
            position_ += 2;
        } else if (at(position_) == '*' && at(position_ + 1) == '/') {
            position_ += 2;
            if (--depth == 0) return true;
        } else {
            ++position_;
        }
    }
    return false;
}

sql_token sql_scanner::identifier() noexcept {
    const std::size_t begin = position_;
    std::size_t end = begin + 1;
    while (end < text_.size() && is(static_cast<unsigned char>(text_[end]), name_part))
        ++end;
    position_ = end;
    // The N of N'…' stays a name of its own before the string: one key, one tree.
    sql_token token = taken(sql_token_kind::identifier, begin);
    token.names_temp_schema = begins_with_pg_temp(token.text);
    return token;
}

sql_token sql_scanner::quoted_identifier(std::size_t prefix, bool unicode) noexcept {
    const std::size_t begin = position_;
    position_ += prefix + 1;
    while (position_ < text_.size()) {
        if (at(position_) == 0) return failed();
        if (at(position_) != '"') {
            ++position_;
        } else if (at(position_ + 1) == '"') {
            position_ += 2;
        } else {
            ++position_;
            sql_token token = taken(sql_token_kind::quoted_identifier, begin);
            if (token.text.size() == prefix + 2) return failed();
            token.names_temp_schema = unicode || begins_with_pg_temp(token.text.substr(1));
            return token;
        }
    }
    return failed();
}

sql_token sql_scanner::literal(sql_token_kind kind, std::size_t prefix, bool escapes, bool unicode) noexcept {
    const std::size_t begin = position_;
    word_watch watch;
    if (unicode) watch.feed_anything();  // the escape character may be declared behind the string
    position_ += prefix;
    do {
        if (!quoted_piece(watch, kind, escapes)) return failed();
    } while (continues_literal());
    sql_token token = taken(kind, begin);
    if (kind == sql_token_kind::string) watch.report(token);
    return token;
}

/// One '…' from its opening to its closing quote. False when it does not end. In a bit string a doubled
/// quote is an end and a beginning.
bool sql_scanner::quoted_piece(word_watch& watch, sql_token_kind kind, bool escapes) noexcept {
    ++position_;
    while (position_ < text_.size()) {
        const unsigned char c = at(position_);
        if (c == 0) return false;
        if (c == '\\' && escapes) {
            const unsigned char escaped = at(position_ + 1);
            if (escaped == 0) return false;
            // The escapes below stand for a control character or for themselves: never part of a word.
            if (std::string_view("nrtbf'\"\\").find(static_cast<char>(escaped)) != std::string_view::npos) {
                watch.feed(' ');
            } else {
                watch.feed_anything();
            }
            position_ += 2;
        } else if (c != '\'') {
            watch.feed(c);
            ++position_;
        } else if (at(position_ + 1) == '\'' && kind == sql_token_kind::string) {
            watch.feed(c);
            position_ += 2;
        } else {
            ++position_;
            return true;
        }
    }
    return false;
}

/// Two literals with blanks and at least one line break between them are one. Moves onto the second's
/// opening quote when there is one; `--` comments count as blanks when their line ends.
bool sql_scanner::continues_literal() noexcept {
    bool line_break = false;
    std::size_t ahead = position_;
    while (true) {
        const unsigned char c = at(ahead);
        if (is(c, blank)) {
            line_break = line_break || is_newline(c);
            ++ahead;
        } else if (c == '-' && at(ahead + 1) == '-') {
            while (ahead < text_.size() && !is_newline(at(ahead)))
                ++ahead;
        } else {
            break;
        }
    }
    if (!line_break || at(ahead) != '\'') return false;
    position_ = ahead;
    return true;
}

/// $1, or a dollar-quoted string; a lone $ is nothing.
sql_token sql_scanner::dollar() noexcept {
    const std::size_t begin = position_;
    if (is(at(position_ + 1), digit)) {
        ++position_;
        while (is(at(position_), digit))
            ++position_;
        if (is(at(position_), name_start)) return failed();
        return taken(sql_token_kind::parameter, begin);
    }
    std::size_t tag_end = position_ + 1;
    while (is(at(tag_end), name_start | digit))
        ++tag_end;
    if (at(tag_end) != '$') return failed();
    const std::string_view delimiter = text_.substr(begin, tag_end + 1 - begin);
    const std::size_t close = text_.find(delimiter, tag_end + 1);
    if (close == std::string_view::npos) return failed();
    const std::string_view body = text_.substr(tag_end + 1, close - tag_end - 1);
    if (body.find('\0') != std::string_view::npos) return failed();
    word_watch watch;
    for (const char c : body)
        watch.feed(static_cast<unsigned char>(c));
    position_ = close + delimiter.size();
    sql_token token = taken(sql_token_kind::string, begin);
    watch.report(token);
    return token;
}

sql_token sql_scanner::number() noexcept {
    const std::size_t begin = position_;
    const auto skip_digits = [this] {
        while (is(at(position_), digit))
            ++position_;
    };
    bool whole = true;
    skip_digits();
    // `1..10` is a range: the dots are not the number's.
    if (at(position_) == '.' && at(position_ + 1) != '.') {
        whole = false;
        ++position_;
        skip_digits();
    }
    if (lower(at(position_)) == 'e') {
        const bool sign = at(position_ + 1) == '+' || at(position_ + 1) == '-';
        if (!is(at(position_ + (sign ? 2 : 1)), digit)) return failed();
        whole = false;
        position_ += sign ? 2 : 1;
        skip_digits();
    }
    // `1a` was "1 AS a" before PostgreSQL 15 and an error since; 0x1f and 1_000 are numbers since 16.
    if (is(at(position_), name_start)) return failed();
    const bool small = whole && position_ - begin <= 9;
    return taken(small ? sql_token_kind::integer : sql_token_kind::number, begin);
}

sql_token sql_scanner::operator_or_punctuation() noexcept {
    const std::size_t begin = position_;
    const unsigned char c = at(position_);
    if (is(c, self)) {
        const unsigned char after = at(position_ + 1);
        const bool two = (c == ':' && (after == ':' || after == '=')) || (c == '.' && after == '.');
        position_ += two ? 2 : 1;
        return taken(two ? sql_token_kind::operator_ : sql_token_kind::punctuation, begin);
    }
    while (is(at(position_), op)) {
        // Longer than any operator: a run of signs could be cut one by one, at quadratic cost.
        if (position_ - begin == operator_bytes_max) return failed();
        const bool comment = (at(position_) == '-' && at(position_ + 1) == '-') ||
                             (at(position_) == '/' && at(position_ + 1) == '*');
        if (comment && position_ > begin) break;
        ++position_;
    }
    const std::string_view run = text_.substr(begin, position_ - begin);
    if (run.size() > 1 && !has_foreign_op(run.substr(0, run.size() - 1))) {
        while (position_ - begin > 1 && (at(position_ - 1) == '+' || at(position_ - 1) == '-'))
            --position_;
    }
    return taken(sql_token_kind::operator_, begin);
}

std::optional<std::string> without_comments(std::string_view text) {
    std::string plain;
    plain.reserve(text.size());
    std::size_t end = 0;
    sql_scanner scanner(text);
    while (true) {
        const sql_token token = scanner.next();
        if (token.kind == sql_token_kind::error) return std::nullopt;
        if (token.kind == sql_token_kind::end) return plain;
        const auto begin = static_cast<std::size_t>(token.text.data() - text.data());
        if (begin != end) plain += ' ';
        plain += token.text;
        end = begin + token.text.size();
    }
}

}  // namespace pgmend::protocol
