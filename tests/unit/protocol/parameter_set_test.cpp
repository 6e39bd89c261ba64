#include "protocol/parameter_set.hpp"

#include <catch2/catch.hpp>

#include "protocol/session_change.hpp"

using namespace pgmend::protocol;

namespace {

const std::string utc = "UTC";
const std::string off = "off";

}  // namespace

TEST_CASE("parameter store: equal sets are one pointer, different ones are not") {
    parameter_store store;
    const parameter_set* a = store.intern({{"TimeZone", "UTC"}, {"DateStyle", "ISO"}});
    const parameter_set* b = store.intern({{"DateStyle", "ISO"}, {"TimeZone", "UTC"}});
    CHECK(a == b);
    CHECK(store.intern({{"TimeZone", "UTC"}}) != a);
    CHECK(store.intern({{"TimeZone", "utc"}, {"DateStyle", "ISO"}}) != a);
    CHECK(store.intern({}) == store.empty());
    CHECK(store.size() == 4);
}

TEST_CASE("parameter store: a name is changed, added and taken out by way of the same pointers") {
    parameter_store store;
    const parameter_set* base = store.with(store.empty(), "TimeZone", &utc);
    REQUIRE(base->find("TimeZone") != nullptr);
    CHECK(*base->find("TimeZone") == "UTC");
    CHECK(base->find("timezone") == nullptr);
    CHECK(store.with(base, "TimeZone", &utc) == base);
    CHECK(store.with(base, "search_path", nullptr) == base);
    const std::string other = "CET";
    const parameter_set* changed = store.with(base, "TimeZone", &other);
    CHECK(changed != base);
    CHECK(store.with(changed, "TimeZone", &utc) == base);
    CHECK(store.with(changed, "TimeZone", nullptr) == store.empty());
    // The first set is untouched by what was made from it.
    CHECK(*base->find("TimeZone") == "UTC");
}

TEST_CASE("parameter store: what was asked lately is answered alike, and not beyond a sweep") {
    parameter_store store;
    const parameter_set* base = store.with(store.empty(), "TimeZone", &utc);
    const std::string long_value(1000, 'x');
    std::vector<const parameter_set*> sets;
    for (int round = 0; round < 2; ++round) {
        for (const parameter_set* from : {store.empty(), base}) {
            for (int i = 0; i < 20; ++i) {
                const std::string value = std::to_string(i % 10);
                const std::string name = i < 10 ? "one" : "other";
                sets.push_back(store.with(from, name, &value));
                CHECK(*sets.back()->find(name) == value);
                CHECK((sets.back()->find("TimeZone") != nullptr) == (from == base));
            }
        }
        CHECK(store.with(base, "one", &long_value) == store.with(base, "one", &long_value));
    }
    CHECK(std::equal(sets.begin(), sets.begin() + 40, sets.begin() + 40));
    const std::string nine = "9";
    const auto id = store.with(base, "other", &nine)->id;
    store.sweep({base});
    CHECK(store.with(base, "other", &nine)->id != id);
    CHECK(store.with(store.empty(), "TimeZone", &utc) == base);
}

TEST_CASE("parameter store: an empty value is a value") {
    parameter_store store;
    const std::string nothing;
    const parameter_set* set = store.with(store.empty(), "application_name", &nothing);
    CHECK(set != store.empty());
    REQUIRE(set->find("application_name") != nullptr);
    CHECK(set->find("application_name")->empty());
}

TEST_CASE("parameter store: what the scanner must know is derived") {
    parameter_store store;
    CHECK(store.empty()->standard_conforming_strings);
    CHECK_FALSE(store.empty()->ambiguous_encoding);
    const parameter_set* strings = store.with(store.empty(), "standard_conforming_strings", &off);
    CHECK_FALSE(strings->standard_conforming_strings);
    const std::string sjis = "SJIS";
    CHECK(store.with(store.empty(), "client_encoding", &sjis)->ambiguous_encoding);
    const std::string utf8 = "UTF8";
    CHECK_FALSE(store.with(store.empty(), "client_encoding", &utf8)->ambiguous_encoding);
}

TEST_CASE("parameter difference: names gone, new and changed") {
    parameter_store store;
    const parameter_set* from = store.intern({{"gone", "1"}, {"same", "2"}, {"other", "3"}});
    const parameter_set* to = store.intern({{"same", "2"}, {"other", "4"}, {"fresh", "5"}});
    const parameter_difference change = difference(*from, *to);
    CHECK(change.reset == std::vector<std::string>{"gone"});
    REQUIRE(change.set.size() == 2);
    CHECK(change.set[0] == std::pair<std::string, std::string>{"fresh", "5"});
    CHECK(change.set[1] == std::pair<std::string, std::string>{"other", "4"});
    const parameter_difference none = difference(*to, *to);
    CHECK(none.reset.empty());
    CHECK(none.set.empty());
}

