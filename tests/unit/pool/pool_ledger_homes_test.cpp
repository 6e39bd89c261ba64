// A server of a client's own, and a pause.

#include "tests/unit/pool/ledger_books.hpp"

using namespace pgmend::test;
using namespace std::chrono_literals;

TEST_CASE("pool ledger: there is room for a server of a client's own until the limit, those under way counted"
) {
    books b{of_size(2)};
    CHECK(b.ledger.may_grow());
    b.release(b.busy());
    REQUIRE(b.ledger.may_grow());
    ledger_waiter& own = b.waiter();
    b.actions.clear();
    b.ledger.acquire_new(own, b.now, b.actions);
    CHECK(b.said() == "connect 0");  // although one is idle
    CHECK_FALSE(b.ledger.may_grow());
    ledger_server& server = b.connected();
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].server == &server);
    CHECK(b.actions[0].waiter == &own);
    b.release(server);
    CHECK_FALSE(b.ledger.may_grow());
}

TEST_CASE("pool ledger: who waits for a server of its own takes an idle one when none can be opened") {
    const auto refused = GENERATE(false, true);
    books b{of_size(2)};
    ledger_server& idle = b.busy();
    b.release(idle);
    ledger_waiter& own = b.waiter();
    b.actions.clear();
    b.ledger.acquire_new(own, b.now, b.actions);
    b.actions.clear();
    if (refused) {
        b.ledger.login_refused(b.now, b.now + 1s, b.actions);
    } else {
        b.ledger.connect_failed(b.now, b.now + 1s, b.actions);
    }
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].server == &idle);
    CHECK_FALSE(b.ledger.holding());
    CHECK_FALSE(b.ledger.may_grow());  // not before the pause is over
}

TEST_CASE("pool ledger: a hold sends who waits for a server of its own to an idle one") {
    books b{of_size(2)};
    ledger_server& idle = b.busy();
    b.release(idle);
    b.actions.clear();
    b.ledger.acquire_new(b.waiter(), b.now, b.actions);
    b.actions.clear();
    b.ledger.reconsider(false, b.now, b.actions);
    REQUIRE(b.said().starts_with("hand_over"));
    CHECK(b.actions[0].server == &idle);
    CHECK_FALSE(b.ledger.may_grow());
}

TEST_CASE("pool ledger: nobody is driven out of its home while a server is nobody's") {
    books b{of_size(3)};
    ledger_server& first = b.busy();
    ledger_server& second = b.busy();
    b.release(first);
    b.release(second);
    affinity somebody;
    somebody.attach(&second);
    CHECK(b.ledger.home_for(0) == &first);
    ledger_waiter& other = b.waiter();
    b.acquire(other);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].server == &first);  // though the other was used later
}

TEST_CASE("pool ledger: a pause closes what is free and opens nothing, and who waits goes on after it") {
    books b{{.size = 2, .wait_timeout = 10s}};
    auto& first = b.waiter();
    auto& second = b.waiter();
    b.acquire(first);
    ledger_server& busy = b.connected();
    b.acquire(second);
    ledger_server& idle = b.connected();
    b.release(idle);
    REQUIRE(b.ledger.idle() == 1);
    b.actions.clear();
    b.ledger.pause(b.actions);
    CHECK(b.said() == "close paused");
    auto& late = b.waiter();
    b.acquire(late);
    CHECK(b.said().empty());
    CHECK(b.ledger.waiting() == 1);
    // Nothing is due but the end of the wait, so that no timer turns in vain.
    CHECK(b.ledger.next_tick() == late.since + 10s);
    b.release(busy);
    CHECK(b.said() == "close paused");
    CHECK(b.ledger.total() == 0);
    b.actions.clear();
    b.ledger.resume(b.now, b.actions);
    CHECK(b.said() == "connect 0");
    b.connected();
    CHECK(b.said() == "hand_over");
}

TEST_CASE("pool ledger: a login that succeeds during a pause is closed, and its waiter goes on waiting") {
    books b{{.size = 2}};
    auto& waiter = b.waiter();
    b.acquire(waiter);
    b.actions.clear();
    b.ledger.pause(b.actions);
    b.connected();
    CHECK(b.said() == "close paused");
    CHECK(b.ledger.waiting() == 1);
    CHECK(b.ledger.total() == 0);
}
