/* Why the raw tree and not libpg_query's outputs: those recurse unguarded, so a sum of 47 kB overruns the
 * stack. Here every node found is put on a list of our own, and one loop takes them off again.
 * No function of PostgreSQL that may raise an error is called outside pg_query_raw_parse: there is nobody
 * to catch it. raw_expression_tree_walker raises one for nodes it does not know, hence is_expression(). */

#include "protocol/statement_walk.h"

#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"

#include <pg_query.h>
#include <pg_query/pg_query_internal.h>
#include <stdlib.h>
#include <string.h>

void report_fact(struct tree_walk* walk, struct parsed_fact fact) {
    if (walk->planned_only) {
        if (fact.kind == fact_function) {
            fact.kind = fact_planned_call;
        } else if (fact.kind != fact_not_understood) {
            return;
        }
    }
    walk->callback(walk->context, &fact);
}

void report_fact_kind(struct tree_walk* walk, enum parsed_fact_kind kind) {
    report_fact(walk, (struct parsed_fact){.kind = kind});
}

/* The shape raw_expression_tree_walker wants; true ends its round. */
static bool push(Node* node, void* context) {
    struct tree_walk* walk = context;
    if (node == NULL) return false;
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 256 : walk->capacity * 2;
        Node** nodes = realloc(walk->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) {
            walk->failed = true;
            return true;
        }
        walk->nodes = nodes;
        walk->capacity = capacity;
    }
    walk->nodes[walk->count++] = node;
    return false;
}

static void report_function(struct tree_walk* walk, const List* names, const List* args) {
    int parts = list_length(names);
    struct parsed_fact fact = {.kind = fact_function};
    if (parts == 0) return;
    fact.name = node_string_at(names, parts - 1);
    if (parts > 1) fact.schema = node_string_at(names, parts - 2);
    /* A catalog in front is as good as its schema: it can only be the current database. */
    fact.flag = list_length(args) == 3 && node_is_true(list_nth(args, 2));
    report_fact(walk, fact);
}

/* ON COMMIT DROP leaves nothing behind; an explicit pg_temp schema is seen by the scanner. */
static void report_relation(struct tree_walk* walk, const RangeVar* relation, OnCommitAction on_commit) {
    int temporary = relation != NULL && relation->relpersistence == RELPERSISTENCE_TEMP;
    report_fact(
        walk, (struct parsed_fact){.kind = fact_relation, .flag = temporary && on_commit != ONCOMMIT_DROP}
    );
}

static void report_write(struct tree_walk* walk, const RangeVar* target) {
    struct parsed_fact fact = {.kind = fact_write};
    if (target != NULL) {
        fact.schema = target->schemaname;
        fact.name = target->relname;
    }
    report_fact(walk, fact);
}

static void push_definition(struct tree_walk* walk, Node* definition);

static void push_constraints(struct tree_walk* walk, const List* constraints) {
    const ListCell* cell;
    foreach (cell, constraints)
        push_definition(walk, lfirst(cell));
}

/* What ALTER TABLE and the bounds of a partition evaluate at once, defaults and checks among it. */
static void push_definition(struct tree_walk* walk, Node* definition) {
    if (definition == NULL) return;
    if (IsA(definition, Constraint)) {
        push(((Constraint*)definition)->raw_expr, walk);
    } else if (IsA(definition, ColumnDef)) {
        push(definition, walk);
        push_constraints(walk, ((ColumnDef*)definition)->constraints);
    } else if (IsA(definition, PartitionCmd)) {
        if (((PartitionCmd*)definition)->concurrent) report_fact_kind(walk, fact_no_block);
        push_definition(walk, (Node*)((PartitionCmd*)definition)->bound);
    } else if (IsA(definition, PartitionBoundSpec)) {
        PartitionBoundSpec* bound = (PartitionBoundSpec*)definition;
        push((Node*)bound->listdatums, walk);
        push((Node*)bound->lowerdatums, walk);
        push((Node*)bound->upperdatums, walk);
    }
}

static bool has_option(const List* options, const char* name) {
    const ListCell* cell;
    foreach (cell, options) {
        const DefElem* option = lfirst(cell);
        if (strcmp(option->defname, name) == 0) return true;
    }
    return false;
}

/* EXPLAIN (ANALYZE off) counts as ANALYZE: the value may be a constant, and those are not in the key. */
static void examine_explain(struct tree_walk* walk, const ExplainStmt* explain) {
    bool runs = has_option(explain->options, "analyze") || IsA(explain->query, ExecuteStmt);
    if (!runs) walk->planned_only = true;
    push(explain->query, walk);
}

static void examine_select(struct tree_walk* walk, const SelectStmt* select) {
    if (select->lockingClause != NIL) report_fact_kind(walk, fact_row_lock);
    if (select->intoClause != NULL)
        report_relation(walk, select->intoClause->rel, select->intoClause->onCommit);
}