TEST_CASE("restore script: nothing differs, nothing is said") {
    parameter_store store;
    const parameter_set* set = store.intern({{"TimeZone", "UTC"}});
    CHECK(restore_script(*set, *set).empty());
}

TEST_CASE("restore script: resets first, then values as the session had them") {
    parameter_store store;
    const parameter_set* from = store.intern({{"app.tag", "x"}, {"work_mem", "1MB"}});
    const parameter_set* to = store.intern({{"search_path", "\"$user\", public"}, {"work_mem", "2MB"}});
    CHECK(
        restore_script(*from, *to) ==
        "SET LOCAL statement_timeout=0;"
        "RESET \"app.tag\";"
        "SELECT pg_catalog.set_config('search_path','\"$user\", public',false);"
        "SELECT pg_catalog.set_config('work_mem','2MB',false);"
    );
}

TEST_CASE("restore script: no name and no value can break out of its quotes") {
    parameter_store store;
    const std::string evil = "x'; DROP TABLE t; --\\";
    const parameter_set* to = store.intern({{"a'b", evil}});
    const std::string script = restore_script(*store.empty(), *to);
    // PostgreSQL's own parser sees one statement with two constants.
    const auto changes = session_changes(script);
    REQUIRE(changes.size() == 2);
    CHECK(changes[0].is_local);
    CHECK(changes[1].kind == session_change_kind::set_parameter);
    CHECK(changes[1].name == "a'b");
    CHECK_FALSE(changes[1].is_local);
    CHECK(changes[1].value == quote_literal(evil));
    const parameter_set* from = store.intern({{"a\"b;c", "1"}});
    const auto reset = session_changes(restore_script(*from, *store.empty()));
    REQUIRE(reset.size() == 2);
    CHECK(reset[1].kind == session_change_kind::reset_parameter);
}

TEST_CASE("restore script: it runs under nobody's statement_timeout, and sets that one last") {
    parameter_store store;
    const parameter_set* from = store.intern({{"Statement_Timeout", "1ms"}, {"work_mem", "1MB"}});
    const parameter_set* to = store.intern({{"statement_timeout", "2ms"}, {"work_mem", "2MB"}});
    CHECK(
        restore_script(*from, *to) ==
        "SET LOCAL statement_timeout=0;"
        "SELECT pg_catalog.set_config('work_mem','2MB',false);"
        "RESET \"Statement_Timeout\";"
        "SELECT pg_catalog.set_config('statement_timeout','2ms',false);"
    );
}

TEST_CASE("restore script: parameters change between one role and the next, with the rights of the login") {
    parameter_store store;
    const parameter_set* other = store.intern({{"role", "other"}, {"session_replication_role", "replica"}});
    const parameter_set* third = store.intern({{"role", "third"}});
    const parameter_set* plain = store.empty();
    const std::string start = "SET LOCAL statement_timeout=0;";
    CHECK(
        restore_script(*plain, *other) ==
        start + "SELECT pg_catalog.set_config('session_replication_role','replica',false);" +
            "SELECT pg_catalog.set_config('role','other',false);"
    );
    CHECK(restore_script(*other, *plain) == start + "RESET \"role\";RESET \"session_replication_role\";");
    CHECK(
        restore_script(*other, *third) == start + "RESET \"role\";RESET \"session_replication_role\";" +
                                              "SELECT pg_catalog.set_config('role','third',false);"
    );
    // The same role on both sides: it is left for as long as the others take.
    const parameter_set* more = store.intern({{"role", "third"}, {"work_mem", "1MB"}});
    CHECK(
        restore_script(*third, *more) ==
        start + "RESET \"role\";SELECT pg_catalog.set_config('work_mem','1MB',false);" +
            "SELECT pg_catalog.set_config('role','third',false);"
    );
}

TEST_CASE("parameter store: a sweep forgets what is out of use, and an id is never given twice") {
    parameter_store store;
    const parameter_set* kept = store.intern({{"TimeZone", "UTC"}});
    const std::uint64_t gone = store.intern({{"TimeZone", "CET"}})->id;
    CHECK(kept->id != store.empty()->id);
    CHECK(gone != kept->id);
    store.sweep({kept});
    CHECK(store.size() == 2);
    CHECK(store.intern({}) == store.empty());
    CHECK(store.intern({{"TimeZone", "UTC"}}) == kept);
    CHECK(store.intern({{"TimeZone", "CET"}})->id > gone);
}

TEST_CASE("parameter store: it wants a sweep when it has grown, and not again at once") {
    parameter_store store;
    std::unordered_set<const parameter_set*> live;
    CHECK_FALSE(store.wants_sweep());
    for (int i = 0; !store.wants_sweep(); ++i) {
        REQUIRE(i < 100'000);
        live.insert(store.intern({{"app.n", std::to_string(i)}}));
    }
    store.sweep(live);
    CHECK_FALSE(store.wants_sweep());
    CHECK(store.size() == live.size() + 1);
    store.sweep({});
    CHECK(store.size() == 1);
}
