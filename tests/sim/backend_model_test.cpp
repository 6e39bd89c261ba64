// The model of a PostgreSQL backend says what PostgreSQL 15 says. Answers are written as one letter a
// message, in the protocol's own letters; errors and tags are spelled out.

#include <catch2/catch.hpp>
#include <limits>

#include "tests/sim/backend_model.hpp"

using namespace pgmend::sim;
namespace fe = pgmend::sim::frontend;

namespace {

struct backend {
    sim_database database;
    backend_model model{database, 7, "keys", {}};

    backend() {
        model.welcome();
        model.out.clear();
    }
    /// Sends messages and returns what comes back: letters, `E(code)`, `N(code)`, `C(tag)`, `Z(status)`.
    std::string say(const std::vector<std::string>& messages) {
        for (const auto& bytes : messages) {
            std::size_t at = 0;
            model.receive(*next_message(bytes, at));
            model.run_through();
        }
        std::string answer;
        std::size_t at = 0;
        while (const auto next = next_message(model.out, at)) {
            answer += next->type;
            if (next->type == 'E' || next->type == 'N') answer += "(" + read_error(next->body).code + ")";
            if (next->type == 'C') answer += "(" + next->body.substr(0, next->body.size() - 1) + ")";
            if (next->type == 'Z') answer += "(" + next->body + ")";
        }
        model.out.clear();
        return answer;
    }
    std::string query(const std::string& sql) { return say({fe::query(sql)}); }
    std::string extended(const std::string& sql) {
        return say({fe::parse("", sql), fe::bind("", ""), fe::execute(""), fe::sync()});
    }
};

}  // namespace

TEST_CASE("backend_model: a simple query describes, sends rows and completes", "[sim]") {
    backend db;
    CHECK(db.query("SELECT 'a', i FROM generate_series(1, 3) AS i") == "TDDDC(SELECT 3)Z(I)");
    CHECK(db.query("") == "IZ(I)");
    CHECK(db.query(" ; /* nothing */ -- at all") == "IZ(I)");
    CHECK(db.query("SELEKT 1") == "E(42601)Z(I)");
}

TEST_CASE("backend_model: several statements in one query are one transaction", "[sim]") {
    backend db;
    CHECK(db.query("INSERT INTO kv VALUES ('a', '1'); SELECT 1/0; SELECT 1") == "C(INSERT 0 1)E(22012)Z(I)");
    CHECK(db.database.rows().empty());
    CHECK(
        db.query("INSERT INTO kv VALUES ('a', '1'); COMMIT; SELECT 1/0") ==
        "C(INSERT 0 1)N(25P01)C(COMMIT)E(22012)Z(I)"
    );
    CHECK(db.database.rows().size() == 1);
    CHECK(
        db.query("INSERT INTO kv VALUES ('b', '1'); BEGIN; SELECT 1") ==
        "C(INSERT 0 1)C(BEGIN)TDC(SELECT 1)Z(T)"
    );
    CHECK(db.query("ROLLBACK") == "C(ROLLBACK)Z(I)");
    CHECK(db.database.rows().size() == 1);
}

TEST_CASE("backend_model: a failed block refuses everything but its end", "[sim]") {
    backend db;
    CHECK(db.query("BEGIN") == "C(BEGIN)Z(T)");
    CHECK(db.query("SELECT 1/0") == "E(22012)Z(E)");
    CHECK(db.query("SELECT 1") == "E(25P02)Z(E)");
    CHECK(db.extended("SELECT 1") == "E(25P02)Z(E)");
    CHECK(db.query("COMMIT") == "C(ROLLBACK)Z(I)");
    CHECK(db.query("COMMIT") == "N(25P01)C(COMMIT)Z(I)");
}

