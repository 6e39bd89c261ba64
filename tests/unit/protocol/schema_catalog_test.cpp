#include <catch2/catch.hpp>

#include "protocol/schema_catalog.hpp"
#include "protocol/schema_catalog_query.hpp"
#include "protocol/statement_classifier.hpp"

using namespace pgmend::protocol;

namespace {

constexpr const char* setter = "BEGIN PERFORM set_config('app.user', 'x', false); RETURN NEW; END";
constexpr const char* harmless = "BEGIN NEW.at := now(); RETURN NEW; END";

using rows = std::vector<catalog_row>;

std::shared_ptr<const schema_catalog> catalog_of(const rows& from, std::size_t max_bytes = 1 << 20) {
    schema_catalog_builder builder(max_bytes);
    for (const auto& row : from) {
        REQUIRE(builder.add(row));
    }
    return builder.build();
}

struct judge {
    statement_classifier classifier{{}};
    std::shared_ptr<const schema_catalog> catalog;

    explicit judge(const rows& from) : catalog(catalog_of(from)) {}
    statement_traits operator()(std::string_view text) {
        return classifier.classify(text, {}, catalog.get());
    }
    bool hides(std::string_view text) { return has((*this)(text).effects, session_effect::unknown_function); }
    bool read_only(std::string_view text) { return (*this)(text).read_only; }
    bool beyond(std::string_view text) { return has((*this)(text).effects, session_effect::hidden_beyond); }
};

}  // namespace

TEST_CASE("catalog: a trigger's function is reached by whoever names its table") {
    judge traits{{
        {"function", "audit", "v-plpgsql", setter},
        {"function", "touch", "v-plpgsql", harmless},
        {"link", "audit", "", "accounts"},
        {"link", "touch", "", "orders"},
    }};
    CHECK(traits.hides("INSERT INTO accounts VALUES (1)"));
    CHECK(traits.hides("insert into public.\"Accounts\" values (1)"));
    CHECK(traits.hides("WITH x AS (UPDATE accounts SET a = 1 RETURNING a) SELECT * FROM x"));
    CHECK(traits.hides("COPY accounts FROM STDIN"));
    CHECK(traits.hides("TRUNCATE accounts"));
    CHECK(traits.hides("SELECT 1; DELETE FROM accounts"));
    CHECK(traits.hides("INSERT INTO U&\"acc\\006funts\" VALUES (1)"));
    CHECK_FALSE(traits.hides("INSERT INTO orders VALUES ('accounts')"));
    CHECK_FALSE(traits.hides("INSERT INTO orders VALUES (1) -- accounts"));
    CHECK_FALSE(traits.hides("COMMIT"));
    CHECK_FALSE(traits.hides("LOCK accounts"));
}

TEST_CASE("catalog: hiding goes along views, cascades, bodies and types, however far") {
    judge traits{{
        {"function", "audit", "v-plpgsql", setter},
        {"function", "book", "v-plpgsql", "BEGIN INSERT INTO accounts VALUES (1); RETURN NULL; END"},
        {"function", "outer_book", "v-sql", "SELECT book()"},
        {"link", "audit", "", "accounts"},
        {"link", "accounts", "r", "v"},
        {"link", "v", "r", "w"},
        {"link", "w", "", "parent"},
        {"hides", "defaulted", "", ""},
        {"link", "defaulted", "", "referenced"},
    }};
    for (const char* text :
         {"SELECT * FROM w", "DELETE FROM parent", "SELECT outer_book()", "CALL book()",
          "INSERT INTO defaulted DEFAULT VALUES", "DELETE FROM referenced"}) {
        CAPTURE(text);
        CHECK(traits.hides(text));
    }
    CHECK_FALSE(traits.hides("SELECT * FROM other"));
}

