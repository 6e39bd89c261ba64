#include "protocol/schema_catalog_query.hpp"

#include "protocol/builtin_functions.hpp"

#include <charconv>

namespace pgmend::protocol {
namespace {

/// Objects above are the database's own; FirstNormalObjectId of PostgreSQL's transam.h.
#define OWN " >= 16384"

constexpr std::string_view ours_alone =
    "SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0; ";

/// pg_stat_*'s counters of the catalogs: late by a second or so, and they never go back but by a reset.
constexpr std::string_view version_row =
    "SELECT 'version', sum(pg_stat_get_tuples_inserted(c) + pg_stat_get_tuples_updated(c) +"
    " pg_stat_get_tuples_deleted(c))::text, '', ''"
    " FROM unnest('{pg_proc,pg_trigger,pg_rewrite,pg_policy,pg_attrdef,pg_constraint,pg_inherits,pg_type,"
    "pg_depend,pg_operator,pg_cast,pg_amproc,pg_event_trigger}'::regclass[]) c";

/// Functions of PostgreSQL's own as they stand in the text of a stored expression tree: those with lasting
/// effects, those with effects beyond their transaction, and all that are more than a computation. $hiding,
/// $beyond and $writing are lists of names.
constexpr std::string_view listed =
    "listed AS MATERIALIZED (SELECT"
    " ':funcid (' || string_agg(oid::text, '|') FILTER (WHERE proname = ANY ('{$hiding}')) || ') ' AS hides,"
    " ':funcid (' || string_agg(oid::text, '|') FILTER (WHERE proname = ANY ('{$beyond}')) || ') ' AS beyond,"
    " ':funcid (' || string_agg(oid::text, '|') || ') ' AS writes"
    " FROM pg_proc WHERE pronamespace = 11 AND oid < 16384 AND proname = ANY ('{$writing}'))";

/// Trusted: by C code that comes with an extension nobody reaches a session unawares. $sqlbody is an
/// expression.
constexpr std::string_view functions =
    "function AS MATERIALIZED (SELECT p.oid, p.proname, p.provolatile, l.lanname, p.proargdefaults, x.owned,"
    " p.prolang = 13 AND x.owned AS trusted, CASE WHEN p.prolang = 13 THEN '' ELSE $sqlbody END AS body"
    " FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang, LATERAL (SELECT EXISTS (SELECT FROM pg_depend d"
    " WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'e') AS owned) x WHERE p.oid" OWN ")";

/// Every stored expression that runs by itself when its owner is used. Read: reading the owner is enough.
constexpr std::string_view expressions =
    "expression AS ("
    "SELECT c.relname AS name, d.adbin::text AS tree, false AS read"
    " FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid WHERE d.oid" OWN
    " UNION ALL SELECT coalesce(c.relname, t.typname), k.conbin::text, k.contypid <> 0 FROM pg_constraint k"
    " LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_type t ON t.oid = k.contypid"
    " WHERE k.oid" OWN
    " AND k.conbin IS NOT NULL"
    " UNION ALL SELECT c.relname, concat(r.ev_qual::text, r.ev_action::text), true"
    " FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE r.oid" OWN
    " UNION ALL SELECT c.relname, concat(p.polqual::text, p.polwithcheck::text), true"
    " FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
    " UNION ALL SELECT c.relname, t.tgqual::text, false"
    " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgqual IS NOT NULL"
    " UNION ALL SELECT c.relname, concat(i.indexprs::text, i.indpred::text), false FROM pg_index i"
    " JOIN pg_class c ON c.oid = i.indrelid"
    " WHERE i.indexrelid" OWN
    " AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)"
    " UNION ALL SELECT t.typname, t.typdefaultbin::text, false FROM pg_type t"
    " WHERE t.typdefaultbin IS NOT NULL AND t.oid" OWN
    " UNION ALL SELECT f.proname, f.proargdefaults::text, true FROM function f"
    " WHERE f.proargdefaults IS NOT NULL)";

/// Objects whose dependencies count, by the name of the relation, type or function that a text would mention.
constexpr std::string_view owners =
    "owner AS ("
    "SELECT 2618 AS class, r.oid, c.relname AS name, true AS read"
    " FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE r.oid" OWN
    " UNION ALL SELECT 3256, p.oid, c.relname, true FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
    " UNION ALL SELECT 2604, d.oid, c.relname, false"
    " FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid WHERE d.oid" OWN
    " UNION ALL SELECT 2606, k.oid, coalesce(c.relname, t.typname), k.contypid <> 0 FROM pg_constraint k"
    " LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_type t ON t.oid = k.contypid"
    " WHERE k.oid" OWN
    " AND k.contype <> 'f'"
    " UNION ALL SELECT 1259, i.indexrelid, c.relname, false"
    " FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE i.indexrelid" OWN
    " UNION ALL SELECT 1259, c.oid, c.relname, true FROM pg_class c"
    " WHERE c.oid" OWN
    " AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')"
    " UNION ALL SELECT 1247, t.oid, t.typname, true FROM pg_type t WHERE t.oid" OWN
    " AND t.typrelid = 0"
    " UNION ALL SELECT 1255, f.oid, f.proname, true FROM function f)";

constexpr std::string_view references =
    "referenced AS ("
    "SELECT 1255 AS class, f.oid, f.proname AS name FROM function f"
    " WHERE NOT f.trusted OR f.provolatile = 'v'"
    " UNION ALL SELECT 1259, c.oid, c.relname FROM pg_class c"
    " WHERE c.oid" OWN
    " AND c.relkind IN ('r', 'p', 'f', 'v', 'm')"
    " UNION ALL SELECT 1247, t.oid, t.typname FROM pg_type t WHERE t.oid" OWN
    " AND (t.typtype IN ('d', 'c', 'r', 'm') OR t.typelem <> 0))";

/// A relation leads to those that read it by themselves, a type to what has columns of it.
constexpr std::string_view links =
    "link AS ("
    "SELECT f.proname AS source, c.relname AS target, false AS read FROM pg_trigger t"
    " JOIN pg_class c ON c.oid = t.tgrelid JOIN function f ON f.oid = t.tgfoid"
    " WHERE NOT t.tgisinternal AND NOT f.trusted"
    " UNION SELECT r.name, o.name, o.read FROM pg_depend d"
    " JOIN owner o ON o.class = d.classid AND o.oid = d.objid"
    " JOIN referenced r ON r.class = d.refclassid AND r.oid = d.refobjid"
    " WHERE r.name <> o.name AND (d.refclassid <> 1259 OR d.classid IN (2618, 3256, 1255))"
    " AND (d.refclassid <> 1247 OR d.classid IN (1259, 1247))"
    // What cascades, fires the triggers of the other side.
    " UNION SELECT c.relname, r.relname, false FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
    " JOIN pg_class r ON r.oid = k.confrelid WHERE k.contype = 'f' AND c.relname <> r.relname"
    " AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))"
    // What is done to a parent is done to its children.
    " UNION SELECT c.relname, p.relname, false FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " JOIN pg_class p ON p.oid = i.inhparent WHERE c.relkind NOT IN ('i', 'I') AND c.relname <> p.relname)";

constexpr std::string_view everywhere =
    "everywhere AS (SELECT f.proname FROM function f WHERE (NOT f.trusted OR f.provolatile = 'v') AND f.oid "
    "IN ("
    "SELECT oprcode FROM pg_operator WHERE oid" OWN " UNION ALL SELECT oprrest FROM pg_operator WHERE oid" OWN
    " UNION ALL SELECT oprjoin FROM pg_operator WHERE oid" OWN
    " UNION ALL SELECT castfunc FROM pg_cast WHERE oid" OWN
    " UNION ALL SELECT amproc FROM pg_amproc WHERE oid" OWN
    " UNION ALL SELECT rngcanonical FROM pg_range UNION ALL SELECT rngsubdiff FROM pg_range"
    " UNION ALL SELECT typinput FROM pg_type WHERE oid" OWN
    " UNION ALL SELECT typoutput FROM pg_type WHERE oid" OWN
    " UNION ALL SELECT typreceive FROM pg_type WHERE oid" OWN
    " UNION ALL SELECT typsend FROM pg_type WHERE oid" OWN "))";

constexpr std::string_view rows =
    " SELECT DISTINCT 'function', proname::text, concat(provolatile, CASE WHEN owned THEN 'e' ELSE '-' END,"
    " CASE WHEN length(body) > $max THEN 'unread' ELSE lanname END),"
    " CASE WHEN length(body) > $max THEN '' ELSE body END FROM function"
    " UNION ALL SELECT DISTINCT CASE WHEN tree ~ hides THEN 'hides' WHEN tree ~ beyond THEN 'beyond' ELSE "
    "'writes'"
    " END, name::text,"
    " CASE WHEN read THEN 'r' ELSE '' END, '' FROM expression, listed WHERE tree ~ writes"
    " UNION ALL SELECT 'link', source::text, CASE WHEN read THEN 'r' ELSE '' END, target::text FROM link"
    " UNION ALL SELECT DISTINCT 'everywhere', proname::text, '', '' FROM everywhere"
    " UNION ALL SELECT DISTINCT 'ddl', f.proname::text, '', ''"
    " FROM pg_event_trigger e JOIN function f ON f.oid = e.evtfoid UNION ALL ";

#undef OWN

std::string replaced(std::string_view text, std::string_view what, std::string_view by) {
    std::string result{text};
    result.replace(result.find(what), what.size(), by);
    return result;
}

std::string names_of_listed() {
    std::string hiding;
    std::string beyond;
    std::string writing;
    for_each_volatile_builtin([&](std::string_view name) {
        const builtin_function found = find_builtin_function("", name);
        if (found.read_only) return;
        (writing += writing.empty() ? "" : ",") += name;
        if (has(found.effects, hiding_effects)) (hiding += hiding.empty() ? "" : ",") += name;
        if (has(found.effects, beyond_effects)) (beyond += beyond.empty() ? "" : ",") += name;
    });
    return replaced(replaced(replaced(listed, "$hiding", hiding), "$beyond", beyond), "$writing", writing);
}

}  // namespace

std::string schema_catalog_query(std::string_view server_version, std::size_t body_max) {
    unsigned major = 0;
    std::from_chars(server_version.data(), server_version.data() + server_version.size(), major);
    std::string query{ours_alone};
    // Compiling a statement as long as this one would cost more than running it.
    if (major >= 11) query += "SET LOCAL jit = off; ";
    query += "WITH ";
    query += names_of_listed();
    query += ", ";
    query += replaced(
        functions, "$sqlbody", major >= 14 ? "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)" : "p.prosrc"
    );
    for (const auto part : {expressions, owners, references, links, everywhere}) {
        (query += ", ") += part;
    }
    query += replaced(replaced(rows, "$max", std::to_string(body_max)), "$max", std::to_string(body_max));
    query += version_row;
    return major >= 12 ? query
                       : replaced(replaced(query, " AS MATERIALIZED ", " AS "), " AS MATERIALIZED ", " AS ");
}

const std::string& schema_version_query() {
    static const std::string query = std::string{ours_alone} += version_row;
    return query;
}

}  // namespace pgmend::protocol
