#pragma once
// What pgmend knows about one text of SQL before it is sent: its kind, what it may leave behind in the
// session, and how it controls the transaction. Plain values, produced by `statement_classifier`. Pure.
// Every field errs on the cautious side: an absent effect is a promise, a present one only a possibility.

#include <cstdint>

namespace pgmend::protocol {

/// What a text is. A text with several statements is `multiple`; its traits are the union of theirs.
enum class statement_kind : std::uint8_t {
    unknown,   // not understood, and its first word proves nothing
    empty,     // nothing but blanks, comments and semicolons
    multiple,  // two or more statements
    select,    // SELECT, TABLE, WITH … SELECT; SELECT INTO is `ddl`
    values,
    insert,
    update,
    delete_,
    merge,
    begin,  // BEGIN, START TRANSACTION
    commit,
    rollback,
    savepoint,
    release,
    rollback_to,
    prepare_transaction,
    commit_prepared,
    rollback_prepared,
    set,  // SET in all its forms, SET LOCAL and SET TRANSACTION too
    reset,
    show,
    discard,
    prepare,
    execute,
    deallocate,
    listen,
    unlisten,
    notify,
    declare_cursor,
    close_cursor,
    fetch,  // FETCH and MOVE
    copy,
    ddl,  // whatever changes the catalog: CREATE, ALTER, DROP, GRANT, COMMENT, TRUNCATE, …
    call,
    do_block,
    load,
    lock,
    explain,
    set_constraints,
    maintenance,  // VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT
};

/// What a text may leave behind in its session, or does outside its transaction. A set of bits.
enum class session_effect : std::uint32_t {
    none = 0,
    sets_parameter = 1U << 0,     // SET, RESET, SET SESSION CHARACTERISTICS; not SET LOCAL, SET TRANSACTION
    sets_role = 1U << 1,          // SET or RESET of ROLE and SESSION AUTHORIZATION; not SET LOCAL
    calls_set_config = 1U << 2,   // set_config whose is_local is not the constant TRUE
    sql_prepare = 1U << 3,        // PREPARE
    sql_deallocate = 1U << 4,     // DEALLOCATE
    sql_execute = 1U << 5,        // EXECUTE: does whatever was prepared
    listen = 1U << 6,             // LISTEN
    unlisten = 1U << 7,           // UNLISTEN
    temp_object = 1U << 8,        // a temporary relation that outlives its transaction
    hold_cursor = 1U << 9,        // DECLARE … WITH HOLD
    advisory_lock = 1U << 10,     // session-level advisory locks
    advisory_unlock = 1U << 11,   // their release
    transaction_lock = 1U << 12,  // advisory locks that end with the transaction
    sequence_value = 1U << 13,    // nextval, currval, lastval, setval
    seed = 1U << 14,              // setseed, SET seed
    large_object = 1U << 15,      // descriptors of large objects
    load = 1U << 16,              // LOAD
    discard = 1U << 17,           // DISCARD
    unknown_function = 1U << 18,  // reaches what the catalog does not clear: may hide any other effect
    do_block = 1U << 19,          // DO: may hide any other effect
    call = 1U << 20,              // CALL: may commit by itself
    changes_schema = 1U << 21,    // DDL: plans and descriptions made before may be stale
    copy = 1U << 22,              // COPY
    special_literal = 1U << 23,   // a quoted constant such as 'now' or 'tomorrow' is fixed when it is parsed
    outside_effects = 1U << 24,   // reaches what no ROLLBACK undoes: files, programs, other backends
    cursor = 1U << 25,            // DECLARE without HOLD: a portal that lives in its transaction
    hidden_beyond = 1U << 26,     // outside_effects or transaction_lock of functions that it reaches unsaid
    unknown = 1U << 31,           // not understood: may do anything at all
};

constexpr session_effect operator|(session_effect a, session_effect b) noexcept {
    return static_cast<session_effect>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr session_effect operator&(session_effect a, session_effect b) noexcept {
    return static_cast<session_effect>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
constexpr session_effect operator~(session_effect a) noexcept {
    return static_cast<session_effect>(~static_cast<std::uint32_t>(a));
}
constexpr session_effect& operator|=(session_effect& a, session_effect b) noexcept { return a = a | b; }

/// True when `set` has at least one of the bits of `any`.
constexpr bool has(session_effect set, session_effect any) noexcept {
    return (set & any) != session_effect::none;
}

/// Which transaction control a text contains, in whatever order. A set of bits.
enum class transaction_control : std::uint8_t {
    none = 0,
    begin = 1U << 0,
    commit = 1U << 1,     // COMMIT, END
    rollback = 1U << 2,   // ROLLBACK, ABORT; not ROLLBACK TO
    savepoint = 1U << 3,  // SAVEPOINT, RELEASE, ROLLBACK TO
    prepare = 1U << 4,    // PREPARE TRANSACTION
    prepared = 1U << 5,   // COMMIT PREPARED, ROLLBACK PREPARED
    chain = 1U << 6,      // COMMIT or ROLLBACK … AND CHAIN: the next transaction is already open
    hidden = 1U << 7,     // may commit by itself, unseen: CALL, DO, unknown texts
};

constexpr transaction_control operator|(transaction_control a, transaction_control b) noexcept {
    return static_cast<transaction_control>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr transaction_control operator&(transaction_control a, transaction_control b) noexcept {
    return static_cast<transaction_control>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}
constexpr transaction_control& operator|=(transaction_control& a, transaction_control b) noexcept {
    return a = a | b;
}
constexpr bool has(transaction_control set, transaction_control any) noexcept {
    return (set & any) != transaction_control::none;
}

/// The whole of what is known. The default value is the cautious one: nothing is known.
struct statement_traits {
    statement_kind kind = statement_kind::unknown;
    transaction_control control = transaction_control::hidden;
    /// Writes nothing, locks no rows and calls only functions of PostgreSQL's own without effects.
    bool read_only = false;
    /// SELECT … FOR UPDATE and its relatives, also inside another statement.
    bool locks_rows = false;
    /// PostgreSQL refuses it inside a transaction block (VACUUM, CREATE DATABASE, CONCURRENTLY, …).
    bool cannot_run_in_block = true;
    /// Two or more statements in one text; equal to `kind == multiple` unless the text was not parsed.
    bool multiple = true;
    session_effect effects = session_effect::unknown;

    constexpr bool known() const noexcept { return !has(effects, session_effect::unknown); }
    friend constexpr bool operator==(const statement_traits&, const statement_traits&) = default;
};

}  // namespace pgmend::protocol