TEST_CASE("catalog: functions of the database that are cleared do not keep a client's server") {
    judge traits{{
        {"function", "total", "s-sql", "SELECT sum(a) FROM t"},
        {"function", "pay", "v-plpgsql", "BEGIN UPDATE t SET a = 1; END"},
        {"function", "calm_but_writes", "s-sql", "SELECT pay()"},
        {"function", "tenant", "v-plpgsql", setter},
        {"function", "twice", "s-sql", "SELECT 1"},
        {"function", "twice", "v-plpgsql", setter},
        {"function", "migrate", "v-plpgsql", "BEGIN ALTER TABLE t ADD b int; END"},
        {"function", "st_area", "iec", ""},
        {"function", "uuid_generate_v4", "vec", ""},
        {"function", "strange_c", "vec", ""},
        {"function", "own_c", "i-c", ""},
        {"function", "set_limit", "vec", ""},
        {"function", "alias", "v-internal", "set_config"},
    }};
    CHECK_FALSE(traits.hides("SELECT total(), pay()"));
    CHECK(traits.read_only("SELECT total()"));
    CHECK(traits.read_only("SELECT st_area($1)"));
    CHECK_FALSE(traits.read_only("SELECT pay()"));
    CHECK_FALSE(traits.read_only("SELECT calm_but_writes()"));
    CHECK_FALSE(traits.hides("SELECT uuid_generate_v4()"));
    CHECK_FALSE(traits.hides("CALL pay()"));
    for (const char* text :
         {"SELECT tenant()", "SELECT twice()", "SELECT missing()", "SELECT strange_c()", "SELECT own_c()",
          "SELECT set_limit(0.3)", "SELECT pg_temp.total()", "SELECT alias()", "CALL tenant()",
          "SELECT 1 FROM tenant()"}) {
        CAPTURE(text);
        CHECK(traits.hides(text));
        CHECK_FALSE(traits.read_only(text));
    }
    CHECK(has(traits("SELECT migrate()").effects, session_effect::changes_schema));
}

TEST_CASE("catalog: what no text names is suspected of every statement") {
    const rows with_operator{{"function", "compare", "i-plpgsql", setter}, {"everywhere", "compare", "", ""}};
    judge traits{with_operator};
    CHECK(traits.hides("SELECT 1 WHERE $1 = $2"));
    CHECK_FALSE(traits.hides("BEGIN"));
    CHECK_FALSE(traits.hides("SET work_mem = '1MB'"));
    judge calm{
        {{"function", "compare", "i-plpgsql", "BEGIN RETURN true; END"}, {"everywhere", "compare", "", ""}}};
    CHECK_FALSE(calm.hides("SELECT 1 WHERE $1 = $2"));
    CHECK(calm.read_only("SELECT 1 WHERE $1 = $2"));
    judge event{{{"function", "guard", "v-plpgsql", setter}, {"ddl", "guard", "", ""}}};
    CHECK(event.hides("CREATE TABLE x (a int)"));
    CHECK_FALSE(event.hides("SELECT 1"));
}

TEST_CASE("catalog: a view over what writes is not read-only, a table with a trigger still is") {
    judge traits{{
        {"function", "draw", "v-plpgsql", "BEGIN INSERT INTO log VALUES (1); RETURN 1; END"},
        {"link", "draw", "r", "drawn"},
        {"link", "draw", "", "table_with_trigger"},
        {"writes", "next_id", "r", ""},
        {"writes", "table_with_default", "", ""},
    }};
    CHECK_FALSE(traits.read_only("SELECT * FROM drawn"));
    CHECK_FALSE(traits.read_only("SELECT * FROM next_id"));
    CHECK(traits.read_only("SELECT * FROM table_with_trigger"));
    CHECK(traits.read_only("SELECT * FROM table_with_default"));
    CHECK_FALSE(traits.hides("SELECT * FROM drawn"));
}

TEST_CASE("catalog: what must not be done twice is reached along the same ways, and hides nothing") {
    judge traits{{
        {"function", "lock_row", "v-plpgsql", "BEGIN PERFORM pg_advisory_xact_lock(NEW.id); RETURN NEW; END"},
        {"function", "restart", "v-sql", "SELECT setval('numbers', 1)"},
        {"function", "spool", "v-plpgsql", "BEGIN COPY log TO '/tmp/log'; RETURN NULL; END"},
        {"function", "quiet_lock", "s-plpgsql", "BEGIN PERFORM pg_try_advisory_xact_lock(1); RETURN 1; END"},
        {"function", "http_post", "vec", ""},
        {"function", "tell", "v-plpgsql", "BEGIN PERFORM http_post('http://a/'); RETURN NEW; END"},
        {"function", "touch", "v-plpgsql", harmless},
        {"link", "lock_row", "", "accounts"},
        {"link", "accounts", "", "branches"},
        {"link", "spool", "", "spooled"},
        {"link", "tell", "", "orders"},
        {"link", "touch", "", "notes"},
        {"beyond", "drawn", "r", ""},
    }};
    for (const char* text :
         {"INSERT INTO accounts VALUES (1)", "DELETE FROM branches", "SELECT restart()",
          "SELECT quiet_lock()", "INSERT INTO spooled VALUES (1)", "INSERT INTO orders VALUES (1)",
          "SELECT * FROM drawn"}) {
        CAPTURE(text);
        CHECK(traits.beyond(text));
        CHECK_FALSE(traits.hides(text));
        CHECK_FALSE(traits.read_only(text));
    }
    CHECK_FALSE(traits.beyond("INSERT INTO notes VALUES (1)"));
    CHECK_FALSE(traits.beyond("SELECT 1"));
    CHECK_FALSE(traits.beyond("COMMIT"));
    judge compared{
        {{"function", "compare", "i-plpgsql", "BEGIN RETURN pg_try_advisory_xact_lock(1); END"},
         {"everywhere", "compare", "", ""}}};
    CHECK(compared.beyond("SELECT 1 WHERE $1 = $2"));
}

