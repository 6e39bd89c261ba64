// What a text changes in its session, told so that it can be done again elsewhere: the telling itself reads
// back as the same change.

#include "protocol/session_change.hpp"
#include "protocol/sql_scanner.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

/// `quoted` is one token of `kind`.
void check_one_token(const std::string& quoted, sql_token_kind kind) {
    sql_scanner scanner(quoted);
    const sql_token token = scanner.next();
    require(token.kind == kind && token.text == quoted, "what is quoted is one token");
    require(scanner.next().kind == sql_token_kind::end, "and nothing behind it");
}

/// What set_config is given may be no name; then the server refuses it, and nothing has changed.
bool can_be_a_name(std::string_view text) {
    if (text.empty() || text.size() > 63) return false;
    return text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") == text.npos;
}

void check_again(const session_change& change) {
    if (change.kind == session_change_kind::set_parameter && can_be_a_name(change.name)) {
        const auto again = session_changes("SET " + quote_identifier(change.name) + " TO " + change.value);
        require(again.size() == 1 && again[0].kind == change.kind, "a setting can be set again");
        require(again[0].name == change.name && again[0].value == change.value, "to the same value");
    }
    if (change.kind == session_change_kind::prepare) {
        const auto again = session_changes(change.value);
        require(again.size() == 1 && again[0].kind == change.kind, "a PREPARE can be sent again");
        require(again[0].name == change.name && again[0].value == change.value, "as the same statement");
    }
    if (!change.name.empty() && change.name.find('\0') == change.name.npos)
        check_one_token(quote_identifier(change.name), sql_token_kind::quoted_identifier);
}

}  // namespace

void changes(byte_view input) {
    dice from(input);
    const bool as_value = from.coin();
    const exact_copy copy(from.rest_text());
    if (as_value) {
        if (copy.text().find('\0') != std::string_view::npos) return;
        check_one_token(quote_literal(copy.text()), sql_token_kind::string);
        if (!copy.text().empty())
            check_one_token(quote_identifier(copy.text()), sql_token_kind::quoted_identifier);
        return;
    }
    const auto found = session_changes(copy.text(), 4096);
    require(found == session_changes(copy.text(), 4096), "the same text has the same changes");
    std::uint32_t statement = 0;
    for (const session_change& each : found) {
        require(each.statement >= statement, "changes come in the order of their statements");
        statement = each.statement;
        check_again(each);
    }
}

}  // namespace pgmend::fuzz
