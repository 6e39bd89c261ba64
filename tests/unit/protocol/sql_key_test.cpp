// Goal: one key means one parse tree but for constants, however quickly the key was made.
// Method: keys written by hand, and a slow maker that cuts every token with the scanner as the referee.

#include "protocol/sql_key.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

using namespace pgmend::protocol;
using token_kind = sql_token_kind;

namespace {

struct made {
    bool ok = false;
    std::string key;
    bool moment = false;
    bool temp_schema = false;
    bool operator==(const made&) const = default;
};

std::ostream& operator<<(std::ostream& out, const made& result) {
    out << (result.ok ? "key " : "none ") << result.moment << result.temp_schema << ' ';
    for (const char c : result.key) {
        if (c < 10) {
            out << '<' << static_cast<int>(c) << '>';
        } else {
            out << c;
        }
    }
    return out;
}

made ours(sql_key& key, std::string_view text) {
    made result;
    result.ok = key.make(text);
    if (!result.ok) return {};
    result.key = key.bytes();
    result.moment = key.words().moment_literal;
    result.temp_schema = key.words().temp_schema;
    return result;
}

std::string piece_of(const sql_token& token) {
    const int words = (token.names_moment ? 1 : 0) + (token.names_temp_schema ? 2 : 0);
    std::string text(token.text);
    switch (token.kind) {
        case token_kind::string:
            return {static_cast<char>(1 + words)};
        case token_kind::bit_string:
            return "\5";
        case token_kind::integer:
            return "\6";
        case token_kind::number:
            return "\7";
        case token_kind::quoted_identifier:
            return text;
        case token_kind::punctuation:
            return text == ":" ? ": " : text;
        case token_kind::identifier:
            for (char& c : text) {
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
            }
            return text + ' ';
        default:
            return text + ' ';
    }
}

made referee(std::string_view text) {
    made result;
    bool semicolon = false;
    sql_scanner scanner(text);
    while (true) {
        const sql_token token = scanner.next();
        if (token.kind == token_kind::error) return {};
        if (token.kind == token_kind::end) break;
        result.moment = result.moment || token.names_moment;
        result.temp_schema = result.temp_schema || token.names_temp_schema;
        if (token.kind == token_kind::punctuation && token.text == ";") {
            semicolon = !result.key.empty();
            continue;
        }
        if (semicolon) result.key += ';';
        semicolon = false;
        result.key += piece_of(token);
    }
    result.ok = true;
    return result;
}

std::string key_of(std::string_view text) {
    sql_key key;
    REQUIRE(key.make(text));
    return std::string(key.bytes());
}

}  // namespace

TEST_CASE("sql_key: constants are elided, names folded, blanks and comments gone", "[protocol]") {
    CHECK(key_of("SELECT  a\tFROM T -- x\n WHERE b=42 /* y */;") == "select a from t where b = \6");
    CHECK(key_of("select 'a', E'b', $$c$$, 1.5, b'1'") == "select \1,\1,\1,\7,\5");
    CHECK(key_of("select 123456789, 1234567890, 1e5, .5") == "select \6,\7,\7,\7");
    CHECK(key_of("select $1, $22::int, a.b, x[1]") == "select $1 ,$22 :: int ,a .b ,x [\6]");
    CHECK(key_of(";; select 1;; select \"A;\" ; ;") == "select \6;select \"A;\"");
    CHECK(key_of("").empty());
    CHECK(key_of(" ; -- nothing\n").empty());
}

TEST_CASE("sql_key: what is no SQL has no key", "[protocol]") {
    sql_key key;
    for (const std::string_view text : {"select 'a", "select $", "/*", "\"a", "1a", "a\\b", "$1a", "U&'"}) {
        CAPTURE(text);
        CHECK_FALSE(key.make(text));
    }
    CHECK(key.make("select 1"));
}

TEST_CASE("sql_key: words that matter are seen in names and constants", "[protocol]") {
    sql_key key;
    CHECK(ours(key, "create table PG_TEMP.a (b int)").temp_schema);
    CHECK(ours(key, "create table pg_temp_3.a (b int)").temp_schema);
    CHECK_FALSE(ours(key, "create table pg_tem.pgtemp (b int)").temp_schema);
    CHECK(ours(key, "select 'it is Now'").moment);
    CHECK_FALSE(ours(key, "select now(), 'a'").moment);
    CHECK_FALSE(ours(key, "select 1").moment);
}

TEST_CASE("sql_key: it is the key of the scanner's tokens, on random splices", "[protocol]") {
    std::mt19937 random(11);
    const std::string alphabet[] = {
        "'",  "\"",    "$$",      "$a$",     "--",         "/*", "*/",   "\n", " ",   "E'", "u&'",  "u&\"",
        "b'", "1",     ".",       "e5",      "a",          "+",  "-",    "*",  "<",   "=",  "|",    "::",
        ":=", ";",     "(",       "$1",      "x",          "\\", "''",   "@",  "_x",  "n'", "B",    "..",
        "/",  "'now'", "pg_temp", "\"Pg_t",  "E",          ":",  "&",    "'",  "1.5", "$",  "\xc3", "u",
        "U&", "9",     "\t",      "Abc_1$2", "1234567890", ",",  "\r\n", "]"};
    sql_key key;
    int with_key = 0;
    for (int round = 0; round < 40000; ++round) {
        std::string text;
        const auto pieces = 1 + random() % 12;
        for (unsigned i = 0; i < pieces; ++i)
            text += alphabet[random() % std::size(alphabet)];
        CAPTURE(text);
        const made expected = referee(text);
        REQUIRE(ours(key, text) == expected);
        with_key += expected.ok ? 1 : 0;
    }
    CHECK(with_key > 10000);
}

TEST_CASE("sql_key: it reads nothing behind the text", "[protocol]") {
    // Each text in an allocation of its own size, so that a sanitizer sees the first byte too many.
    sql_key key;
    for (const std::string_view text :
         {"select", "1", "a.", "$1", "x=", "'a'", "--", "E", "9.", ":", "a -"}) {
        const std::vector<char> exact(text.begin(), text.end());
        const std::string_view view(exact.data(), exact.size());
        CAPTURE(text);
        CHECK(ours(key, view) == referee(view));
    }
}
