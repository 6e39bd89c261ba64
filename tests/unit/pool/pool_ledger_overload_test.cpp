// A pool that is overloaded: who is refused, when, and who is not.

#include "tests/unit/pool/ledger_books.hpp"

namespace {

using namespace pgmend;
using namespace pgmend::test;
using namespace std::chrono_literals;

pool_limits overloaded_at(duration delay) {
    pool_limits limits = of_size(1);
    limits.queue_delay = delay;
    return limits;
}

/// Somebody whose request may be refused.
ledger_waiter& request(books& b) {
    ledger_waiter& made = b.waiter();
    made.may_be_shed = true;
    b.acquire(made);
    return made;
}

}  // namespace

TEST_CASE("pool ledger: a burst is let wait, a standing line is not") {
    books b{overloaded_at(100ms)};
    b.busy();
    ledger_waiter& first = request(b);
    b.now += 900ms;
    b.tick();
    CHECK(b.said().empty());
    ledger_waiter& second = request(b);
    CHECK(b.ledger.next_tick() == b.now + 100ms);
    b.now += 99ms;
    b.tick();
    CHECK(b.said().empty());
    b.now += 1ms;  // somebody has waited for ten times as long without a break
    b.tick();
    REQUIRE(b.said() == "time_out, time_out");
    CHECK(b.actions[0].waiter == &first);
    CHECK(b.actions[0].end == wait_end::shed);
    CHECK(b.actions[1].waiter == &second);
    CHECK(b.ledger.waiting() == 0);
}

TEST_CASE("pool ledger: under overload each waits its share and no longer, the oldest go first") {
    books b{overloaded_at(100ms)};
    b.busy();
    request(b);
    b.now += 950ms;
    ledger_waiter& late = request(b);
    b.now += 50ms;
    b.tick();
    CHECK(b.said() == "time_out");
    CHECK(late.linked());
    CHECK(b.ledger.next_tick() == b.now + 50ms);
    b.now += 20ms;
    ledger_waiter& latest = request(b);
    b.now += 30ms;
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions[0].waiter == &late);
    CHECK(latest.linked());
    CHECK(b.ledger.next_tick() == b.now + 70ms);
}

TEST_CASE("pool ledger: a moment in which nobody waits ends the overload") {
    books b{overloaded_at(100ms)};
    ledger_server& server = b.busy();
    request(b);
    b.now += 999ms;
    b.release(server);
    CHECK(b.said() == "hand_over");
    CHECK(b.ledger.waiting() == 0);
    request(b);
    CHECK(b.ledger.next_tick() == b.now + 1s);
    b.now += 500ms;
    b.tick();
    CHECK(b.said().empty());
}

TEST_CASE("pool ledger: who logs in or has lost a server is not refused for others, who stand behind them") {
    books b{overloaded_at(100ms)};
    b.busy();
    ledger_waiter& login = b.waiter();
    b.acquire(login);
    ledger_waiter& common = request(b);
    ledger_waiter& another = b.waiter();
    b.acquire(another);
    b.now += 1s;
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions[0].waiter == &common);
    CHECK(login.linked());
    CHECK(another.linked());
    b.now += 10s;
    b.tick();
    CHECK(b.said().empty());
    CHECK(b.ledger.next_tick() == login.since + b.ledger.limits().wait_timeout);
}

TEST_CASE("pool ledger: an outage is no overload, nor is a pause") {
    pool_limits limits = overloaded_at(100ms);
    limits.hold_timeout = 60s;
    books b{limits};
    b.actions.clear();
    request(b);
    b.connect_failed(10ms);
    REQUIRE(b.ledger.holding());
    b.now += 5s;
    b.tick();
    CHECK(b.said().find("time_out") == std::string::npos);
    b.connected();  // serves it
    ledger_waiter& next = request(b);
    b.now += 500ms;
    b.tick();
    CHECK(next.linked());
    pool_ledger::actions out;
    b.ledger.pause(out);
    b.now += 5s;
    b.tick();
    CHECK(next.linked());
    out.clear();
    b.ledger.resume(b.now, out);
    b.now += 999ms;
    b.tick();
    CHECK(next.linked());
    b.now += 1ms;
    b.tick();
    CHECK_FALSE(next.linked());
}