/* Nodes raw_expression_tree_walker knows, statements that stand inside expressions among them. */
// clang-format off
static const bool expressions[T_SupportRequestSimplify] = {
    [T_SetToDefault] = true, [T_CurrentOfExpr] = true,
    [T_SQLValueFunction] = true, [T_Integer] = true, [T_Float] = true, [T_Boolean] = true, [T_String] =
    true, [T_BitString] = true, [T_ParamRef] = true, [T_A_Const] = true, [T_A_Star] = true, [T_Alias] =
    true, [T_RangeVar] = true, [T_GroupingFunc] = true, [T_SubLink] = true, [T_CaseExpr] = true,
    [T_RowExpr] = true, [T_CoalesceExpr] = true, [T_MinMaxExpr] = true, [T_XmlExpr] = true, [T_NullTest] =
    true, [T_BooleanTest] = true, [T_JoinExpr] = true, [T_IntoClause] = true, [T_List] = true,
    [T_InsertStmt] = true, [T_DeleteStmt] = true, [T_UpdateStmt] = true, [T_MergeStmt] = true,
    [T_SelectStmt] = true, [T_A_Expr] = true, [T_BoolExpr] = true, [T_ColumnRef] = true, [T_FuncCall] =
    true, [T_NamedArgExpr] = true, [T_A_Indices] = true, [T_A_Indirection] = true, [T_A_ArrayExpr] = true,
    [T_ResTarget] = true, [T_MultiAssignRef] = true, [T_TypeCast] = true, [T_CollateClause] = true,
    [T_SortBy] = true, [T_WindowDef] = true, [T_RangeSubselect] = true, [T_RangeFunction] = true,
    [T_RangeTableSample] = true, [T_RangeTableFunc] = true, [T_RangeTableFuncCol] = true, [T_TypeName] =
    true, [T_ColumnDef] = true, [T_IndexElem] = true, [T_GroupingSet] = true, [T_LockingClause] = true,
    [T_XmlSerialize] = true, [T_WithClause] = true, [T_InferClause] = true, [T_OnConflictClause] = true,
    [T_CTESearchClause] = true, [T_CTECycleClause] = true, [T_CommonTableExpr] = true, [T_MergeWhenClause]
    = true};
// clang-format on

static bool is_expression(const Node* node) {
    return nodeTag(node) < lengthof(expressions) && expressions[nodeTag(node)];
}

static enum parsed_node transaction_node(const TransactionStmt* statement) {
    static const enum parsed_node nodes[] = {
        [TRANS_STMT_BEGIN] = parsed_begin,
        [TRANS_STMT_START] = parsed_begin,
        [TRANS_STMT_COMMIT] = parsed_commit,
        [TRANS_STMT_ROLLBACK] = parsed_rollback,
        [TRANS_STMT_SAVEPOINT] = parsed_savepoint,
        [TRANS_STMT_RELEASE] = parsed_release,
        [TRANS_STMT_ROLLBACK_TO] = parsed_rollback_to,
        [TRANS_STMT_PREPARE] = parsed_prepare_transaction,
        [TRANS_STMT_COMMIT_PREPARED] = parsed_commit_prepared,
        [TRANS_STMT_ROLLBACK_PREPARED] = parsed_rollback_prepared,
    };
    return nodes[statement->kind];
}

/* DDL, with what of it is evaluated at once or cannot be undone. */
static void examine_ddl(struct tree_walk* walk, Node* node) {
    switch (nodeTag(node)) {
        case T_CreateStmt:
        case T_CreateForeignTableStmt: {
            CreateStmt* create = (CreateStmt*)node;
            report_relation(walk, create->relation, create->oncommit);
            push_definition(walk, (Node*)create->partbound);
            break;
        }
        case T_ViewStmt:
            report_relation(walk, ((ViewStmt*)node)->view, ONCOMMIT_NOOP);
            break;
        case T_CreateSeqStmt:
            report_relation(walk, ((CreateSeqStmt*)node)->sequence, ONCOMMIT_NOOP);
            break;
        case T_CreateTableAsStmt: {
            CreateTableAsStmt* create = (CreateTableAsStmt*)node;
            report_relation(walk, create->into->rel, create->into->onCommit);
            push(create->query, walk);
            break;
        }
        case T_IndexStmt: {
            IndexStmt* index = (IndexStmt*)node;
            if (index->concurrent) report_fact_kind(walk, fact_no_block);
            push((Node*)index->indexParams, walk);
            push(index->whereClause, walk);
            break;
        }
        case T_AlterTableStmt: {
            const ListCell* cell;
            foreach (cell, ((AlterTableStmt*)node)->cmds) {
                AlterTableCmd* command = lfirst(cell);
                if (command->subtype == AT_DetachPartitionFinalize) report_fact_kind(walk, fact_no_block);
                push_definition(walk, command->def);
            }
            break;
        }
        case T_AlterDomainStmt:
            push_definition(walk, ((AlterDomainStmt*)node)->def);
            break;
        case T_DropStmt:
            if (((DropStmt*)node)->concurrent) report_fact_kind(walk, fact_no_block);
            break;
        case T_AlterDatabaseStmt:
            if (has_option(((AlterDatabaseStmt*)node)->options, "tablespace"))
                report_fact_kind(walk, fact_no_block);
            break;
        case T_CreateExtensionStmt:
        case T_AlterExtensionStmt:
            report_fact_kind(walk, fact_hides);
            break;
        case T_CreatedbStmt:
        case T_DropdbStmt:
        case T_CreateTableSpaceStmt:
        case T_DropTableSpaceStmt:
        case T_AlterSystemStmt:
        case T_CreateSubscriptionStmt:
        case T_AlterSubscriptionStmt:
        case T_DropSubscriptionStmt:
            report_fact_kind(walk, fact_no_block);
            report_fact_kind(walk, fact_outside);
            break;
        default:
            break;
    }
}

