#include "proxy/session/healing_ledger.hpp"

#include <catch2/catch.hpp>

#include "proxy/session/statement_shape.hpp"
#include "tests/unit/proxy/session/relay_fixture.hpp"

namespace pgmend::test {

using namespace pgmend::proxy;

namespace {

healing_event event_of(std::string client) {
    healing_event event;
    event.client = std::move(client);
    return event;
}

std::vector<std::string> clients(const std::vector<healing_event>& events) {
    std::vector<std::string> all;
    for (const auto& event : events) {
        all.push_back(std::to_string(event.number) + event.client);
    }
    return all;
}

}  // namespace

TEST_CASE("healing ledger: the latest events are kept, oldest first, and all are counted") {
    healing_ledger ledger{3};
    CHECK(ledger.latest(10).empty());
    for (const char* client : {"a", "b", "c", "d", "e"}) {
        ledger.add(event_of(client));
    }
    CHECK(clients(ledger.latest(10)) == std::vector<std::string>{"3c", "4d", "5e"});
    CHECK(clients(ledger.latest(2)) == std::vector<std::string>{"4d", "5e"});
    CHECK(ledger.latest(0).empty());
    CHECK(ledger.total() == 5);
}

TEST_CASE("healing ledger: who knows some events is told those behind them, as far as they are kept") {
    healing_ledger ledger{3};
    CHECK(ledger.after(0, 10).empty());
    for (const char* client : {"a", "b", "c", "d", "e"})
        ledger.add(event_of(client));
    using names = std::vector<std::string>;
    CHECK(clients(ledger.after(3, 10)) == names{"4d", "5e"});
    CHECK(clients(ledger.after(3, 1)) == names{"4d"});
    CHECK(clients(ledger.after(0, 2)) == names{"3c", "4d"});
    CHECK(ledger.after(5, 10).empty());
    CHECK(ledger.after(99, 10).empty());
    CHECK(ledger.after(2, 0).empty());
}

TEST_CASE("healing ledger: of no size, it counts") {
    healing_ledger ledger{0};
    ledger.add(event_of("a"));
    CHECK(ledger.latest(5).empty());
    CHECK(ledger.total() == 1);
}

TEST_CASE("statement shape: no constant of a client's is left in it") {
    CHECK(
        statement_shape("SELECT  a, 'it''s', 12, 1.5e3 FROM t /* x */ WHERE b = $1", {}) ==
        "SELECT a , ? , ? , ? FROM t WHERE b = $1"
    );
    CHECK(statement_shape("ALTER ROLE app PASSWORD 'secret'", {}) == "ALTER ROLE app PASSWORD ?");
    CHECK(statement_shape("SELECT $$secret$$, E'sec\\'ret', X'5ec'", {}) == "SELECT ? , ? , ?");
    CHECK(statement_shape("SELECT 'never ends", {}) == "SELECT ...");
    CHECK(statement_shape("SELECT 'a\\' secret'", {.standard_conforming_strings = false}).empty());
    CHECK(statement_shape("SELECT 'a'", {.ambiguous_encoding = true}).empty());
    CHECK(statement_shape("SELECT aaaa FROM bbbb", {}, 12) == "SELECT aaaa ...");
    CHECK(statement_shape("", {}).empty());
}

TEST_CASE("statement shape: the first statement of what a client has sent is found") {
    const auto first = [](const std::string& messages) {
        return first_statement(protocol::as_bytes(messages));
    };
    CHECK(first(query("select 1") + query("select 2")) == "select 1");
    CHECK(first(sync() + parse("name", "select 3") + bind("", "name")) == "select 3");
    CHECK(first(bind("", "name") + execute() + sync()).empty());
    CHECK(first(query("select 1").substr(0, 9)).empty());
    CHECK(first("Q\0\0\0\1").empty());
    CHECK(first("").empty());
}

}  // namespace pgmend::test
