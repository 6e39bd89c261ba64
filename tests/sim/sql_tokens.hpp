#pragma once
// Words of the simulator's SQL, and a cursor over them. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::sim {

struct sql_token {
    enum class kind : std::uint8_t { word, quoted, text, number, parameter, symbol, end };
    kind what = kind::end;
    std::string text;       ///< words in lower case; strings without quotes
    std::size_t place = 0;  ///< offset in the text
};

/// The tokens of `text`, closed by one of kind `end`. An unterminated string or comment ends the list with a
/// symbol that no grammar rule accepts.
std::vector<sql_token> tokenize(std::string_view text);

/// Reads tokens front to back. `fail` is sticky: after a token that does not fit, nothing fits any more.
class token_cursor {
public:
    token_cursor(const std::vector<sql_token>& tokens, std::size_t at) : tokens_(&tokens), at_(at) {}

    const sql_token& peek() const { return (*tokens_)[at_]; }
    const sql_token& next() { return (*tokens_)[peek().what == sql_token::kind::end ? at_ : at_++]; }
    std::size_t at() const noexcept { return at_; }
    bool at_end() const { return peek().what == sql_token::kind::end || is_symbol(";"); }

    bool is_word(std::string_view word) const {
        return !failed_ && peek().what == sql_token::kind::word && peek().text == word;
    }
    bool is_symbol(std::string_view symbol) const {
        return !failed_ && peek().what == sql_token::kind::symbol && peek().text == symbol;
    }
    bool accept(std::string_view word) { return is_word(word) && (++at_, true); }
    bool accept_symbol(std::string_view symbol) { return is_symbol(symbol) && (++at_, true); }
    void expect(std::string_view word) {
        if (!accept(word)) fail();
    }
    void expect_symbol(std::string_view symbol) {
        if (!accept_symbol(symbol)) fail();
    }
    /// A name, quoted or not.
    std::string name();
    void fail() noexcept { failed_ = true; }
    bool failed() const noexcept { return failed_; }
    void skip_statement() {
        while (peek().what != sql_token::kind::end && peek().text != ";")
            ++at_;
    }

private:
    const std::vector<sql_token>* tokens_;
    std::size_t at_;
    bool failed_ = false;
};

}  // namespace pgmend::sim
