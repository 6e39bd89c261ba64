// Goal: no effect is ever lost, whatever the spelling; what is not understood is unknown.
// Method: one table of statements with their whole traits, then the same table through mutations that must
// not matter, through unions, and through the cache.

#include "protocol/statement_classifier.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

using namespace pgmend::protocol;
using kind = statement_kind;
using effect = session_effect;
using control = transaction_control;

namespace {

struct expectation {
    const char* text;
    statement_kind what;
    session_effect effects;
    /// r read only, l locks rows, b cannot run in a block.
    const char* flags = "";
    transaction_control controls = control::none;
};

constexpr effect none = effect::none;
constexpr effect ddl = effect::changes_schema;
constexpr effect opaque = effect::unknown_function;

const expectation table[] = {
    // Reading.
    {"select 1", kind::select, none, "r"},
    {"table t", kind::select, none, "r"},
    {"values (1),(2)", kind::values, none, "r"},
    {"with a as (select 1) select * from a", kind::select, none, "r"},
    {"select a, count(*), now() from t where lower(b) = 'x' group by 1 order by 2 limit 3", kind::select,
     none, "r"},
    {"select extract(year from d), coalesce(a, b), current_date, substring(a from 2), trim(b), a at time "
     "zone 'utc' from t",
     kind::select, none, "r"},
    {"select row_number() over (partition by a order by b), max(c) filter (where d) from t", kind::select,
     none, "r"},
    {"select random(), clock_timestamp(), gen_random_uuid(), pg_sleep(1)", kind::select, none, "r"},
    {"select pg_catalog.lower(a) from t", kind::select, none, "r"},
    {"select * from t tablesample system (1)", kind::select, none, "r"},
    {"show work_mem", kind::show, none, "r"},
    {"explain select 1", kind::explain, none, "r"},
    {"explain insert into t values (1)", kind::explain, none, "r"},
    {"explain select nextval('s'), pg_advisory_lock(1)", kind::explain, none, "r"},
    {"explain (analyze, verbose) select 1", kind::explain, none, "r"},
    // Not repeatable.
    {"select txid_current()", kind::select, none},
    {"select pg_notify('a', 'b')", kind::select, none},
    {"select * from t for update", kind::select, none, "l"},
    {"select * from (select * from t for no key update skip locked) x", kind::select, none, "l"},
    {"select * from t for key share", kind::select, none, "l"},
    {"explain analyze delete from t", kind::explain, none},
    {"explain analyze update t set a = 1", kind::explain, none},
    {"explain analyze merge into t using u on a when matched then delete", kind::explain, none},
    {"explain (analyze off) delete from t", kind::explain, none},
    {"explain analyze select * from t for share", kind::explain, none, "l"},
    {"with x as (insert into t values (1) returning *) select * from x", kind::select, none},
    {"with x as (delete from t returning *) select * from x", kind::select, none},
    {"select * from (with x as (update t set a = 1 returning *) select * from x) y", kind::select, none},
    // Writing.
    {"insert into t (a, b) values (1, 'x') on conflict (a) do update set b = excluded.b returning a",
     kind::insert, none},
    {"update t set a = a + 1 where b = 2", kind::update, none},
    {"delete from t using u where t.a = u.a", kind::delete_, none},
    {"merge into t using u on t.a = u.a when matched then delete when not matched then insert values (1)",
     kind::merge, none},
    {"notify a, 'b'", kind::notify, none},
    {"lock table t in share mode", kind::lock, none},
    {"set constraints all deferred", kind::set_constraints, none},
    // Transactions.
    {"begin", kind::begin, none, "", control::begin},
    {"begin work", kind::begin, none, "", control::begin},
    {"begin isolation level serializable read only deferrable", kind::begin, none, "", control::begin},
    {"start transaction read write", kind::begin, none, "", control::begin},
    {"commit", kind::commit, none, "", control::commit},
    {"end", kind::commit, none, "", control::commit},
    {"commit work", kind::commit, none, "", control::commit},
    {"commit and chain", kind::commit, none, "", control::commit | control::chain},
    {"rollback", kind::rollback, none, "", control::rollback},
    {"abort", kind::rollback, none, "", control::rollback},
    {"rollback and chain", kind::rollback, none, "", control::rollback | control::chain},
    {"savepoint a", kind::savepoint, none, "", control::savepoint},
    {"release savepoint a", kind::release, none, "", control::savepoint},
    {"rollback to a", kind::rollback_to, none, "", control::savepoint},
    {"prepare transaction 'x'", kind::prepare_transaction, none, "", control::prepare},
    {"commit prepared 'x'", kind::commit_prepared, none, "b", control::prepared},
    {"rollback prepared 'x'", kind::rollback_prepared, none, "b", control::prepared},
    // Parameters and role.
    {"set work_mem = '1MB'", kind::set, effect::sets_parameter},
    {"set session app.tag to 'x'", kind::set, effect::sets_parameter},
    {"set time zone 'UTC'", kind::set, effect::sets_parameter},
    {"set names 'utf8'", kind::set, effect::sets_parameter},
    {"set schema 'x'", kind::set, effect::sets_parameter},
    {"set work_mem to default", kind::set, effect::sets_parameter},
    {"set session characteristics as transaction read only", kind::set, effect::sets_parameter},
    {"reset work_mem", kind::reset, effect::sets_parameter},
    {"reset all", kind::reset, effect::sets_parameter},
    {"reset time zone", kind::reset, effect::sets_parameter},
    {"set seed to 0.5", kind::set, effect::sets_parameter | effect::seed},
    {"set local work_mem = '1MB'", kind::set, none},
    {"set local role x", kind::set, none},
    {"set transaction isolation level serializable", kind::set, none},
    {"set transaction snapshot 'x'", kind::set, none},
    {"set transaction_read_only to on", kind::set, none},
    {"set role x", kind::set, effect::sets_role},
    {"set role none", kind::set, effect::sets_role},
    {"set \"role\" to 'x'", kind::set, effect::sets_role},
    {"reset role", kind::reset, effect::sets_role},
    {"set session authorization x", kind::set, effect::sets_role},
    {"set session authorization default", kind::set, effect::sets_role},
    {"reset session authorization", kind::reset, effect::sets_role},
    {"select set_config('a.b', 'c', false)", kind::select, effect::calls_set_config},
    {"select set_config('a.b', 'c', $1)", kind::select, effect::calls_set_config},
    {"select set_config('a.b', 'c', 't')", kind::select, effect::calls_set_config},
    {"select pg_catalog.set_config('a.b', 'c', is_local => false)", kind::select, effect::calls_set_config},
    {"select set_config('a.b', 'c', true)", kind::select, none},
    {"update pg_settings set setting = '1' where name = 'x'", kind::update,
     effect::sets_parameter | effect::unknown, "", control::hidden},
    {"with x as (update pg_catalog.pg_settings set setting = '1' returning 1) select 1", kind::select,
     effect::sets_parameter | effect::unknown, "", control::hidden},
    // Prepared statements, channels, cursors.
    {"prepare p (int) as select $1", kind::prepare, effect::sql_prepare},
    {"execute p (1)", kind::execute, effect::sql_execute},
    {"deallocate p", kind::deallocate, effect::sql_deallocate},
    {"deallocate all", kind::deallocate, effect::sql_deallocate},
    {"explain analyze execute p", kind::explain, effect::sql_execute},
    {"create table t as execute p", kind::ddl, ddl | effect::sql_execute},
    {"listen a", kind::listen, effect::listen},
    {"unlisten a", kind::unlisten, effect::unlisten},
    {"unlisten *", kind::unlisten, effect::unlisten},
    {"declare c cursor for select 1", kind::declare_cursor, effect::cursor},
    {"declare c cursor with hold for select 1", kind::declare_cursor, effect::cursor | effect::hold_cursor},
    {"declare c cursor for select set_config('a', 'b', false)", kind::declare_cursor,
     effect::cursor | effect::calls_set_config},
    {"fetch 5 from c", kind::fetch, none},
    {"move all in c", kind::fetch, none},
    {"close c", kind::close_cursor, none},
    {"discard all", kind::discard, effect::discard, "b"},
    {"discard temp", kind::discard, effect::discard},
    {"load 'x'", kind::load, effect::load},
    // Temporary objects.
    {"create temp table x (a int)", kind::ddl, ddl | effect::temp_object},
    {"create local temporary table x (a int) on commit delete rows", kind::ddl, ddl | effect::temp_object},
    {"create temp table x (a int) on commit drop", kind::ddl, ddl},
    {"create temp table x as select 1", kind::ddl, ddl | effect::temp_object},
    {"create temp table x on commit drop as select 1", kind::ddl, ddl},
    {"select 1 into temp x", kind::ddl, ddl | effect::temp_object},
    {"select 1 into x", kind::ddl, ddl},
    {"create temp view x as select 1", kind::ddl, ddl | effect::temp_object},
    {"create temp sequence x", kind::ddl, ddl | effect::temp_object},
    {"create table pg_temp.x (a int)", kind::ddl, ddl | effect::temp_object},
    {"create table pg_temp_3.x (a int)", kind::ddl, ddl | effect::temp_object},
    {"select 1 into \"pg_temp\".x", kind::ddl, ddl | effect::temp_object},
    {"create function pg_temp.f() returns int language sql as 'select 1'", kind::ddl,
     ddl | effect::temp_object},
    {"set search_path to pg_temp, public", kind::set, effect::sets_parameter | effect::temp_object},
    {"set search_path to 'pg_temp'", kind::set, effect::sets_parameter | effect::temp_object},
    {"set local search_path to 'pg_temp'", kind::set, effect::temp_object},
    {"select set_config('search_path', 'pg_temp', true)", kind::select, effect::temp_object},
    {"select * from pg_class where relname = 'pg_temp'", kind::select, none, "r"},
    {"insert into pg_temp.x values (1)", kind::insert, none},
    // Locks, sequences, seeds, large objects.
    {"select pg_advisory_lock(1)", kind::select, effect::advisory_lock},
    {"select pg_try_advisory_lock_shared(1, 2)", kind::select, effect::advisory_lock},
    {"select 1 where pg_catalog.pg_advisory_lock_shared(1) is not null", kind::select, effect::advisory_lock},
    {"select pg_advisory_unlock(1)", kind::select, effect::advisory_unlock},
    {"select pg_advisory_unlock_all()", kind::select, effect::advisory_unlock},
    {"select pg_advisory_xact_lock(1)", kind::select, effect::transaction_lock},
    {"select pg_try_advisory_xact_lock_shared(1)", kind::select, effect::transaction_lock},
    {"select nextval('s')", kind::select, effect::sequence_value},
    {"select currval('s'), lastval()", kind::select, effect::sequence_value},
    {"insert into t values (nextval('s'))", kind::insert, effect::sequence_value},
    {"select setval('s', 1)", kind::select, effect::sequence_value | effect::outside_effects},
    {"select setseed(0.5)", kind::select, effect::seed},
    {"select lo_open(1, 2)", kind::select, effect::large_object},
    {"select lo_import('x')", kind::select, effect::large_object | effect::outside_effects},
    // Functions hidden in every corner of a statement.
    {"select f()", kind::select, opaque},
    {"select public.lower('x')", kind::select, opaque},
    {"select * from f(1)", kind::select, opaque},
    {"select * from rows from (f(1), generate_series(1, 2))", kind::select, opaque},
    {"select a from t where exists (select 1 from u where f(u.a))", kind::select, opaque},
    {"select case when a then f() end, array[f()], row(f()), (f()).x, cast(f() as int), f() collate \"C\" "
     "from t",
     kind::select, opaque},
    {"select a from t group by f(a)", kind::select, opaque},
    {"select a from t group by grouping sets ((f(a)))", kind::select, opaque},
    {"select a from t having f(1)", kind::select, opaque},
    {"select a from t order by f(a)", kind::select, opaque},
    {"select distinct on (f(a)) a from t", kind::select, opaque},
    {"select a from t limit f(1)", kind::select, opaque},
    {"select a from t offset f(1)", kind::select, opaque},
    {"select a from t join u on f(a)", kind::select, opaque},
    {"select a from t, lateral (select f(a)) x", kind::select, opaque},
    {"select sum(a) filter (where f(a)) from t", kind::select, opaque},
    {"select sum(f(a)) over w from t window w as (order by a)", kind::select, opaque},
    {"select sum(a) over (order by f(a)) from t", kind::select, opaque},
    {"select sum(a) over w from t window w as (partition by f(a))", kind::select, opaque},
    {"select string_agg(a, ',' order by f(a)) from t", kind::select, opaque},
    {"select percentile_cont(f(1)) within group (order by a) from t", kind::select, opaque},
    {"select a[f(1)], a[1:f(2)] from t", kind::select, opaque},
    {"select a in (1, f(2)), a between 1 and f(3), a like f(4), not f(5) from t", kind::select, opaque},
    {"select a = any (array(select f(1))) from t", kind::select, opaque},
    {"select coalesce(null, f(1)), greatest(1, f(2)), nullif(f(1), 2)", kind::select, opaque},
    {"select f(1) is null, f(2) is true", kind::select, opaque},
    {"select lower(x => f(1))", kind::select, opaque},
    {"select xmlelement(name a, xmlattributes(f(1) as b), f(2))", kind::select, opaque},
    {"select * from xmltable('/a' passing f(1) columns b int)", kind::select, opaque},
    {"select * from t tablesample bernoulli (f(1)) repeatable (f(2))", kind::select, opaque},
    {"select * from t tablesample my_method (1)", kind::select, opaque},
    {"select 1 union all select f(1)", kind::select, opaque},
    {"with recursive x as (select 1 union select f(1) from x) select * from x", kind::select, opaque},
    {"values (1), (f(2))", kind::values, opaque},
    {"insert into t select f(1)", kind::insert, opaque},
    {"insert into t values (1) on conflict (f(a)) do nothing", kind::insert, opaque},
    {"insert into t values (1) on conflict (a) do update set b = f(1) where f(2)", kind::insert, opaque},
    {"insert into t values (1) returning f(a)", kind::insert, opaque},
    {"update t set a = f(1)", kind::update, opaque},
    {"update t set (a, b) = (select f(1), 2)", kind::update, opaque},
    {"update t set a = 1 from f(2) where b", kind::update, opaque},
    {"update t set a[f(1)] = 1", kind::update, opaque},
    {"update t set a = 1 returning f(1)", kind::update, opaque},
    {"delete from t where f(a)", kind::delete_, opaque},
    {"delete from t using f(1) x where x", kind::delete_, opaque},
    {"merge into t using u on f(a) when matched then delete", kind::merge, opaque},
    {"merge into t using u on a when matched and f(1) then do nothing", kind::merge, opaque},
    {"merge into t using u on a when matched then update set b = f(1)", kind::merge, opaque},
    {"merge into t using u on a when not matched then insert values (f(1))", kind::merge, opaque},
    {"execute p (f(1))", kind::execute, effect::sql_execute | opaque},
    {"explain execute p (f(1))", kind::explain, effect::sql_execute | opaque},
    {"explain select f(1)", kind::explain, opaque},
    {"explain analyze select f(1)", kind::explain, opaque},
    {"declare c cursor for select f(1)", kind::declare_cursor, effect::cursor | opaque},
    {"create table x as select f(1)", kind::ddl, ddl | opaque},
    {"create materialized view x as select f(1)", kind::ddl, ddl | opaque},
    {"copy (select f(1)) to stdout", kind::copy, effect::copy | opaque},
    {"copy t from stdin where f(a)", kind::copy, effect::copy | opaque},
    {"create index on t (f(a))", kind::ddl, ddl | opaque},
    {"create index on t (a) where f(a)", kind::ddl, ddl | opaque},
    {"alter table t add column a int default f(1)", kind::ddl, ddl | opaque},
    {"alter table t add column a int check (f(a))", kind::ddl, ddl | opaque},
    {"alter table t add constraint c check (f(a))", kind::ddl, ddl | opaque},
    {"alter table t alter column a type int using f(a)", kind::ddl, ddl | opaque},
    {"alter table t attach partition p for values in (f(1))", kind::ddl, ddl | opaque},
    {"create table p partition of t for values from (f(1)) to (2)", kind::ddl, ddl | opaque},
    {"create table p partition of t for values from (1) to (f(2))", kind::ddl, ddl | opaque},
    {"alter domain d add check (f(value))", kind::ddl, ddl | opaque},
    {"call p(f(1))", kind::call, effect::call | opaque, "", control::hidden},
    {"call p(1)", kind::call, effect::call | opaque, "", control::hidden},
    {"do $$ begin perform 1; end $$", kind::do_block, effect::do_block, "", control::hidden},
    {"select query_to_xml('select f()', true, true, '')", kind::select, opaque},
    {"select * from ts_stat('select f()')", kind::select, opaque},
    {"select cursor_to_xml('c', 1, true, true, '')", kind::select, opaque},
    {"select database_to_xml(true, true, '')", kind::select, opaque},
    {"select pg_create_logical_replication_slot('a', 'b', true)", kind::select,
     opaque | effect::outside_effects},
    // Outside the transaction.
    {"select dblink_exec('x', 'y')", kind::select, opaque | effect::outside_effects},
    {"select http_get('x')", kind::select, opaque | effect::outside_effects},
    {"select pg_terminate_backend(1)", kind::select, effect::outside_effects},
    {"select pg_cancel_backend(1)", kind::select, effect::outside_effects},
    {"copy t from stdin", kind::copy, effect::copy},
    {"copy t to stdout", kind::copy, effect::copy},
    {"copy t to '/x'", kind::copy, effect::copy | effect::outside_effects},
    {"copy t from program 'x'", kind::copy, effect::copy | effect::outside_effects},
    {"alter system set work_mem = '1MB'", kind::ddl, ddl | effect::outside_effects, "b"},
    // DDL, and what refuses a block.
    {"create table x (a int default f(1))", kind::ddl, ddl},
    {"alter table x add column b int", kind::ddl, ddl},
    {"drop table x", kind::ddl, ddl},
    {"truncate x", kind::ddl, ddl},
    {"grant select on x to y", kind::ddl, ddl},
    {"comment on table x is 'y'", kind::ddl, ddl},
    {"alter role x set work_mem = '1MB'", kind::ddl, ddl},
    {"create function f() returns int language sql return 1", kind::ddl, ddl},
    {"create extension x", kind::ddl, ddl | opaque},
    {"refresh materialized view x", kind::ddl, ddl},
    {"create index concurrently on t (a)", kind::ddl, ddl, "b"},
    {"drop index concurrently i", kind::ddl, ddl, "b"},
    {"alter table t detach partition p concurrently", kind::ddl, ddl, "b"},
    {"alter table t detach partition p finalize", kind::ddl, ddl, "b"},
    {"create database x", kind::ddl, ddl | effect::outside_effects, "b"},
    {"drop database x", kind::ddl, ddl | effect::outside_effects, "b"},
    {"alter database x set tablespace y", kind::ddl, ddl, "b"},
    {"alter database x set work_mem = '1MB'", kind::ddl, ddl},
    {"create tablespace x location '/y'", kind::ddl, ddl | effect::outside_effects, "b"},
    {"create subscription s connection 'x' publication p", kind::ddl, ddl | effect::outside_effects, "b"},
    {"vacuum", kind::maintenance, none, "b"},
    {"vacuum (full) t", kind::maintenance, none, "b"},
    {"analyze t", kind::maintenance, none},
    {"reindex table concurrently t", kind::maintenance, none, "b"},
    {"cluster", kind::maintenance, none, "b"},
    {"checkpoint", kind::maintenance, none},
    // Fixed when parsed.
    {"select 'now'::timestamp", kind::select, effect::special_literal, "r"},
    {"insert into t values (date 'Tomorrow')", kind::insert, effect::special_literal},
    {"create table t (a timestamp default 'now')", kind::ddl, ddl | effect::special_literal},
    // Nothing.
    {"", kind::empty, none, "r"},
    {" ;; /* x */", kind::empty, none, "r"},
};

statement_traits expected(const expectation& row) {
    const std::string flags = row.flags;
    const auto flag = [&](char letter) { return flags.find(letter) != std::string::npos; };
    return {row.what, row.controls, flag('r'), flag('l'), flag('b'), false, row.effects};
}

std::string print(const statement_traits& traits) {
    char line[120];
    std::snprintf(
        line, sizeof line, "kind %d control %x read_only %d locks %d no_block %d multiple %d effects %x",
        static_cast<int>(traits.kind), static_cast<unsigned>(traits.control), traits.read_only,
        traits.locks_rows, traits.cannot_run_in_block, traits.multiple, static_cast<unsigned>(traits.effects)
    );
    return line;
}

/// The same statement for PostgreSQL: other blanks, comments, letters and constants. Quoted parts are left
/// alone, but for constants without meaning.
std::string mutate(std::string_view text, std::mt19937& random) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        const char c = text[at];
        if (c == '\'' || c == '"' || c == '$') {
            std::size_t end =
                c == '$' && text.substr(at, 2) == "$$" ? text.find("$$", at + 2) : text.find(c, at + 1);
            if (c == '$' && text.substr(at, 2) != "$$") end = at;
            const std::size_t length = end + (c == '$' && text.substr(at, 2) == "$$" ? 2 : 1) - at;
            out += text.substr(at, length);
            at += length;
            continue;
        }
        if (c == ' ') {
            const char* blanks[] = {" ", "  ", "\n", "\t", " /* ; ' /* \" */ */ ", " -- $$ ;\n"};
            out += blanks[random() % std::size(blanks)];
        } else if (c >= '1' && c <= '9' && at > 0 && (text[at - 1] == ' ' || text[at - 1] == '(')) {
            out += std::to_string(1 + random() % 100000);
        } else {
            out += random() % 2 == 0 && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        }
        ++at;
    }
    return out;
}

}  // namespace

