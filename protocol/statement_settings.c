/* What sets parameters: the values are read off the tree, so that they can be said again elsewhere. */

#include "protocol/statement_walk.h"

#include <stdio.h>
#include <string.h>

const char* node_string_at(const List* list, int index) {
    const Node* node = list_nth(list, index);
    return IsA(node, String) ? strVal(node) : NULL;
}

bool node_is_true(const Node* node) {
    if (!IsA(node, A_Const)) return false;
    const A_Const* constant = (const A_Const*)node;
    return !constant->isnull && IsA(&constant->val, Boolean) && constant->val.boolval.boolval;
}

static const char* text_constant(const Node* node) {
    if (!IsA(node, A_Const)) return NULL;
    const A_Const* constant = (const A_Const*)node;
    return !constant->isnull && IsA(&constant->val, String) ? constant->val.sval.sval : NULL;
}

static void report_set_value(struct tree_walk* walk, const Node* node) {
    const char* text = text_constant(node);
    char digits[32];
    if (text != NULL) {
        report_fact(walk, (struct parsed_fact){.kind = fact_set_text, .value = text});
        return;
    }
    if (IsA(node, A_Const) && !((const A_Const*)node)->isnull) {
        const A_Const* constant = (const A_Const*)node;
        if (IsA(&constant->val, Integer)) {
            snprintf(digits, sizeof digits, "%d", constant->val.ival.ival);
            report_fact(walk, (struct parsed_fact){.kind = fact_set_number, .value = digits});
            return;
        }
        if (IsA(&constant->val, Float)) {
            report_fact(
                walk, (struct parsed_fact){.kind = fact_set_number, .value = constant->val.fval.fval}
            );
            return;
        }
    }
    report_fact_kind(walk, fact_set_opaque);
}

/* The grammar spells transaction_isolation and its two kin; for a session they are default_… */
static void report_session_characteristics(struct tree_walk* walk, const List* options) {
    const ListCell* cell;
    foreach (cell, options) {
        const DefElem* option = lfirst(cell);
        char name[64];
        snprintf(name, sizeof name, "default_%s", option->defname);
        report_fact(walk, (struct parsed_fact){.kind = fact_set, .form = set_form_session, .name = name});
        report_set_value(walk, option->arg);
    }
}

void report_set(struct tree_walk* walk, const VariableSetStmt* set) {
    struct parsed_fact fact = {.kind = fact_set, .name = set->name, .flag = set->is_local};
    const ListCell* cell;
    switch (set->kind) {
        case VAR_SET_VALUE:
            fact.form = set_form_value;
            report_fact(walk, fact);
            foreach (cell, set->args)
                report_set_value(walk, lfirst(cell));
            break;
        case VAR_SET_DEFAULT:
        case VAR_RESET:
            fact.form = set_form_default;
            report_fact(walk, fact);
            break;
        case VAR_RESET_ALL:
            fact.form = set_form_all;
            report_fact(walk, fact);
            break;
        case VAR_SET_MULTI:
            if (strcmp(set->name, "SESSION CHARACTERISTICS") == 0) {
                report_session_characteristics(walk, set->args);
            } else {
                fact.form = set_form_transaction;
                report_fact(walk, fact);
            }
            break;
        case VAR_SET_CURRENT:
            report_fact_kind(walk, fact_not_understood);
            break;
    }
}

/* A set_config in the target list of a bare SELECT runs exactly once; anywhere else its effect is unclear. */
void report_configs(struct tree_walk* walk, const SelectStmt* select) {
    const ListCell* cell;
    if (select->fromClause || select->whereClause || select->groupClause || select->havingClause ||
        select->windowClause || select->valuesLists || select->sortClause || select->limitOffset ||
        select->limitCount || select->withClause || select->distinctClause || select->op != SETOP_NONE) {
        return;
    }
    foreach (cell, select->targetList) {
        const ResTarget* target = lfirst(cell);
        const FuncCall* call = (const FuncCall*)target->val;
        if (call == NULL || !IsA(call, FuncCall) || list_length(call->args) != 3) continue;
        if (call->agg_filter || call->over || call->agg_order || call->agg_distinct) continue;
        int parts = list_length(call->funcname);
        const char* function = node_string_at(call->funcname, parts - 1);
        const char* schema = parts > 1 ? node_string_at(call->funcname, parts - 2) : NULL;
        if (schema != NULL && strcmp(schema, "pg_catalog") != 0) continue;
        const char* name = text_constant(list_nth(call->args, 0));
        const char* value = text_constant(list_nth(call->args, 1));
        const Node* local = list_nth(call->args, 2);
        if (function == NULL || strcmp(function, "set_config") != 0 || name == NULL || value == NULL)
            continue;
        if (!IsA(local, A_Const) || ((const A_Const*)local)->isnull) continue;
        if (!IsA(&((const A_Const*)local)->val, Boolean)) continue;
        report_fact(
            walk, (struct parsed_fact
                  ){.kind = fact_config, .name = name, .value = value, .flag = node_is_true(local)}
        );
    }
}