TEST_CASE("backend_model: savepoints bring back rows, parameters and tables", "[sim]") {
    backend db;
    db.query("BEGIN; SET work_mem TO '1MB'; SAVEPOINT a; SET work_mem TO '2MB'; CREATE TEMP TABLE t (v text)"
    );
    CHECK(db.query("SELECT 1/0") == "E(22012)Z(E)");
    CHECK(db.query("ROLLBACK TO SAVEPOINT a") == "C(ROLLBACK)Z(T)");
    CHECK(db.model.session().parameter("work_mem") == "1MB");
    CHECK(db.query("SELECT v FROM t") == "E(42P01)Z(E)");
    db.query("ROLLBACK");
    CHECK(db.model.session().parameter("work_mem") == "4MB");
}

TEST_CASE(
    "backend_model: SET LOCAL ends with its transaction, and reported parameters are reported", "[sim]"
) {
    backend db;
    CHECK(db.query("BEGIN; SET LOCAL TimeZone TO 'X'") == "C(BEGIN)C(SET)SZ(T)");
    CHECK(db.query("COMMIT") == "C(COMMIT)SZ(I)");
    CHECK(db.query("SET work_mem TO '1MB'") == "C(SET)Z(I)");
    CHECK(db.query("SET application_name TO 'x'") == "C(SET)SZ(I)");
    CHECK(db.query("SELECT 1; SET application_name TO 'y'; SELECT 1/0") == "TDC(SELECT 1)C(SET)E(22012)Z(I)");
    CHECK(db.query("SET server_version TO '1'") == "E(55P02)Z(I)");
    CHECK(db.query("SHOW nonsense") == "E(42704)Z(I)");
    CHECK(db.query("DISCARD ALL") == "C(DISCARD ALL)SZ(I)");
}

TEST_CASE("backend_model: an error in a pipeline skips to Sync and undoes what came before it", "[sim]") {
    backend db;
    CHECK(
        db.say(
            {fe::parse("", "INSERT INTO kv VALUES ('a', '1')"), fe::bind("", ""), fe::execute(""),
             fe::parse("", "SELECT 1/0"), fe::bind("", ""), fe::execute(""), fe::parse("", "SELECT 1"),
             fe::query("SELECT 1"), fe::sync()}
        ) == "12C(INSERT 0 1)1E(22012)Z(I)"
    );
    CHECK(db.database.rows().empty());
    CHECK(db.say({fe::sync(), fe::sync()}) == "Z(I)Z(I)");
}

TEST_CASE(
    "backend_model: prepared statements live until closed, the unnamed one until the next query", "[sim]"
) {
    backend db;
    CHECK(db.say({fe::parse("s", "SELECT $1"), fe::describe('S', "s"), fe::sync()}) == "1tTZ(I)");
    CHECK(db.say({fe::parse("s", "SELECT 2"), fe::sync()}) == "E(42P05)Z(I)");
    CHECK(db.say({fe::bind("", "s", {"x"}), fe::execute(""), fe::sync()}) == "2DC(SELECT 1)Z(I)");
    CHECK(db.say({fe::bind("", "s", {}), fe::sync()}) == "E(08P01)Z(I)");
    CHECK(db.say({fe::close('S', "s"), fe::close('S', "s"), fe::sync()}) == "33Z(I)");
    CHECK(db.say({fe::bind("", "s", {"x"}), fe::sync()}) == "E(26000)Z(I)");
    CHECK(db.say({fe::parse("", "SELECT 1"), fe::sync()}) == "1Z(I)");
    CHECK(db.say({fe::bind("", ""), fe::execute(""), fe::sync()}) == "2DC(SELECT 1)Z(I)");
    CHECK(db.query("SELECT 1") == "TDC(SELECT 1)Z(I)");
    CHECK(db.say({fe::bind("", ""), fe::sync()}) == "E(26000)Z(I)");
}

