#pragma once
/* Shared by the two C files that see PostgreSQL's server headers: statement_parser.c walks the tree,
 * statement_settings.c reads what sets parameters. Nobody else includes it. */

#include "protocol/statement_parser.h"

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

struct tree_walk {
    parsed_fact_callback callback;
    void* context;
    Node** nodes; /* found, not yet examined */
    size_t count;
    size_t capacity;
    bool planned_only; /* under EXPLAIN without ANALYZE nothing runs */
    bool failed;
};

/* Reports a fact, unless it is one of something that is only planned. */
void report_fact(struct tree_walk* walk, struct parsed_fact fact);
void report_fact_kind(struct tree_walk* walk, enum parsed_fact_kind kind);

/* The String at `index`, or null when another node stands there. */
const char* node_string_at(const List* list, int index);
bool node_is_true(const Node* node);

/* SET, RESET and their kin. */
void report_set(struct tree_walk* walk, const VariableSetStmt* set);
/* The set_config calls of a statement whose arguments are constants and which run exactly once. */
void report_configs(struct tree_walk* walk, const SelectStmt* select);
