#include "protocol/statement_facts.hpp"

#include "protocol/builtin_functions.hpp"

#include <string_view>

namespace pgmend::protocol {
namespace {

struct node_meaning {
    statement_kind kind = statement_kind::unknown;
    session_effect effects = session_effect::none;
    transaction_control control = transaction_control::none;
    bool read_only = false;
};

/// What the head of a statement says by itself.
node_meaning meaning_of(parsed_node node) noexcept {
    using kind = statement_kind;
    using effect = session_effect;
    using control = transaction_control;
    switch (node) {
        case parsed_select:
            return {kind::select, {}, {}, true};
        case parsed_values:
            return {kind::values, {}, {}, true};
        case parsed_insert:
            return {kind::insert, {}, {}, false};
        case parsed_update:
            return {kind::update, {}, {}, false};
        case parsed_delete:
            return {kind::delete_, {}, {}, false};
        case parsed_merge:
            return {kind::merge, {}, {}, false};
        case parsed_begin:
            return {kind::begin, {}, control::begin, false};
        case parsed_commit:
            return {kind::commit, {}, control::commit, false};
        case parsed_rollback:
            return {kind::rollback, {}, control::rollback, false};
        case parsed_savepoint:
            return {kind::savepoint, {}, control::savepoint, false};
        case parsed_release:
            return {kind::release, {}, control::savepoint, false};
        case parsed_rollback_to:
            return {kind::rollback_to, {}, control::savepoint, false};
        case parsed_prepare_transaction:
            return {kind::prepare_transaction, {}, control::prepare, false};
        case parsed_commit_prepared:
            return {kind::commit_prepared, {}, control::prepared, false};
        case parsed_rollback_prepared:
            return {kind::rollback_prepared, {}, control::prepared, false};
        case parsed_set:
            return {kind::set, {}, {}, false};
        case parsed_reset:
            return {kind::reset, {}, {}, false};
        case parsed_show:
            return {kind::show, {}, {}, true};
        case parsed_discard:
            return {kind::discard, effect::discard, {}, false};
        case parsed_prepare:
            return {kind::prepare, effect::sql_prepare, {}, false};
        case parsed_execute:
            return {kind::execute, effect::sql_execute, {}, false};
        case parsed_deallocate:
            return {kind::deallocate, effect::sql_deallocate, {}, false};
        case parsed_listen:
            return {kind::listen, effect::listen, {}, false};
        case parsed_unlisten:
            return {kind::unlisten, effect::unlisten, {}, false};
        case parsed_notify:
            return {kind::notify, {}, {}, false};
        case parsed_declare_cursor:
            return {kind::declare_cursor, effect::cursor, {}, false};
        case parsed_close_cursor:
            return {kind::close_cursor, {}, {}, false};
        case parsed_fetch:
            return {kind::fetch, {}, {}, false};
        case parsed_copy:
            return {kind::copy, effect::copy, {}, false};
        case parsed_ddl:
            return {kind::ddl, effect::changes_schema, {}, false};
        case parsed_call:
            return {kind::call, effect::call, control::hidden, false};
        case parsed_do:
            return {kind::do_block, effect::do_block, control::hidden, false};
        case parsed_load:
            return {kind::load, effect::load, {}, false};
        case parsed_lock:
            return {kind::lock, {}, {}, false};
        case parsed_explain:
            return {kind::explain, {}, {}, true};
        case parsed_set_constraints:
            return {kind::set_constraints, {}, {}, false};
        case parsed_maintenance:
            return {kind::maintenance, {}, {}, false};
        case parsed_none:
        case parsed_other:
            break;
    }
    return {kind::unknown, effect::unknown, control::hidden, false};
}

std::string_view view(const char* text) noexcept { return text == nullptr ? std::string_view() : text; }

/// ASCII lower case: parameter names compare so.
bool equal_folded(std::string_view a, std::string_view lower) noexcept {
    if (a.size() != lower.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const char c = a[i] >= 'A' && a[i] <= 'Z' ? static_cast<char>(a[i] + 32) : a[i];
        if (c != lower[i]) return false;
    }
    return true;
}

class collector {
public:
    collector(scanned_words words, const schema_catalog* catalog) noexcept
        : words_(words), catalog_(catalog) {
        traits_ = {statement_kind::empty, transaction_control::none, true, false, false, false,
                   session_effect::none};
    }

    static void receive(void* context, const parsed_fact* fact) noexcept {
        static_cast<collector*>(context)->take(*fact);
    }