/* What a statement that is no expression contains and does, beyond what its name says. */
static void examine_utility(struct tree_walk* walk, Node* node) {
    switch (nodeTag(node)) {
        case T_VariableSetStmt:
            report_set(walk, (VariableSetStmt*)node);
            break;
        case T_ExplainStmt:
            examine_explain(walk, (ExplainStmt*)node);
            break;
        case T_DeclareCursorStmt:
            if (((DeclareCursorStmt*)node)->options & CURSOR_OPT_HOLD) report_fact_kind(walk, fact_hold);
            push(((DeclareCursorStmt*)node)->query, walk);
            break;
        case T_CopyStmt: {
            CopyStmt* copy = (CopyStmt*)node;
            if (copy->filename != NULL) report_fact_kind(walk, fact_outside);
            push(copy->query, walk);
            push(copy->whereClause, walk);
            break;
        }
        case T_ExecuteStmt:
            push((Node*)((ExecuteStmt*)node)->params, walk);
            break;
        case T_CallStmt:
            push((Node*)((CallStmt*)node)->funccall, walk);
            break;
        case T_DiscardStmt: {
            static const char* const names[] = {"all", "plans", "sequences", "temp"};
            DiscardMode target = ((DiscardStmt*)node)->target;
            if (target == DISCARD_ALL) report_fact_kind(walk, fact_no_block);
            report_fact(walk, (struct parsed_fact){.kind = fact_discard, .name = names[target]});
            break;
        }
        case T_VacuumStmt:
            if (((VacuumStmt*)node)->is_vacuumcmd) report_fact_kind(walk, fact_no_block);
            break;
        case T_ClusterStmt:
        case T_ReindexStmt:
            /* Refused in a block only for a partitioned or an unnamed table, but which it is we cannot see.
             */
            report_fact_kind(walk, fact_no_block);
            break;
        case T_TransactionStmt: {
            TransactionStmtKind kind = ((TransactionStmt*)node)->kind;
            if (kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED) {
                report_fact_kind(walk, fact_no_block);
            }
            break;
        }
        default:
            examine_ddl(walk, node);
    }
}

/* Statements whose name is all describe() has to say. */
// clang-format off
static const enum parsed_node plain_nodes[T_SupportRequestSimplify] = {
    [T_InsertStmt] = parsed_insert, [T_UpdateStmt] = parsed_update, [T_DeleteStmt] = parsed_delete,
    [T_MergeStmt] = parsed_merge, [T_VariableShowStmt] = parsed_show, [T_DiscardStmt] = parsed_discard,
    [T_NotifyStmt] = parsed_notify, [T_DeclareCursorStmt] = parsed_declare_cursor,
    [T_ClosePortalStmt] = parsed_close_cursor, [T_FetchStmt] = parsed_fetch, [T_CopyStmt] = parsed_copy,
    [T_CallStmt] = parsed_call, [T_DoStmt] = parsed_do, [T_LoadStmt] = parsed_load,
    [T_LockStmt] = parsed_lock, [T_ExplainStmt] = parsed_explain,
    [T_ConstraintsSetStmt] = parsed_set_constraints, [T_VacuumStmt] = parsed_maintenance,
    [T_ClusterStmt] = parsed_maintenance, [T_ReindexStmt] = parsed_maintenance,
    [T_CheckPointStmt] = parsed_maintenance,
};
// clang-format on

