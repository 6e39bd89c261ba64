#pragma once
// The small SQL that the simulated PostgreSQL understands: enough to meet every rule of the protocol and
// every kind of session state, and always valid for the real parser, because the code under test classifies
// it with that. Anything else is a syntax error, as it would be for a typing mistake. Pure.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::sim {

struct expression {
    enum class kind : std::uint8_t {
        text,       ///< a literal string
        number,     ///< a literal integer or decimal
        parameter,  ///< $n; `index` is n-1
        column,     ///< a name, resolved by the statement it stands in
        call,       ///< text(operands…)
        binary,     ///< operands[0] text operands[1]
    };
    kind what = kind::text;
    std::string text;
    std::size_t index = 0;
    std::vector<expression> operands;
};

/// `FROM generate_series(first, last) AS name`.
struct series_clause {
    expression first;
    expression last;
    std::string name;
};

struct statement {
    enum class verb : std::uint8_t {
        empty,
        begin,
        commit,
        rollback,
        savepoint,
        release,
        rollback_to,
        set,              ///< name, value (nothing: DEFAULT), local
        set_transaction,  ///< read_only; the rest is accepted without effect
        reset,            ///< name
        reset_all,
        show,         ///< name
        select,       ///< outputs, from: series, kv, a temp table or nothing
        insert,       ///< name: table; outputs: values
        update,       ///< of kv: outputs[0] is the new v; where
        delete_from,  ///< of kv: where
        create_temp,  ///< name, on_commit_drop
        drop_table,   ///< name
        prepare,      ///< name, inner
        execute,      ///< name, outputs: arguments
        deallocate,   ///< name, empty: ALL
        discard,      ///< name: all, plans, temp, sequences
        listen,
        unlisten,  ///< name, empty: *
        notify,    ///< name, value
        copy_in,   ///< name: table
        copy_out,  ///< inner
        declare,   ///< name, inner, hold
        fetch,     ///< name, count
        close,     ///< name, empty: ALL
        survey,    ///< pgmend's question about the catalog; hold: its version alone
        source,    ///< pgmend's question why a server is read-only
        evict,     ///< pgmend's order to end an old backend; name: its pid
        life,      ///< pgmend's question about the server's present life
        evidence,  ///< and about the number of the open transaction
        fate,      ///< and what became of one; name: its number
        unknown,   ///< not of this dialect: 42601
    };
    verb what = verb::empty;
    std::string tag;  ///< the command tag, without a row count
    std::string name;
    std::optional<std::string> value;
    bool local = false;
    bool hold = false;
    bool on_commit_drop = false;
    bool chain = false;
    std::optional<bool> read_only;  ///< of a transaction: READ ONLY or READ WRITE
    std::int64_t count = 0;
    std::vector<expression> outputs;
    std::vector<std::string> output_names;
    std::optional<series_clause> series;
    std::string table;
    std::optional<expression> where;
    std::shared_ptr<const statement> inner;
    std::size_t parameters = 0;  ///< highest $n
    std::string text;            ///< as it was written

    /// Allowed in a failed transaction.
    bool ends_transaction() const noexcept {
        return what == verb::commit || what == verb::rollback || what == verb::rollback_to;
    }
};

/// The statements of a text, between its semicolons. Empty ones are left out. A text with a syntax error
/// gives one `unknown` alone, because PostgreSQL parses all of it before it runs any of it.
std::vector<statement> parse_sql(std::string_view text);

}  // namespace pgmend::sim