    statement_traits result() noexcept {
        if (words_.moment_literal) traits_.effects |= session_effect::special_literal;
        // pg_temp can be named in many ways; only what may create something there matters.
        constexpr auto may_create = session_effect::changes_schema | session_effect::sets_parameter |
                                    session_effect::calls_set_config;
        if (words_.temp_schema && (has(traits_.effects, may_create) || sets_locally_)) {
            traits_.effects |= session_effect::temp_object;
        }
        if (traits_.effects != session_effect::none && traits_.effects != session_effect::special_literal) {
            traits_.read_only = false;
        }
        if (!traits_.known()) traits_.control |= transaction_control::hidden;
        return traits_;
    }

private:
    void take(const parsed_fact& fact) noexcept {
        switch (fact.kind) {
            case fact_statement:
                return statement(fact);
            case fact_nested:
                return add(meaning_of(fact.node));
            case fact_function:
                return function(fact);
            case fact_planned_call:
                return planned_call(fact);
            case fact_write:
                return write(fact);
            case fact_relation:
                traits_.effects |= session_effect::changes_schema;
                if (fact.flag != 0) traits_.effects |= session_effect::temp_object;
                return;
            case fact_row_lock:
                traits_.locks_rows = true;
                traits_.read_only = false;
                return;
            case fact_no_block:
                traits_.cannot_run_in_block = true;
                return;
            case fact_outside:
                traits_.effects |= session_effect::outside_effects;
                return;
            case fact_hides:
                traits_.effects |= session_effect::unknown_function;
                return;
            case fact_hold:
                traits_.effects |= session_effect::hold_cursor;
                return;
            case fact_set:
                return set(fact);
            case fact_not_understood:
                traits_.effects |= session_effect::unknown;
                return;
            case fact_set_text:
            case fact_set_number:
            case fact_set_opaque:
            case fact_config:
            case fact_discard:
                return;  // the values are session_changes' business
        }
    }

    void add(const node_meaning& meaning) noexcept {
        traits_.effects |= meaning.effects;
        traits_.control |= meaning.control;
        traits_.read_only = traits_.read_only && meaning.read_only;
    }

    void statement(const parsed_fact& fact) noexcept {
        const node_meaning meaning = meaning_of(fact.node);
        traits_.multiple = traits_.kind != statement_kind::empty;
        traits_.kind = traits_.multiple ? statement_kind::multiple : meaning.kind;
        add(meaning);
        if (fact.flag != 0) traits_.control |= transaction_control::chain;
    }

    void function(const parsed_fact& fact) noexcept {
        const std::string_view name = view(fact.name);
        builtin_function found = find(fact);
        if (fact.flag != 0 && name == "set_config" && found.effects == session_effect::calls_set_config) {
            found.effects = session_effect::none;  // is_local: over with the transaction
            sets_locally_ = true;
        }
        traits_.effects |= found.effects;
        traits_.read_only = traits_.read_only && found.read_only;
    }

    builtin_function find(const parsed_fact& fact) const noexcept {
        const std::string_view schema = view(fact.schema);
        const std::string_view name = view(fact.name);
        const builtin_function found = find_builtin_function(schema, name);
        if (catalog_ == nullptr || !has(found.effects, session_effect::unknown_function)) return found;
        const auto own = is_builtin_function(name) && (schema.empty() || schema == "pg_catalog")
                             ? std::nullopt
                             : catalog_->harmless_function(schema, name);
        if (!own) return found;
        const session_effect outside = found.effects & session_effect::outside_effects;
        return {
            outside | (own->changes_schema ? session_effect::changes_schema : session_effect::none),
            own->read_only && outside == session_effect::none};
    }

    /// The planner runs immutable functions whose arguments are constants; PostgreSQL's own are harmless.
    void planned_call(const parsed_fact& fact) noexcept {
        const builtin_function found = find(fact);
        traits_.effects |= found.effects & session_effect::unknown_function;
    }

    void write(const parsed_fact& fact) noexcept {
        traits_.read_only = false;
        const std::string_view schema = view(fact.schema);
        if (view(fact.name) == "pg_settings" && (schema.empty() || schema == "pg_catalog")) {
            traits_.effects |= session_effect::sets_parameter | session_effect::unknown;
        }
    }

    void set(const parsed_fact& fact) noexcept {
        traits_.read_only = false;
        if (fact.form == set_form_transaction) return;
        if (fact.flag != 0) {
            sets_locally_ = true;
            return;
        }
        const std::string_view name = view(fact.name);
        // They end with the transaction whichever way they are set.
        for (const std::string_view one :
             {"transaction_isolation", "transaction_read_only", "transaction_deferrable"}) {
            if (equal_folded(name, one)) return;
        }
        if (equal_folded(name, "role") || equal_folded(name, "session_authorization")) {
            traits_.effects |= session_effect::sets_role;
        } else {
            traits_.effects |= session_effect::sets_parameter;
            if (equal_folded(name, "seed")) traits_.effects |= session_effect::seed;
        }
    }

    scanned_words words_;
    const schema_catalog* catalog_;
    statement_traits traits_;
    bool sets_locally_ = false;
};

}  // namespace

std::optional<statement_traits> judge_statements(
    const char* text, scanned_words words, const schema_catalog* catalog
) noexcept {
    collector facts(words, catalog);
    if (parse_statements(text, &collector::receive, &facts) == 0) return std::nullopt;
    return facts.result();
}

}  // namespace pgmend::protocol