TEST_CASE("catalog: nothing is known of a database that could not be read") {
    const auto catalog = schema_catalog::cautious();
    statement_classifier classifier{{}};
    CHECK(has(classifier.classify("SELECT 1", {}, catalog.get()).effects, session_effect::unknown_function));
    CHECK_FALSE(classifier.classify("SELECT 1", {}, catalog.get()).read_only);
    CHECK(catalog->hides_anything());
    schema_catalog_builder small(100);
    bool fits = true;
    for (int i = 0; i < 10; ++i)
        fits = small.add({"link", "a", "", "b"});
    CHECK_FALSE(fits);
}

TEST_CASE("catalog: the classifier's memory is of one catalog at a time") {
    statement_classifier classifier{{}};
    const auto before = catalog_of({{"function", "f", "v-plpgsql", setter}});
    const auto after = catalog_of({{"function", "f", "v-plpgsql", setter}, {"link", "f", "", "t"}});
    CHECK(before->id() != after->id());
    for (int turn = 0; turn < 2; ++turn) {
        CHECK_FALSE(has(
            classifier.classify("DELETE FROM t", {}, before.get()).effects, session_effect::unknown_function
        ));
        CHECK(has(
            classifier.classify("DELETE FROM t", {}, after.get()).effects, session_effect::unknown_function
        ));
        CHECK_FALSE(has(classifier.classify("DELETE FROM t").effects, session_effect::unknown_function));
    }
    CHECK(classifier.counters().misses == 3);
}

TEST_CASE("catalog: equal rows in another order are the same catalog, and the version is not part of it") {
    const catalog_row a{"function", "a", "s-sql", "SELECT 1"};
    const catalog_row b{"link", "a", "r", "c"};
    CHECK(catalog_of({a, b})->id() == catalog_of({b, a, {"version", "17", "", ""}})->id());
    CHECK(catalog_of({a})->id() != catalog_of({a, b})->id());
    schema_catalog_builder builder(1000);
    CHECK_FALSE(builder.version());
    builder.add({"version", "17", "", ""});
    CHECK(builder.version() == 17U);
}

TEST_CASE("catalog: DDL that may lead further is told from DDL that cannot") {
    judge traits{{{"function", "audit", "v-plpgsql", setter}, {"link", "audit", "", "accounts"}}};
    const auto concerned = [&](std::string_view text) {
        return traits.catalog->concerned_by(traits(text), text);
    };
    for (const char* text :
         {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
          "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION g()", "CREATE EXTENSION hstore",
          "ALTER TABLE accounts RENAME TO other", "CREATE VIEW v AS SELECT * FROM accounts",
          "CREATE TABLE x (a text DEFAULT set_config('a', 'b', false))",
          "CREATE TABLE x (LIKE accounts INCLUDING ALL)", "CREATE VIEW v AS SELECT nextval('s')",
          "CREATE TABLE U&\"x\" (a int)",
          "DO $$ BEGIN CREATE TRIGGER a BEFORE INSERT ON b EXECUTE FUNCTION c(); END $$",
          "CREATE AGGREGATE a (int) (SFUNC = x)"}) {
        CAPTURE(text);
        CHECK(concerned(text));
    }
    for (const char* text :
         {"CREATE TABLE x (id serial, a int DEFAULT 1)", "CREATE TEMP TABLE x (a int)", "DROP TABLE x",
          "CREATE INDEX i ON x (a)", "CREATE TABLE x (id int DEFAULT nextval('s'))",
          "DO $$ BEGIN NULL; END $$", "INSERT INTO accounts VALUES (1)", "CREATE VIEW v AS SELECT 1",
          "ALTER TABLE x ADD COLUMN y int"}) {
        CAPTURE(text);
        CHECK_FALSE(concerned(text));
    }
}

TEST_CASE("catalog: the question leaves out what an older server lacks") {
    const auto now = schema_catalog_query("15.4 (Debian 15.4-1)", 1000);
    CHECK(now.find("pg_get_function_sqlbody") != std::string::npos);
    CHECK(now.find("jit") != std::string::npos);
    CHECK(now.find('$') == std::string::npos);
    const auto old = schema_catalog_query("10.23", 1000);
    CHECK(old.find("pg_get_function_sqlbody") == std::string::npos);
    CHECK(old.find("jit") == std::string::npos);
    CHECK(old.find("MATERIALIZED") == std::string::npos);
    CHECK(old.find('$') == std::string::npos);
}