/* Names the statement: what it is, and the object it is about. PREPARE's query is not run, so not walked. */
static struct parsed_fact describe(Node* node) {
    struct parsed_fact fact = {.kind = fact_statement};
    switch (nodeTag(node)) {
        case T_SelectStmt: {
            SelectStmt* select = (SelectStmt*)node;
            bool into = select->intoClause != NULL;
            fact.node = into ? parsed_ddl : (select->valuesLists != NIL ? parsed_values : parsed_select);
            break;
        }
        case T_TransactionStmt:
            fact.node = transaction_node((TransactionStmt*)node);
            fact.name = ((TransactionStmt*)node)->savepoint_name;
            fact.flag = ((TransactionStmt*)node)->chain;
            break;
        case T_VariableSetStmt: {
            VariableSetKind kind = ((VariableSetStmt*)node)->kind;
            fact.node = kind == VAR_RESET || kind == VAR_RESET_ALL ? parsed_reset : parsed_set;
            break;
        }
        case T_PrepareStmt:
            fact.node = parsed_prepare;
            fact.name = ((PrepareStmt*)node)->name;
            break;
        case T_ExecuteStmt:
            fact.node = parsed_execute;
            fact.name = ((ExecuteStmt*)node)->name;
            break;
        case T_DeallocateStmt:
            fact.node = parsed_deallocate;
            fact.name = ((DeallocateStmt*)node)->name;
            break;
        case T_ListenStmt:
            fact.node = parsed_listen;
            fact.name = ((ListenStmt*)node)->conditionname;
            break;
        case T_UnlistenStmt:
            fact.node = parsed_unlisten;
            fact.name = ((UnlistenStmt*)node)->conditionname;
            break;
        default: {
            bool statement = nodeTag(node) >= T_AlterTableStmt && nodeTag(node) <= T_AlterStatsStmt;
            bool plain = nodeTag(node) < lengthof(plain_nodes) && plain_nodes[nodeTag(node)] != 0;
            /* Every other statement of this grammar changes the catalog. */
            fact.node = plain ? plain_nodes[nodeTag(node)] : (statement ? parsed_ddl : parsed_other);
        }
    }
    return fact;
}

static void examine(struct tree_walk* walk, Node* node) {
    switch (nodeTag(node)) {
        case T_FuncCall:
            report_function(walk, ((FuncCall*)node)->funcname, ((FuncCall*)node)->args);
            break;
        case T_RangeTableSample:
            report_function(walk, ((RangeTableSample*)node)->method, NIL);
            break;
        case T_SelectStmt:
            examine_select(walk, (SelectStmt*)node);
            break;
        case T_InsertStmt:
            report_write(walk, ((InsertStmt*)node)->relation);
            break;
        case T_UpdateStmt:
            report_write(walk, ((UpdateStmt*)node)->relation);
            break;
        case T_DeleteStmt:
            report_write(walk, ((DeleteStmt*)node)->relation);
            break;
        case T_MergeStmt:
            report_write(walk, ((MergeStmt*)node)->relation);
            break;
        default:
            break;
    }
    if (is_expression(node)) {
        raw_expression_tree_walker(node, push, walk);
        return;
    }
    struct parsed_fact fact = describe(node);
    fact.kind = fact_nested;
    if (fact.node == parsed_other) fact.kind = fact_not_understood;
    report_fact(walk, fact);
    examine_utility(walk, node);
}

static void walk_statement(struct tree_walk* walk, const RawStmt* raw) {
    struct parsed_fact fact = describe(raw->stmt);
    fact.offset = raw->stmt_location > 0 ? (size_t)raw->stmt_location : 0;
    fact.length = raw->stmt_len > 0 ? (size_t)raw->stmt_len : 0;
    walk->planned_only = false;
    report_fact(walk, fact);
    if (IsA(raw->stmt, SelectStmt)) report_configs(walk, (SelectStmt*)raw->stmt);
    /* The statement itself is a node like the others, so that what is true inside EXPLAIN is true here. */
    push(raw->stmt, walk);
    while (walk->count > 0 && !walk->failed)
        examine(walk, walk->nodes[--walk->count]);
}

int parse_statements(const char* text, parsed_fact_callback callback, void* context) {
    struct tree_walk walk = {.callback = callback, .context = context};
    MemoryContext memory = pg_query_enter_memory_context();
    PgQueryInternalParsetreeAndError parsed = pg_query_raw_parse(text);
    int understood = parsed.error == NULL;
    if (understood) {
        const ListCell* cell;
        foreach (cell, parsed.tree) {
            if (!walk.failed) walk_statement(&walk, lfirst(cell));
        }
        walk.planned_only = false;
        if (walk.failed) report_fact_kind(&walk, fact_not_understood);
    } else {
        pg_query_free_error(parsed.error);
    }
    free(parsed.stderr_buffer);
    free(walk.nodes);
    pg_query_exit_memory_context(memory);
    return understood;
}
