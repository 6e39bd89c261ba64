#include "protocol/schema_catalog.hpp"

#include "protocol/builtin_functions.hpp"
#include "protocol/function_body.hpp"
#include "protocol/hash.hpp"
#include "protocol/sql_name.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace pgmend::protocol {
namespace {

/// Functions of extensions that are volatile because they answer differently each time, and do nothing else.
constexpr std::array<std::string_view, 5> harmless_of_extensions{
    "gen_random_bytes", "gen_random_uuid", "gen_salt", "crypt", "pgp_sym_encrypt"};
constexpr std::array<std::string_view, 2> harmless_prefixes{"uuid_generate_", "pgp_"};

/// Functions of extensions that keep something in the session.
constexpr std::array<std::string_view, 3> hiding_of_extensions{"set_limit", "isn_weak", "set_curcfg"};
constexpr std::string_view hiding_prefix = "dblink";

/// What neither reads a relation nor calls a function: what is hidden there it cannot reach.
bool reaches_nothing(statement_kind kind) noexcept {
    switch (kind) {
        case statement_kind::empty:
        case statement_kind::begin:
        case statement_kind::commit:
        case statement_kind::rollback:
        case statement_kind::savepoint:
        case statement_kind::release:
        case statement_kind::rollback_to:
        case statement_kind::prepare_transaction:
        case statement_kind::commit_prepared:
        case statement_kind::rollback_prepared:
        case statement_kind::set:
        case statement_kind::reset:
        case statement_kind::show:
        case statement_kind::discard:
        case statement_kind::deallocate:
        case statement_kind::listen:
        case statement_kind::unlisten:
        case statement_kind::notify:
        case statement_kind::lock:
            return true;
        case statement_kind::unknown:
        case statement_kind::multiple:
        case statement_kind::select:
        case statement_kind::values:
        case statement_kind::insert:
        case statement_kind::update:
        case statement_kind::delete_:
        case statement_kind::merge:
        case statement_kind::prepare:
        case statement_kind::execute:
        case statement_kind::declare_cursor:
        case statement_kind::close_cursor:
        case statement_kind::fetch:
        case statement_kind::copy:
        case statement_kind::ddl:
        case statement_kind::call:
        case statement_kind::do_block:
        case statement_kind::load:
        case statement_kind::explain:
        case statement_kind::set_constraints:
        case statement_kind::maintenance:
            return false;
    }
    return false;
}

template <class Names>
bool contains(const Names& names, std::string_view name) noexcept {
    return std::find(names.begin(), names.end(), name) != names.end();
}

bool mentions(std::string_view text, std::string_view word) noexcept {
    const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
    return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

bool writes(std::string_view builtin) noexcept {
    return is_builtin_function(builtin) && !find_builtin_function("", builtin).read_only;
}

}  // namespace

std::optional<catalog_function> schema_catalog::harmless_function(
    std::string_view schema, std::string_view name
) const noexcept {
    // Temporary functions are in no catalog but their session's.
    if (schema.starts_with("pg_temp")) return std::nullopt;
    const auto number = name_number(name);
    const auto found = functions_.find(number);
    if (found == functions_.end() || hiding_.contains(number)) return std::nullopt;
    return found->second;
}

void schema_catalog::extend(statement_traits& traits, std::string_view text) const {
    if (reaches_nothing(traits.kind) && !traits.multiple) return;
    const bool by_ddl = ddl_ && has(traits.effects, session_effect::changes_schema);
    if (everywhere_ || by_ddl) traits.effects |= session_effect::unknown_function;
    if (beyond_everywhere_) traits.effects |= session_effect::hidden_beyond;
    if (writes_everywhere_ || everywhere_ || beyond_everywhere_) traits.read_only = false;
    if (hiding_.empty() && writing_.empty() && beyond_.empty()) return;
    sql_scanner scanner(text);
    for (sql_token token = scanner.next(); token.kind != sql_token_kind::end; token = scanner.next()) {
        if (token.kind == sql_token_kind::error) return;
        if (token.kind != sql_token_kind::identifier && token.kind != sql_token_kind::quoted_identifier)
            continue;
        const auto name = spelled_name(token);
        const auto number = name ? name_number(*name) : 0;
        if (!name || hiding_.contains(number)) traits.effects |= session_effect::unknown_function;
        if (!name || beyond_.contains(number)) traits.effects |= session_effect::hidden_beyond;
        if (!name || writing_.contains(number)) traits.read_only = false;
    }
    if (has(traits.effects, session_effect::unknown_function | session_effect::hidden_beyond))
        traits.read_only = false;
}

bool schema_catalog::concerned_by(const statement_traits& traits, std::string_view text) const {
    // What stands inside a constant of DO, or in a text nobody understood, is found by its letters.
    if (has(traits.effects, session_effect::do_block | session_effect::unknown)) {
        constexpr std::array<std::string_view, 8> words{"function", "procedure", "trigger",   "policy",
                                                        "rule",     "extension", "aggregate", "operator"};
        return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
            return mentions(text, word);
        });
    }
    return has(traits.effects, session_effect::changes_schema) && made_by(text);
}

