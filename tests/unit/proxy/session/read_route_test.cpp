#include "proxy/session/read_route.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgmend::proxy;
using pgmend::config::read_mode;
using pgmend::protocol::session_effect;
using pgmend::protocol::statement_kind;
using pgmend::protocol::statement_traits;
using pgmend::protocol::transaction_control;
using why = read_route;

namespace {

/// All that a read needs to go to a standby that is preferred.
read_facts ready() {
    read_facts facts;
    facts.mode = read_mode::prefer_standby;
    facts.plain_session = facts.judged = facts.caught_up = true;
    facts.standbys = standby_state::ready;
    return facts;
}

statement_traits plain_select() {
    statement_traits traits;
    traits.kind = statement_kind::select;
    traits.control = transaction_control::none;
    traits.read_only = true;
    traits.cannot_run_in_block = traits.multiple = false;
    traits.effects = session_effect::none;
    return traits;
}

}  // namespace

TEST_CASE("read route: where a request goes, and why", "[reads]") {
    struct row {
        const char* what;
        void (*change)(read_facts&);
        std::optional<why> there;    ///< with a primary, where standbys are preferred
        std::optional<why> without;  ///< without one
    };
    const std::vector<row> rows{
        {"a read", [](read_facts&) {}, why::standby, why::no_primary},
        {"a write", [](read_facts& f) { f.front = why::not_a_read; }, why::not_a_read, why::not_a_read},
        {"of the server", [](read_facts& f) { f.front = why::about_server; }, why::about_server,
         why::about_server},
        {"not whole", [](read_facts& f) { f.front = why::not_alone; }, why::not_alone, why::not_alone},
        {"a session with state", [](read_facts& f) { f.plain_session = false; }, why::session_state,
         why::session_state},
        {"an unknown database", [](read_facts& f) { f.judged = false; }, why::not_judged, why::not_judged},
        {"refused by a standby", [](read_facts& f) { f.refused = true; }, why::standby_failed,
         why::standby_failed},
        {"lost with a server", [](read_facts& f) { f.lost = true; }, why::standby_failed, why::no_primary},
        {"its own write", [](read_facts& f) { f.caught_up = false; }, why::own_write, why::own_write},
        {"no standby", [](read_facts& f) { f.standbys = standby_state::none; }, why::no_standby,
         why::no_standby},
        {"all behind", [](read_facts& f) { f.standbys = standby_state::lagging; }, why::lagging,
         why::lagging},
    };
    for (const row& each : rows) {
        INFO(each.what);
        read_facts facts = ready();
        each.change(facts);
        CHECK(route_of(facts) == each.there);
        facts.primary_there = false;
        CHECK(route_of(facts) == each.without);
        facts.mode = read_mode::prefer_primary;
        CHECK(route_of(facts) == each.without);
        facts.primary_there = true;
        CHECK_FALSE(route_of(facts));
        facts.mode = read_mode::primary;
        CHECK_FALSE(route_of(facts));
        facts.primary_there = false;
        CHECK_FALSE(route_of(facts));
    }
}

TEST_CASE("read route: what a standby may carry out", "[reads]") {
    CHECK_FALSE(what_keeps_at_primary(plain_select(), "SELECT a FROM t WHERE version = 1"));
    CHECK(what_keeps_at_primary({}, "") == why::not_alone);
    const auto kept = [](auto change) {
        statement_traits traits = plain_select();
        change(traits);
        return what_keeps_at_primary(traits, "SELECT 1");
    };
    CHECK(kept([](auto& t) { t.read_only = false; }) == why::not_a_read);
    CHECK(kept([](auto& t) { t.locks_rows = true; }) == why::not_a_read);
    CHECK(kept([](auto& t) { t.cannot_run_in_block = true; }) == why::not_a_read);
    CHECK(kept([](auto& t) { t.control = transaction_control::begin; }) == why::not_a_read);
    CHECK(kept([](auto& t) { t.multiple = true; }) == why::not_alone);
    for (const auto kind :
         {statement_kind::show, statement_kind::explain, statement_kind::copy, statement_kind::fetch,
          statement_kind::execute, statement_kind::unknown})
        CHECK(kept([kind](auto& t) { t.kind = kind; }) == why::not_a_read);
    for (unsigned bit = 0; bit < 32; ++bit) {
        const auto effect = static_cast<session_effect>(1U << bit);
        const auto route = kept([effect](auto& t) { t.effects = effect; });
        CHECK(
            route ==
            (effect == session_effect::special_literal ? std::nullopt : std::optional{why::not_a_read})
        );
    }
    for (const char* text :
         {"SELECT pg_backend_pid()", "select PG_IS_IN_RECOVERY()", "TABLE pg_stat_activity",
          "SELECT inet_server_addr()", "SELECT current_setting('x')", "SELECT last_value FROM s"})
        CHECK(what_keeps_at_primary(plain_select(), text) == why::about_server);
}