TEST_CASE("backend_model: portals give rows in portions and end with their transaction", "[sim]") {
    backend db;
    const std::string rows = "SELECT i FROM generate_series(1, 5) AS i";
    db.query("BEGIN");
    CHECK(
        db.say(
            {fe::parse("", rows), fe::bind("p", ""), fe::describe('P', "p"), fe::execute("p", 2), fe::sync()}
        ) == "12TDDsZ(T)"
    );
    CHECK(db.say({fe::execute("p", 3), fe::flush()}) == "DDDs");
    CHECK(db.say({fe::execute("p", 3), fe::sync()}) == "C(SELECT 0)Z(T)");
    CHECK(db.say({fe::bind("p", ""), fe::sync()}) == "E(42P03)Z(E)");
    db.query("ROLLBACK");
    CHECK(db.say({fe::execute("p", 1), fe::sync()}) == "E(34000)Z(I)");
    CHECK(
        db.say(
            {fe::parse("", rows), fe::bind("p", ""), fe::execute("p", 2), fe::sync(), fe::execute("p"),
             fe::sync()}
        ) == "12DDsZ(I)E(34000)Z(I)"
    );
}

TEST_CASE("backend_model: COPY takes data, ignores Sync meanwhile, and fails as PostgreSQL does", "[sim]") {
    backend db;
    CHECK(
        db.say(
            {fe::query("COPY kv FROM STDIN"), fe::copy_data("a\t1\nb"), fe::copy_data("\t2\n"),
             fe::copy_done()}
        ) == "GC(COPY 2)Z(I)"
    );
    CHECK(db.database.rows().size() == 2);
    CHECK(
        db.say({fe::query("COPY kv FROM STDIN"), fe::copy_data("c\t1\n"), fe::copy_fail("no")}) ==
        "GE(57014)Z(I)"
    );
    CHECK(db.database.rows().size() == 2);
    CHECK(
        db.say(
            {fe::query("COPY kv FROM STDIN"), fe::copy_data("a\t1\n"), fe::copy_data("d\t1\n"),
             fe::copy_done()}
        ) == "GE(23505)Z(I)"
    );
    CHECK(
        db.say(
            {fe::parse("", "COPY kv FROM STDIN"), fe::bind("", ""), fe::execute(""), fe::sync(),
             fe::copy_data("e\t1\n"), fe::copy_done(), fe::sync()}
        ) == "12GC(COPY 1)Z(I)"
    );
    CHECK(db.query("COPY (SELECT i FROM generate_series(1, 2) AS i) TO STDOUT") == "HddcC(COPY 2)Z(I)");
    // A message that does not belong there has not been read to its end: the server hangs up.
    CHECK(db.say({fe::query("COPY kv FROM STDIN"), fe::parse("", "SELECT 1")}) == "GE(08P01)E(08P01)");
}

TEST_CASE("backend_model: rows come before the error that a later one meets", "[sim]") {
    backend db;
    CHECK(db.query("SELECT 10/(3 - i) FROM generate_series(1, 5) AS i") == "TDDE(22012)Z(I)");
}

TEST_CASE("backend_model: notifications come at the commit, none at a rollback", "[sim]") {
    backend db;
    db.query("LISTEN c");
    CHECK(db.query("NOTIFY c, 'x'") == "C(NOTIFY)AZ(I)");
    CHECK(db.query("BEGIN; NOTIFY c; ROLLBACK") == "C(BEGIN)C(NOTIFY)C(ROLLBACK)Z(I)");
    CHECK(db.query("BEGIN; NOTIFY c; COMMIT; BEGIN") == "C(BEGIN)C(NOTIFY)C(COMMIT)C(BEGIN)Z(T)");
    CHECK(db.query("COMMIT") == "C(COMMIT)AZ(I)");
}

TEST_CASE("backend_model: a cancel ends what waits, and nothing else", "[sim]") {
    backend db;
    std::size_t at = 0;
    db.model.receive(*next_message(fe::query("SELECT pg_sleep(1)"), at));
    CHECK(db.model.doing() == backend_model::activity::sleeping);
    CHECK(db.model.sleep_us() == 1'000'000);
    db.model.cancel();
    CHECK(db.say({}) == "E(57014)Z(I)");
    db.model.cancel();
    CHECK(db.say({}).empty());
}