/// Whether DDL of this text makes or moves something that reaches further.
bool schema_catalog::made_by(std::string_view text) const {
    constexpr std::array<std::string_view, 9> makers{"function",  "procedure", "routine",
                                                     "extension", "language",  "aggregate",
                                                     "operator",  "cast",      "server"};
    constexpr std::array<std::string_view, 3> readers{"view", "rule", "policy"};
    bool reads = false;
    bool calls_writer = false;
    sql_scanner scanner(text);
    for (sql_token token = scanner.next(); token.kind != sql_token_kind::end; token = scanner.next()) {
        if (token.kind == sql_token_kind::error) return true;
        if (token.kind != sql_token_kind::identifier && token.kind != sql_token_kind::quoted_identifier)
            continue;
        const auto name = spelled_name(token);
        if (!name) return true;
        const auto number = name_number(*name);
        if (contains(makers, *name) || hiding_.contains(number) || writing_.contains(number) ||
            beyond_.contains(number))
            return true;
        const auto builtin =
            is_builtin_function(*name) ? find_builtin_function("", *name).effects : session_effect::none;
        if (has(builtin, hiding_effects | beyond_effects)) return true;
        reads = reads || contains(readers, *name);
        calls_writer = calls_writer || writes(*name);
    }
    return reads && calls_writer;
}

std::shared_ptr<const schema_catalog> schema_catalog::cautious() {
    static const auto everything = [] {
        auto catalog = std::make_shared<schema_catalog>();
        catalog->everywhere_ = catalog->writes_everywhere_ = catalog->ddl_ = true;
        catalog->beyond_everywhere_ = true;
        catalog->id_ = 2;
        return std::shared_ptr<const schema_catalog>{std::move(catalog)};
    }();
    return everything;
}

bool schema_catalog_builder::add(const catalog_row& row) {
    if (row.kind == "version") {
        std::uint64_t version = 0;
        const char* end = row.name.data() + row.name.size();
        if (std::from_chars(row.name.data(), end, version).ptr == end) version_ = version;
        return true;
    }
    std::uint64_t content = 0;
    for (const auto part : {row.kind, row.name, row.flags, row.extra}) {
        content = hash_bytes(as_bytes(part), content).low;
    }
    content_ += content;
    const bool read = row.flags == "r";
    const auto number = name_number(row.name);
    if (row.kind == "function") {
        add_function(row);
        bytes_ += sizeof(named_function) + functions_.back().mentions.size() * sizeof(std::uint64_t);
    } else if (row.kind == "link") {
        links_.push_back({number, name_number(row.extra), read});
        bytes_ += sizeof(link);
    } else {
        const bool expression = row.kind == "hides" || row.kind == "beyond" || row.kind == "writes";
        if (row.kind == "hides") hiding_expressions_.push_back(number);
        if (row.kind == "beyond") beyond_expressions_.push_back(number);
        if (row.kind == "hides" || (expression && read)) writing_expressions_.push_back(number);
        if (row.kind == "everywhere") everywhere_.push_back(number);
        if (row.kind == "ddl") ddl_.push_back(number);
        bytes_ += 2 * sizeof(std::uint64_t);
    }
    return bytes_ <= max_bytes_;
}

