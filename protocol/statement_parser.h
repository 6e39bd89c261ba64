#pragma once
/* PostgreSQL's own parser, reduced to the facts pgmend judges by. The .c file is the only place that sees
 * PostgreSQL's server headers; it says what stands in the tree, `statement_facts` says what that means.
 * C, because those headers are. Thread-safe: libpg_query keeps its memory per thread. */

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What stands at the head of a statement. */
enum parsed_node {
    parsed_none,
    parsed_select,
    parsed_values,
    parsed_insert,
    parsed_update,
    parsed_delete,
    parsed_merge,
    parsed_begin,
    parsed_commit,
    parsed_rollback,
    parsed_savepoint,
    parsed_release,
    parsed_rollback_to,
    parsed_prepare_transaction,
    parsed_commit_prepared,
    parsed_rollback_prepared,
    parsed_set,
    parsed_reset,
    parsed_show,
    parsed_discard,
    parsed_prepare,
    parsed_execute,
    parsed_deallocate,
    parsed_listen,
    parsed_unlisten,
    parsed_notify,
    parsed_declare_cursor,
    parsed_close_cursor,
    parsed_fetch,
    parsed_copy,
    parsed_ddl,
    parsed_call,
    parsed_do,
    parsed_load,
    parsed_lock,
    parsed_explain,
    parsed_set_constraints,
    parsed_maintenance,
    parsed_other
};

/* One thing seen in the tree. The fields used are named with each. */
enum parsed_fact_kind {
    fact_statement, /* a statement begins: node, name (its object, or null), flag (AND CHAIN), offset, length
                     */
    fact_nested,    /* node (EXECUTE, DECLARE, …) inside another statement, which runs it: node, flag */
    fact_function,  /* a call: schema (or null), name, flag (its third argument is the constant TRUE) */
    fact_planned_call, /* a call under EXPLAIN without ANALYZE: schema, name; only folding may run it */
    fact_write,        /* INSERT, UPDATE, DELETE or MERGE at any depth: schema, name of the target */
    fact_relation,     /* a relation is created: flag 1 when it is temporary and outlives its transaction */
    fact_row_lock,     /* FOR UPDATE and its relatives */
    fact_no_block,     /* PostgreSQL may refuse it in a transaction block */
    fact_outside,      /* reaches what no ROLLBACK undoes */
    fact_hides,        /* runs scripts we cannot see (CREATE EXTENSION) */
    fact_hold,         /* DECLARE … WITH HOLD */
    fact_set,          /* form, name, flag (LOCAL); its values follow */
    fact_set_text,     /* a value of the last fact_set, to be quoted: value */
    fact_set_number,   /* a value of the last fact_set, to be left as it is: value */
    fact_set_opaque,   /* a value of the last fact_set that has no plain form */
    fact_config,  /* a set_config with constant arguments that runs exactly once: name, value, flag (local) */
    fact_discard, /* name: all, plans, sequences, temp */
    fact_not_understood /* a node pgmend does not know */
};

enum parsed_set_form {
    set_form_value,
    set_form_default,     /* SET … TO DEFAULT, RESET … */
    set_form_all,         /* RESET ALL */
    set_form_transaction, /* SET TRANSACTION, SET TRANSACTION SNAPSHOT */
    set_form_session      /* SET SESSION CHARACTERISTICS: name is the default_… parameter */
};

/* Strings live until the callback returns. */
struct parsed_fact {
    enum parsed_fact_kind kind;
    enum parsed_node node;
    enum parsed_set_form form;
    const char* schema;
    const char* name;
    const char* value;
    int flag;
    size_t offset; /* of the statement in the text */
    size_t length; /* 0: up to the end */
};

/* Must not throw: it is called with C frames below it. */
typedef void (*parsed_fact_callback)(void* context, const struct parsed_fact* fact);

/* Parses `text` (zero-terminated, without other zeros) and reports its facts, statement by statement.
 * 0 when it cannot be parsed; nothing was reported then. Uses a bounded stack however deep the tree. */
int parse_statements(const char* text, parsed_fact_callback callback, void* context);

#ifdef __cplusplus
}
#endif
