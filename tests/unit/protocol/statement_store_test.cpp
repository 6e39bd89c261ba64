#include "protocol/statement_store.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::protocol;

namespace {

constexpr byte_view no_types{};

statement_traits shareable() {
    statement_traits traits;
    traits.kind = statement_kind::select;
    traits.effects = session_effect::none;
    return traits;
}

struct fixture {
    statement_store store{2};
    parameter_store parameters;
    parse_conditions conditions{parameters.empty()->id, 0};
    int classified = 0;
    statement_traits traits = shareable();

    statement_ref intern(std::string_view text, byte_view types = no_types) {
        return store.intern(text, types, conditions, [this](std::string_view) {
            ++classified;
            return traits;
        });
    }
};

}  // namespace

TEST_CASE("statement store: equal text, types and conditions are one statement, classified once") {
    fixture f;
    const statement_ref a = f.intern("select 1");
    const statement_ref b = f.intern("select 1");
    CHECK(a == b);
    CHECK(f.classified == 1);
    CHECK(f.store.size() == 1);
    CHECK(a->text == "select 1");
    CHECK(a->server_name == "pgmend_" + std::to_string(a->id));
    CHECK(a->traits.kind == statement_kind::select);
}

TEST_CASE("statement store: whatever differs makes another statement") {
    fixture f;
    const statement_ref a = f.intern("select $1");
    const statement_ref by_text = f.intern("select $1 ");
    const std::string types{"\0\1\0\0\0\x17", 6};
    const statement_ref by_types = f.intern("select $1", as_bytes(types));
    CHECK(by_types->types == types);
    f.conditions.epoch = 1;
    const statement_ref by_epoch = f.intern("select $1");
    f.conditions.epoch = 0;
    const std::string path = "tenant";
    f.conditions.parameters = f.parameters.with(f.parameters.empty(), "search_path", &path)->id;
    const statement_ref by_parameters = f.intern("select $1");
    const statement_ref all[]{a, by_text, by_types, by_epoch, by_parameters};
    for (const auto& one : all) {
        for (const auto& other : all) {
            CHECK((one == other) == (&one == &other));
            CHECK((one->server_name == other->server_name) == (&one == &other));
        }
    }
    CHECK(f.classified == 5);
}

TEST_CASE("statement store: what is fixed when it is parsed is never shared") {
    fixture f;
    const auto effect = GENERATE(session_effect::special_literal, session_effect::unknown);
    f.traits.effects = effect;
    {
        const statement_ref a = f.intern("select 'now'::timestamptz");
        const statement_ref b = f.intern("select 'now'::timestamptz");
        CHECK_FALSE(a == b);
        CHECK(a->server_name != b->server_name);
        CHECK(f.store.size() == 2);
    }
    // Nothing of it is kept for later either.
    CHECK(f.store.size() == 0);
    f.intern("select 'now'::timestamptz");
    CHECK(f.classified == 3);
}

TEST_CASE("statement store: the unused are kept for a while, the oldest go first") {
    fixture f;
    f.intern("a");
    f.intern("b");
    CHECK(f.store.size() == 2);
    f.intern("a");  // used again, so now the youngest
    CHECK(f.classified == 2);
    f.intern("c");
    CHECK(f.store.size() == 2);
    f.intern("a");
    CHECK(f.classified == 3);
    f.intern("b");
    CHECK(f.classified == 4);
}

TEST_CASE("statement store: what somebody holds is not counted against the unused") {
    fixture f;
    std::vector<statement_ref> held;
    for (int i = 0; i < 10; ++i) {
        held.push_back(f.intern("held " + std::to_string(i)));
    }
    f.intern("x");
    f.intern("y");
    f.intern("z");
    CHECK(f.store.size() == 12);
    for (int i = 0; i < 10; ++i) {
        CHECK(f.intern("held " + std::to_string(i)) == held[static_cast<std::size_t>(i)]);
    }
    held.clear();
    CHECK(f.store.size() == 2);
}

TEST_CASE("statement store: ids are never used twice") {
    fixture f;
    const std::uint64_t first = f.intern("a")->id;
    f.intern("b");
    f.intern("c");
    f.intern("d");
    const std::uint64_t again = f.intern("a")->id;
    CHECK(again > first);
}

TEST_CASE("statement ref: copies and moves keep the count") {
    fixture f;
    f.traits.effects = session_effect::special_literal;  // gone with its last reference
    statement_ref a = f.intern("x");
    statement_ref b = a;
    statement_ref c = std::move(a);
    CHECK(f.store.size() == 1);
    b = statement_ref{};
    CHECK(f.store.size() == 1);
    CHECK(c);
    const statement_ref& same = c;  // compilers warn of an assignment that can be seen to be to itself
    c = same;
    CHECK(f.store.size() == 1);
    c = {};
    CHECK_FALSE(c);
    CHECK(f.store.size() == 0);
}

TEST_CASE("statement store: only what a server has accepted is found without asking one") {
    fixture f;
    const auto find = [&] { return f.store.find_proven("select 1", no_types, f.conditions); };
    CHECK_FALSE(find());
    const statement_ref a = f.intern("select 1");
    CHECK_FALSE(find());
    a.prove();
    CHECK(find() == a);
    CHECK_FALSE(f.store.find_proven("select 2", no_types, f.conditions));
    f.conditions.epoch = 1;
    CHECK_FALSE(find());
    CHECK(f.classified == 1);
}
