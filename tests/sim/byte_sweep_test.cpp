// Faults at every byte: no name twice, each name found again, and a bug that shows at a few bytes only is
// met.

#include <catch2/catch.hpp>
#include <set>

#include "tests/sim/byte_sweep.hpp"
#include "tests/sim/conversations.hpp"
#include "tests/sim/faulty_relay.hpp"

using namespace pgmend::sim;

namespace {

subject_factory relay_with(planted_bug bug) {
    return [bug](const subject_setup& setup) { return make_faulty_relay(setup, bug); };
}

struct swept {
    std::set<std::string> names;
    std::set<std::string> convicted;
    std::string bad;
};

swept sweep(planted_bug bug, const sweep_range& range) {
    const auto make = relay_with(bug);
    swept found;
    found.bad = sweep_bytes(make, range, [&](const std::string& name, const fault_schedule& schedule) {
        CHECK(found.names.insert(name).second);
        if (!run_schedule(schedule, make).passed()) found.convicted.insert(name);
        return true;
    });
    return found;
}

}  // namespace

TEST_CASE("byte_sweep: every conversation, both kinds of connections, both directions, all ways", "[sim]") {
    const auto all = sweep(planted_bug::none, {"", 23});
    CHECK(all.bad.empty());
    CHECK(all.convicted.empty());
    for (const auto& name : conversation_names()) {
        for (const std::string link : {"/client1", "/server1"}) {
            for (const std::string toward : {"/to_opener", "/to_acceptor"}) {
                for (const std::string way : {"/reset/", "/closed/", "/stalled/", "/half/"}) {
                    const auto at = all.names.lower_bound(name + link + toward + way);
                    INFO(name + link + toward + way);
                    CHECK((at != all.names.end() && at->starts_with(name + link + toward + way)));
                }
            }
        }
    }
}

TEST_CASE("byte_sweep: each byte of a direction, from before the first to behind the last", "[sim]") {
    const auto some = sweep(planted_bug::none, {"simple/client1/to_acceptor/reset", 1});
    REQUIRE(some.names.size() > 100);
    for (std::size_t byte = 0; byte < some.names.size(); ++byte)
        CHECK(some.names.contains("simple/client1/to_acceptor/reset/" + std::to_string(byte)));
}

TEST_CASE(
    "byte_sweep: a bug that shows at a few bytes only is convicted there, and again by its name", "[sim]"
) {
    const auto met = sweep(planted_bug::wait_for_rest, {"simple/server1/to_opener/reset", 1});
    REQUIRE(!met.convicted.empty());
    CHECK(met.convicted.size() < met.names.size());
    const auto again = sweep(planted_bug::wait_for_rest, {*met.convicted.begin(), 1});
    CHECK(again.names.size() == 1);
    CHECK(again.convicted == again.names);
}

TEST_CASE("byte_sweep: a subject that fails without faults is told by the conversation", "[sim]") {
    CHECK(sweep(planted_bug::lose_flush, {"", 1000}).bad.starts_with("guarded: "));
}

TEST_CASE("conversations: a schedule names them, and no others", "[sim]") {
    fault_schedule schedule = draw_schedule(1);
    schedule.clients.front().conversation = "block";
    schedule.faults = {fault{}};
    schedule.faults.front().nth = 3;
    std::string problem;
    std::string text = to_text(schedule);
    const auto read = schedule_from_text(text, problem);
    REQUIRE(read);
    CHECK(to_text(*read) == text);
    text.replace(text.find("=block"), 6, "=chess");
    CHECK_FALSE(schedule_from_text(text, problem));
}
