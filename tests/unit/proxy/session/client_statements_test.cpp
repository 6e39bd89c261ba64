#include "proxy/session/client_statements.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace pgmend::proxy;
using namespace pgmend::protocol;

namespace {

struct fixture {
    statement_store store{100};
    client_statements names;
    statement_ref make(std::string_view text) {
        return store.intern(text, {}, {}, [](std::string_view) { return statement_traits{}; });
    }
};

}  // namespace

TEST_CASE("client statements: a name stands for something only while it has a statement") {
    fixture f;
    CHECK(f.names.find("a") == nullptr);
    CHECK(f.names.known("a") == nullptr);
    client_statement& a = f.names.entry("a");
    CHECK(f.names.find("a") == nullptr);
    CHECK(f.names.known("a") == &a);
    a.statement = f.make("select 1");
    CHECK(f.names.find("a") == &a);
    CHECK(&f.names.entry("a") == &a);
    CHECK(f.names.find("A") == nullptr);
    CHECK(f.names.find("") == nullptr);
    CHECK(f.names.size() == 1);
}

TEST_CASE("client statements: entries stay where they are, whatever else comes and goes") {
    fixture f;
    client_statement& first = f.names.entry("first");
    first.statement = f.make("1");
    for (int i = 0; i < 1000; ++i) {
        // The name is the entry's own: what it was made from need not live.
        const std::string name = "s" + std::to_string(i);
        f.names.entry(name).statement = f.make(name);
    }
    CHECK(f.names.find("first") == &first);
    CHECK(f.names.find("s999")->statement->text == "s999");
    CHECK(f.names.size() == 1001);
}

TEST_CASE("client statements: DEALLOCATE ALL empties the names and leaves the unnamed one") {
    fixture f;
    client_statement& a = f.names.entry("a");
    a.statement = f.make("1");
    f.names.unnamed = f.make("2");
    f.names.clear_named();
    CHECK(f.names.find("a") == nullptr);
    CHECK(f.names.known("a") == &a);
    CHECK(f.names.unnamed);
}

TEST_CASE("client statements: what stands for nothing is dropped when asked to") {
    fixture f;
    f.names.entry("empty");
    client_statement& full = f.names.entry("full");
    full.statement = f.make("1");
    f.names.prune();
    CHECK(f.names.known("empty") == nullptr);
    CHECK(f.names.find("full") == &full);
    CHECK(f.names.size() == 1);
}

TEST_CASE("client statements: closed and restored names are dropped once they stand for nothing") {
    fixture f;
    client_statement& a = f.names.entry("a");
    client_statement& b = f.names.entry("b");
    a.statement = f.make("1");
    b.statement = f.make("2");
    f.names.prune();
    const statement_ref one = f.names.close(a);
    CHECK(one->text == "1");
    CHECK(f.names.find("a") == nullptr);
    f.names.restore(b, {});
    f.names.prune();
    CHECK(f.names.size() == 0);
    client_statement& again = f.names.entry("a");
    f.names.restore(again, one);
    f.names.prune();
    CHECK(f.names.find("a")->statement == one);
    f.names.clear_named();
    f.names.prune();
    CHECK(f.names.size() == 0);
}
