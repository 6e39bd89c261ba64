#pragma once
// What a text does to the session's parameters, role, prepared statements and channels, statement by
// statement, read off PostgreSQL's own parse tree. Asked only when `statement_traits::effects` says that
// there is something to learn: nothing here is cached. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::protocol {

enum class session_change_kind : std::uint8_t {
    set_parameter,                // name, value; is_local for SET LOCAL and set_config(…, true)
    reset_parameter,              // name; also SET … TO DEFAULT; is_local for SET LOCAL … TO DEFAULT
    reset_all,                    // RESET ALL
    set_transaction,              // SET TRANSACTION and its kin: over with the transaction
    set_role,                     // value; is_local
    reset_role,                   // is_local
    set_session_authorization,    // value; is_local
    reset_session_authorization,  // is_local
    discard_all,
    discard_plans,
    discard_sequences,
    discard_temp,
    prepare,     // name; value: the whole statement's text, PREPARE included, comments gone
    execute,     // name
    deallocate,  // name
    deallocate_all,
    listen,        // name: the channel
    unlisten,      // name: the channel
    unlisten_all,  // UNLISTEN *
    begin,         // transaction control stands in the list because SET is undone by ROLLBACK
    commit,        // COMMIT and PREPARE TRANSACTION
    rollback,
    savepoint,    // name
    release,      // name
    rollback_to,  // name
    other,        // changes the session in a way that cannot be expressed here: keep the server
};

struct session_change {
    session_change_kind kind = session_change_kind::other;
    /// Which statement of the text, from 0; a statement may have several changes.
    std::uint32_t statement = 0;
    bool is_local = false;
    /// Lower case for parameters; as PostgreSQL folds it for the rest. Not quoted: see `quote_identifier`.
    std::string name;
    /// SQL that may follow `SET "name" TO` as it stands, quoted anew so that it means the same whatever
    /// `standard_conforming_strings` is.
    std::string value;

    friend bool operator==(const session_change&, const session_change&) = default;
};

/// The changes in the order of the statements. A text that cannot be parsed, is longer than
/// `max_text_bytes` or contains a zero byte is one `other`. Assumes `standard_conforming_strings = on`.
std::vector<session_change> session_changes(std::string_view text, std::size_t max_text_bytes = 256 * 1024);

/// Whether `text` names `word`, in whatever case, and not as a part of a longer word.
bool names_word(std::string_view text, std::string_view word) noexcept;
/// Whether DDL may be about a database or a role, and so about what connections are logged in to.
bool speaks_of_logins(std::string_view ddl) noexcept;

/// `"na""me"`: always quoted, so that no keyword needs to be known. `SET "app.tag" TO …` sets app.tag.
std::string quote_identifier(std::string_view name);

/// `'va''lue'`, or `E'…'` where it contains a backslash.
std::string quote_literal(std::string_view value);

}  // namespace pgmend::protocol