TEST_CASE("statement_classifier: every statement has exactly the traits of the table", "[protocol]") {
    statement_classifier classifier({});
    for (const auto& row : table) {
        CAPTURE(row.text);
        CHECK(print(classifier.classify(row.text)) == print(expected(row)));
        // And once more, from the cache.
        CHECK(classifier.classify(row.text) == expected(row));
    }
    CHECK(classifier.counters().hits >= std::size(table));
}

TEST_CASE("statement_classifier: blanks, comments, letters and constants change nothing", "[protocol]") {
    std::mt19937 random(11);
    statement_classifier fresh({});
    statement_classifier warm({});
    for (const auto& row : table)
        warm.classify(row.text);
    for (int round = 0; round < 20; ++round) {
        for (const auto& row : table) {
            const std::string text = mutate(row.text, random);
            CAPTURE(row.text, text);
            CHECK(print(fresh.classify(text)) == print(expected(row)));
            CHECK(print(warm.classify(text)) == print(expected(row)));
        }
    }
    CHECK(warm.counters().misses <= std::size(table));
}

TEST_CASE(
    "statement_classifier: several statements in one text have the union of their traits", "[protocol]"
) {
    std::mt19937 random(12);
    statement_classifier classifier({});
    for (int round = 0; round < 3000; ++round) {
        const auto& a = table[random() % std::size(table)];
        const auto& b = table[random() % std::size(table)];
        statement_traits one = expected(a), other = expected(b);
        if (one.kind == kind::empty || other.kind == kind::empty) continue;
        const std::string text = std::string(a.text) + " ; " + b.text + ";";
        CAPTURE(text);
        const statement_traits both = classifier.classify(text);
        CHECK(both.kind == kind::multiple);
        CHECK(both.multiple);
        CHECK((both.effects & (one.effects | other.effects)) == (one.effects | other.effects));
        // Only pg_temp in one and a change of schema in the other may add something.
        CHECK((both.effects & ~(one.effects | other.effects | effect::temp_object)) == none);
        CHECK(both.control == (one.control | other.control));
        CHECK(both.locks_rows == (one.locks_rows || other.locks_rows));
        CHECK(both.cannot_run_in_block == (one.cannot_run_in_block || other.cannot_run_in_block));
        if (both.read_only) CHECK((one.read_only && other.read_only));
    }
}