TEST_CASE("backend_model: an advisory lock is waited for, and freed with its session", "[sim]") {
    sim_database database;
    auto holder = std::make_unique<backend_model>(database, 1, "key1", std::map<std::string, std::string>{});
    backend_model waiter(database, 2, "key2", {});
    const std::string lock = fe::query("SELECT pg_advisory_lock(5)");
    std::size_t at = 0;
    holder->receive(*next_message(lock, at));
    at = 0;
    waiter.receive(*next_message(lock, at));
    CHECK(waiter.doing() == backend_model::activity::locking);
    holder.reset();
    waiter.try_lock();
    CHECK(waiter.doing() == backend_model::activity::rows);
}

TEST_CASE("backend_model: what a session keeps can be asked for, by it and by the oracles", "[sim]") {
    backend db;
    const std::string question =
        "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace=pg_catalog.pg_my_temp_schema()),"
        "current_user<>session_user OR session_user<>'app'";
    const auto first_row = [&] {
        std::size_t at = 0;
        db.model.receive(*next_message(fe::query(question), at));
        db.model.produce(std::numeric_limits<std::size_t>::max());
        at = 0;
        next_message(db.model.out, at);
        const std::string body = next_message(db.model.out, at)->body;
        db.model.out.clear();
        return std::string{body[6], body[11]};
    };
    CHECK(first_row() == "ff");
    CHECK(db.model.session().traces().empty());
    db.query("CREATE TEMP TABLE t (v text); SET ROLE other");
    CHECK(first_row() == "tt");
    CHECK(db.model.session().traces() == std::vector<std::string>{"temporary table t"});
}

TEST_CASE("backend_model: a transaction that only reads refuses to write, by whose wish ever", "[sim]") {
    backend db;
    CHECK(
        db.query("BEGIN READ ONLY; SELECT 1; INSERT INTO kv VALUES ('a', '1')") ==
        "C(BEGIN)TDC(SELECT 1)E(25006)Z(E)"
    );
    CHECK(db.query("ROLLBACK") == "C(ROLLBACK)Z(I)");
    CHECK(db.query("BEGIN; SET TRANSACTION READ ONLY") == "C(BEGIN)C(SET)Z(T)");
    CHECK(db.query("DELETE FROM kv WHERE k = 'a'") == "E(25006)Z(E)");
    CHECK(db.query("ROLLBACK") == "C(ROLLBACK)Z(I)");
    // The configuration holds from the next transaction on, for all that do not say otherwise.
    CHECK(db.query("BEGIN") == "C(BEGIN)Z(T)");
    db.database.set_read_only(true);
    CHECK(db.query("INSERT INTO kv VALUES ('a', '1')") == "C(INSERT 0 1)SZ(T)");
    CHECK(db.query("COMMIT") == "C(COMMIT)Z(I)");
    CHECK(db.query("UPDATE kv SET v = '2' WHERE k = 'a'") == "E(25006)Z(I)");
    CHECK(db.extended("INSERT INTO kv VALUES ('b', '1')") == "12E(25006)Z(I)");
    CHECK(db.query("COPY kv FROM STDIN") == "E(25006)Z(I)");
    CHECK(db.query("CREATE TEMP TABLE t (a text)") == "E(25006)Z(I)");
    CHECK(
        db.query("BEGIN READ WRITE; INSERT INTO kv VALUES ('b', '1'); COMMIT") ==
        "C(BEGIN)C(INSERT 0 1)C(COMMIT)Z(I)"
    );
    CHECK(db.query("SET default_transaction_read_only = off") == "C(SET)SZ(I)");
    CHECK(db.query("INSERT INTO kv VALUES ('c', '1')") == "C(INSERT 0 1)Z(I)");
    CHECK(db.query("RESET default_transaction_read_only") == "C(RESET)SZ(I)");
    db.database.set_read_only(false);
    CHECK(db.query("INSERT INTO kv VALUES ('d', '1')") == "C(INSERT 0 1)SZ(I)");
}
