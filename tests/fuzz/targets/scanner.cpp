// Tokens lie in the text, in order, and are the same without comments.

#include "protocol/sql_scanner.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

bool same(const sql_token& left, const sql_token& right) {
    if (left.kind != right.kind || left.names_moment != right.names_moment) return false;
    // The pieces of a continued string may have had comments between them.
    if (left.kind == sql_token_kind::string || left.kind == sql_token_kind::bit_string) return true;
    return left.text == right.text;
}

}  // namespace

void scanner(byte_view input) {
    const exact_copy copy(protocol::as_text(input));
    const std::string_view text = copy.text();
    const auto bare = without_comments(text);
    const std::string other = bare.value_or("");
    const exact_copy bare_copy(other);
    require(other.size() <= text.size() + 1, "taking comments out makes no text longer");

    sql_scanner scanner(text);
    sql_scanner beside(bare_copy.text());
    const char* reached = text.data();
    for (std::size_t count = 0;; ++count) {
        require(count <= text.size() + 1, "each token takes at least a byte");
        const sql_token token = scanner.next();
        if (bare) require(same(token, beside.next()), "a text without comments has the same tokens");
        if (token.kind == sql_token_kind::end || token.kind == sql_token_kind::error) {
            require(scanner.next().kind == token.kind, "the end stays the end");
            require(
                token.kind == sql_token_kind::end || !bare, "what cannot be cut has no form without comments"
            );
            return;
        }
        require(!token.text.empty(), "a token has bytes");
        require(token.text.data() >= reached, "tokens come in order");
        reached = token.text.data() + token.text.size();
        require(reached <= text.data() + text.size(), "tokens end within the text");
    }
}

}  // namespace pgmend::fuzz
