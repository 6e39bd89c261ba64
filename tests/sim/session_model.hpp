#pragma once
// One PostgreSQL session without its wire: parameters, transactions and savepoints, prepared statements,
// cursors, temporary tables, LISTEN, and the execution of the simulator's SQL. The simulated server runs one
// a connection; each simulated client runs one more, fed with what it sends, which tells it what PostgreSQL
// would have answered. Source: PostgreSQL 15, xact.c, guc.c, portalmem.c. Pure; one thread.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/message_type.hpp"
#include "tests/sim/parameter_catalog.hpp"
#include "tests/sim/sim_database.hpp"
#include "tests/sim/sql_dialect.hpp"
#include "tests/sim/wire.hpp"

namespace pgmend::sim {

using row = std::vector<text_or_null>;

/// Rows made one at a time, so that large results need no memory.
struct row_source {
    std::vector<std::string> columns;
    std::vector<expression> outputs;
    std::vector<text_or_null> arguments;
    std::string series_name;
    std::int64_t first = 0;
    std::int64_t count = 0;
    std::vector<row> fixed;  ///< instead of outputs, where the rows are known
    bool is_fixed = false;

    std::int64_t size() const noexcept { return is_fixed ? static_cast<std::int64_t>(fixed.size()) : count; }
};

/// What executing a statement leads to.
struct outcome {
    std::string tag;  ///< complete, or for rows without its count
    std::optional<error_fields> error;
    std::vector<error_fields> notices;
    std::optional<row_source> rows;
    std::optional<std::int64_t> sleep_us;  ///< before the rows
    std::optional<std::int64_t> lock;      ///< an advisory lock to be waited for before the rows
    enum class copying : std::uint8_t { none, in, out } copy = copying::none;
};

error_fields make_error(std::string code, std::string text, std::string severity = "ERROR");

class session_model {
public:
    /// `defaults`: the parameters of the startup packet, under their canonical names.
    session_model(sim_database& database, session_id id, std::map<std::string, std::string> defaults);
    ~session_model();
    session_model(const session_model&) = delete;
    session_model& operator=(const session_model&) = delete;

    struct prepared {
        statement what;
        bool from_sql = false;
    };

    /// Before a statement outside a block: what follows is one implicit transaction, until `end_implicit`.
    void begin_implicit();
    /// Sync, or the end of a simple Query: commits what is still implicit.
    void end_implicit();
    /// A statement failed: a block becomes failed, an implicit transaction is rolled back.
    void fail();
    /// The session is lost: nothing uncommitted survives.
    void abandon();
    /// Its server is lost, and the client was told so: with `in_block`, it is in a block that has failed.
    void lose(bool in_block);

    /// What parse analysis refuses, before anything is executed: names that do not exist.
    std::optional<error_fields> analyze(const statement& what) const;
    /// What planning refuses, at Bind: constants that cannot be computed.
    std::optional<error_fields> plan(const statement& what) const;
    outcome execute(const statement& what, const std::vector<text_or_null>& arguments);
    /// Columns a statement will return; nothing when it returns no rows.
    std::optional<std::vector<std::string>> columns(const statement& what) const;
    /// One row, or the error that computing it meets.
    std::optional<error_fields> make_row(const row_source& from, std::int64_t number, row& into);
    /// One line of COPY … FROM STDIN.
    std::optional<error_fields> copy_line(const std::string& table, const std::string& line);

    protocol::transaction_status status() const noexcept;
    bool in_failed_block() const noexcept { return block_ == block::failed; }
    std::string parameter(const std::string& canonical) const;
    std::map<std::string, prepared>& statements() noexcept { return statements_; }
    /// Portals of the protocol die when this changes: a transaction ended.
    std::uint64_t transactions_ended() const noexcept { return transactions_ended_; }
    /// Something of a client that another one must not meet: temporary tables, LISTEN, locks, an open block.
    std::vector<std::string> traces() const;

    sim_database& database() noexcept { return database_; }
    session_id id() const noexcept { return id_; }
    /// Where notifications for this session go.
    void on_notification(sim_database::notification_sink sink) { notification_sink_ = std::move(sink); }

private:
    enum class block : std::uint8_t { none, implicit, open, failed };
    struct cursor {
        row_source rows;
        std::int64_t position = 0;
        bool hold = false;
    };
    /// All that a rollback brings back.
    struct contents {
        std::map<std::string, std::string> settings;
        std::map<std::string, std::string> local_settings;
        std::set<std::string> channels;
        std::map<std::string, std::vector<std::string>> temp_tables;
        std::set<std::string> dropped_on_commit;
        std::map<std::string, cursor> cursors;
        row_changes writes;
        std::vector<name_value> notifications;
    };
    struct savepoint {
        std::string name;
        contents before;
    };

    outcome begin(const statement& what);
    outcome finish(const statement& what);
    outcome savepoint_statement(const statement& what);
    outcome set(const statement& what);
    outcome set_value(const std::string& name, const std::optional<std::string>& value, bool local);
    outcome select(const statement& what, const std::vector<text_or_null>& arguments);
    outcome survey(const statement& what) const;
    outcome source(const statement& what) const;
    outcome evict(const statement& what);
    outcome about_commits(const statement& what);
    outcome write(const statement& what, const std::vector<text_or_null>& arguments);
    outcome prepared_statement(const statement& what);
    outcome cursor_statement(const statement& what);
    outcome notify_statement(const statement& what);
    outcome discard(const statement& what);
    outcome parameter_statement(const statement& what);

    struct scope {
        const std::vector<text_or_null>& arguments;
        std::map<std::string, std::string> columns;
        outcome* effects = nullptr;  ///< where functions that do something say so
    };
    text_or_null evaluate(const expression& what, scope& with, std::optional<error_fields>& error);
    text_or_null call(const expression& what, scope& with, std::optional<error_fields>& error);
    /// Whether this session has a row in one of the catalogs that show what it keeps.
    bool exists_in_catalog(const std::string& name, const std::string& of) const;
    /// What PostgreSQL refuses in a transaction that only reads.
    bool writes(const statement& what) const;
    bool parameter_is_set(const std::string& canonical) const;
    /// Table kv stands in schema public, and beside it audited, whose trigger sets work_mem.
    bool kv_is_visible() const { return parameter("search_path").find("public") != std::string::npos; }
    bool is_table(const std::string& name) const {
        return now_.temp_tables.contains(name) || ((name == "kv" || name == "audited") && kv_is_visible());
    }
    std::string current_user() const;
    std::optional<std::string> read_row(const std::string& key) const;
    void commit_values();
    void roll_back();
    void end_transaction();

    sim_database& database_;
    session_id id_;
    std::map<std::string, std::string> defaults_;
    block block_ = block::none;
    bool read_only_ = false;  ///< the transaction
    const bool on_standby_;   ///< it began as one of a standby
    contents now_;
    contents before_;
    std::vector<savepoint> savepoints_;
    std::map<std::string, prepared> statements_;
    int executing_ = 0;                   ///< EXECUTEs within one another
    std::set<std::string> placeholders_;  ///< custom parameters once set: known for good, even if rolled back
    std::uint64_t transactions_ended_ = 0;
    std::uint64_t number_ = 0;  ///< of the transaction; 0: it has written nothing yet
    void take_number() {
        if (number_ != 0) return;
        number_ = database_.give_number();
        number_start_ = database_.starts();
    }
    std::uint64_t number_start_ = 0;
    sim_database::notification_sink notification_sink_;
};

}  // namespace pgmend::sim