/// Flags: the volatility as in pg_proc, `e` when an extension owns it or `-`, the language.
void schema_catalog_builder::add_function(const catalog_row& row) {
    const bool is_volatile = row.flags.empty() || row.flags[0] == 'v';
    const bool owned = row.flags.size() > 1 && row.flags[1] == 'e';
    const std::string_view language = row.flags.substr(std::min<std::size_t>(2, row.flags.size()));
    named_function function{name_number(row.name), false, is_volatile, false, true, false, {}};
    if (language == "internal") {
        // Another name for one of PostgreSQL's own.
        const builtin_function builtin = find_builtin_function("", row.extra);
        function.hides = has(builtin.effects, hiding_effects);
        function.writes = !builtin.read_only;
        function.beyond = has(builtin.effects, beyond_effects);
    } else if (language == "c" && owned) {
        const auto begins = [&](std::string_view prefix) { return row.name.starts_with(prefix); };
        const bool harmless = contains(harmless_of_extensions, row.name) ||
                              std::any_of(harmless_prefixes.begin(), harmless_prefixes.end(), begins);
        function.hides = contains(hiding_of_extensions, row.name) || row.name.starts_with(hiding_prefix);
        function.writes = is_volatile && !harmless;
        function.known = !function.writes;
        function.beyond = function.writes;
    } else {
        body_facts body = judge_body(language, row.extra);
        function.hides = body.hides;
        function.beyond = body.beyond;
        function.changes_schema = body.changes_schema;
        function.mentions = std::move(body.names);
    }
    functions_.push_back(std::move(function));
}

/// Every name from which something of that property can be reached, by reading alone where it is to write:
/// along the links, and through the names that bodies mention.
std::unordered_set<std::uint64_t> schema_catalog_builder::reached(property what) const {
    const bool by_reading = what == property::writes;
    std::unordered_multimap<std::uint64_t, std::uint64_t> leads_to;
    std::vector<std::uint64_t> fresh = what == property::hides    ? hiding_expressions_
                                       : what == property::writes ? writing_expressions_
                                                                  : beyond_expressions_;
    std::unordered_set<std::uint64_t> names;  // that anything can lead from
    for (const link& each : links_) {
        if (by_reading && !each.read) continue;
        leads_to.emplace(each.source, each.target);
        names.insert(each.source);
        names.insert(each.target);
    }
    for (const named_function& function : functions_) {
        names.insert(function.name);
        const bool has_it = what == property::hides    ? function.hides
                            : what == property::writes ? function.writes
                                                       : function.beyond;
        if (has_it) fresh.push_back(function.name);
    }
    names.insert(fresh.begin(), fresh.end());
    for (const named_function& function : functions_) {
        for (const std::uint64_t mentioned : function.mentions) {
            if (mentioned != function.name && names.contains(mentioned))
                leads_to.emplace(mentioned, function.name);
        }
    }
    std::unordered_set<std::uint64_t> found;
    while (!fresh.empty()) {
        const std::uint64_t name = fresh.back();
        fresh.pop_back();
        if (!found.insert(name).second) continue;
        const auto [begin, end] = leads_to.equal_range(name);
        for (auto it = begin; it != end; ++it) {
            fresh.push_back(it->second);
        }
    }
    return found;
}

void schema_catalog_builder::describe_functions(schema_catalog& catalog) const {
    std::unordered_set<std::uint64_t> unknown;
    for (const named_function& function : functions_) {
        if (!function.known) unknown.insert(function.name);
        auto& described =
            catalog.functions_.try_emplace(function.name, catalog_function{true, false}).first->second;
        described.read_only = described.read_only && !catalog.writing_.contains(function.name);
        described.changes_schema = described.changes_schema || function.changes_schema;
    }
    for (const std::uint64_t name : unknown) {
        catalog.functions_.erase(name);
    }
}

std::shared_ptr<const schema_catalog> schema_catalog_builder::build() {
    auto catalog = std::make_shared<schema_catalog>();
    catalog->hiding_ = reached(property::hides);
    catalog->writing_ = reached(property::writes);
    catalog->beyond_ = reached(property::beyond);
    const auto any_of = [](const std::vector<std::uint64_t>& names, const auto& among) {
        return std::any_of(names.begin(), names.end(), [&](std::uint64_t name) {
            return among.contains(name);
        });
    };
    catalog->everywhere_ = any_of(everywhere_, catalog->hiding_);
    catalog->writes_everywhere_ = any_of(everywhere_, catalog->writing_);
    catalog->beyond_everywhere_ = any_of(everywhere_, catalog->beyond_);
    catalog->ddl_ = any_of(ddl_, catalog->hiding_);
    describe_functions(*catalog);
    catalog->id_ = content_ | 1ULL << 63;
    return catalog;
}

}  // namespace pgmend::protocol
