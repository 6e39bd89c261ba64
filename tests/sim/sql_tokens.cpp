#include "tests/sim/sql_tokens.hpp"

#include <cctype>

namespace pgmend::sim {

namespace {

bool is_word_byte(char byte) { return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_'; }
bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

/// One pass over the text.
struct scanner {
    std::string_view text;
    std::size_t at = 0;
    std::vector<sql_token> tokens;

    void add(sql_token::kind what, std::size_t place, std::string value) {
        tokens.push_back({what, std::move(value), place});
    }
    bool starts(std::string_view with) const { return text.substr(at).starts_with(with); }

    bool skip_comment() {
        if (starts("--")) {
            at = std::min(text.find('\n', at), text.size());
            return true;
        }
        if (!starts("/*")) return false;
        const auto end = text.find("*/", at + 2);
        at = end == std::string_view::npos ? text.size() : end + 2;
        return true;
    }

    void quoted(char quote, sql_token::kind what) {
        const std::size_t place = at++;
        std::string value;
        for (;;) {
            if (at >= text.size()) return add(sql_token::kind::symbol, place, "unterminated");
            if (text[at] == quote) {
                if (at + 1 >= text.size() || text[at + 1] != quote) break;
                ++at;
            }
            value += text[at++];
        }
        ++at;
        add(what, place, std::move(value));
    }

    void word() {
        const std::size_t place = at;
        std::string value;
        while (at < text.size() && is_word_byte(text[at])) {
            value += static_cast<char>(std::tolower(static_cast<unsigned char>(text[at++])));
        }
        add(sql_token::kind::word, place, std::move(value));
    }

    void number(sql_token::kind what, std::size_t from) {
        const std::size_t place = at;
        at = from;
        std::string value;
        while (at < text.size() && (is_digit(text[at]) || text[at] == '.'))
            value += text[at++];
        add(what, place, std::move(value));
    }

    void symbol() {
        const std::size_t length = starts("||") || starts("::") || starts("<>") ? 2 : 1;
        add(sql_token::kind::symbol, at, std::string(text.substr(at, length)));
        at += length;
    }

    void run() {
        while (at < text.size()) {
            const char byte = text[at];
            if (std::isspace(static_cast<unsigned char>(byte)) != 0) {
                ++at;
            } else if (skip_comment()) {
                continue;
            } else if (byte == '\'') {
                quoted('\'', sql_token::kind::text);
            } else if (byte == '"') {
                quoted('"', sql_token::kind::quoted);
            } else if (is_digit(byte)) {
                number(sql_token::kind::number, at);
            } else if (byte == '$' && at + 1 < text.size() && is_digit(text[at + 1])) {
                number(sql_token::kind::parameter, at + 1);
            } else if (is_word_byte(byte)) {
                word();
            } else {
                symbol();
            }
        }
        add(sql_token::kind::end, text.size(), "");
    }
};

}  // namespace

std::vector<sql_token> tokenize(std::string_view text) {
    scanner scan{text, 0, {}};
    scan.run();
    return std::move(scan.tokens);
}

std::string token_cursor::name() {
    const sql_token& token = peek();
    if (failed_ || (token.what != sql_token::kind::word && token.what != sql_token::kind::quoted)) {
        fail();
        return {};
    }
    ++at_;
    return token.text;
}

}  // namespace pgmend::sim
