#include "tests/unit/pool/ledger_books.hpp"

using namespace pgmend::test;
using namespace std::chrono_literals;

TEST_CASE("pool ledger: the first client makes a connection and gets it") {
    books b{of_size(2)};
    ledger_waiter& client = b.waiter(3);
    b.acquire(client);
    CHECK(b.said() == "connect 3");
    CHECK(b.ledger.waiting() == 1);
    ledger_server& server = b.connected(3);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].server == &server);
    CHECK(b.actions[0].waiter == &client);
    CHECK(b.ledger.in_use() == 1);
    CHECK(b.ledger.waiting() == 0);
    CHECK(b.ledger.connecting() == 0);
    b.release(server);
    CHECK(b.said().empty());
    CHECK(b.ledger.idle() == 1);
    CHECK(b.ledger.in_use() == 0);
}

TEST_CASE("pool ledger: no more connections than its size, and no more logins at once than allowed") {
    pool_limits limits = of_size(5);
    limits.login_concurrency = 2;
    books b{limits};
    for (int i = 0; i < 10; ++i) {
        b.acquire(b.waiter());
    }
    CHECK(b.ledger.connecting() == 2);
    b.connected();
    CHECK(b.said() == "hand_over, connect 0");
    b.connected();
    b.connected();
    b.connected();
    CHECK(b.said() == "hand_over");
    CHECK(b.ledger.total() == 5);
    b.connected();
    CHECK(b.said() == "hand_over");
    CHECK(b.ledger.in_use() == 5);
    CHECK(b.ledger.waiting() == 5);
}

TEST_CASE("pool ledger: waiters are served oldest first") {
    books b{of_size(1)};
    ledger_server& server = b.busy();
    ledger_waiter& first = b.waiter();
    ledger_waiter& second = b.waiter();
    b.acquire(first);
    b.acquire(second);
    CHECK(b.said().empty());
    b.release(server);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].waiter == &first);
    b.release(server);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].waiter == &second);
}

TEST_CASE("pool ledger: a waiter that withdrew gets nothing") {
    books b{of_size(1)};
    ledger_server& server = b.busy();
    ledger_waiter& first = b.waiter();
    ledger_waiter& second = b.waiter();
    b.acquire(first);
    b.acquire(second);
    b.ledger.withdraw(first);
    b.ledger.withdraw(first);
    b.release(server);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].waiter == &second);
    b.release(server);
    CHECK(b.said().empty());
    CHECK(b.ledger.idle() == 1);
}

TEST_CASE(
    "pool ledger: of the idle ones the client's last is taken, then one with its settings, then the latest"
) {
    books b{of_size(4)};
    int settings_a = 0;
    int settings_b = 0;
    ledger_server& one = b.busy();
    ledger_server& two = b.busy();
    ledger_server& three = b.busy();
    one.parameters = &settings_a;
    two.parameters = &settings_b;
    three.parameters = &settings_b;
    b.release(one);
    b.release(two);
    b.release(three);
    ledger_waiter& client = b.waiter(0, &settings_a);
    SECTION("its last one") {
        client.last.attach(&two);
        b.acquire(client);
        CHECK(b.actions.at(0).server == &two);
    }
    SECTION("its last one is busy: equal settings") {
        b.acquire(b.waiter(0, &settings_b));
        CHECK(b.actions.at(0).server == &three);
        client.last.attach(&three);
        b.acquire(client);
        CHECK(b.actions.at(0).server == &one);
    }
    SECTION("nothing equal: the latest") {
        client.parameters = &client;
        b.acquire(client);
        CHECK(b.actions.at(0).server == &three);
    }
}

TEST_CASE("pool ledger: the affinity to a server that went is no affinity") {
    books b{of_size(2)};
    affinity last;
    {
        ledger_server gone;
        last.attach(&gone);
        CHECK(last.server() == &gone);
    }
    CHECK(last.server() == nullptr);
    ledger_server other;
    {
        affinity short_lived;
        short_lived.attach(&other);
        CHECK(other.followers.size() == 1);
        short_lived.attach(&other);
        CHECK(other.followers.size() == 1);
    }
    CHECK(other.followers.empty());
}

TEST_CASE("pool ledger: a server is never lent across partitions") {
    books b{of_size(2)};
    ledger_server& server = b.busy(1);
    b.release(server);
    ledger_waiter& other = b.waiter(2);
    other.last.attach(&server);  // an old affinity does not help
    b.acquire(other);
    CHECK(b.said() == "connect 2");
    CHECK(b.ledger.home_for(1) == &server);
    CHECK(b.ledger.home_for(2) == nullptr);
}

TEST_CASE("pool ledger: an idle server of another partition makes room at once") {
    books b{of_size(1)};
    b.release(b.busy(1));
    b.acquire(b.waiter(2));
    CHECK(b.said() == "close repartition, connect 2");
    CHECK(b.ledger.total() == 1);
}

TEST_CASE("pool ledger: a busy partition gives up a connection for one that has waited long enough") {
    books b{of_size(1)};
    ledger_server& server = b.busy(1);
    ledger_waiter& other = b.waiter(2);
    b.acquire(other);
    ledger_waiter& same = b.waiter(1);
    b.acquire(same);
    b.now += 99ms;
    SECTION("not yet") {
        b.release(server);
        REQUIRE(b.said() == "hand_over");
        CHECK(b.actions[0].waiter == &same);
    }
    SECTION("now") {
        b.now += 1ms;
        b.release(server);
        CHECK(b.said() == "close repartition, connect 2");
        CHECK(b.ledger.total() == 1);
        // The connection made for it goes to it and not to the others.
        b.connected(2);
        REQUIRE(b.said() == "hand_over");
        CHECK(b.actions[0].waiter == &other);
    }
}

TEST_CASE("pool ledger: while one connection is made for another partition no second is given up") {
    books b{of_size(2)};
    ledger_server& one = b.busy(1);
    ledger_server& two = b.busy(1);
    b.acquire(b.waiter(2));
    ledger_waiter& same = b.waiter(1);
    b.acquire(same);
    b.now += 1s;
    b.release(one);
    CHECK(b.said() == "close repartition, connect 2");
    b.release(two);
    REQUIRE(b.said() == "hand_over");
    CHECK(b.actions[0].waiter == &same);
}

TEST_CASE("pool ledger: while no login may be tried nothing is given up for another partition") {
    books b{of_size(2)};
    ledger_server& one = b.busy(1);
    ledger_server& two = b.busy(1);
    ledger_waiter& other = b.waiter(2);
    b.acquire(other);
    b.now += 1s;
    b.release(one);
    REQUIRE(b.said() == "close repartition, connect 2");
    b.connect_failed(5s);
    CHECK(b.said().empty());
    // The servers cannot be reached anew: the one that is left must not be thrown away.
    b.release(two);
    CHECK(b.said().empty());
    CHECK(b.ledger.idle() == 1);
    b.now += 5s;
    b.tick();
    CHECK(b.said() == "connect 2");
    CHECK(b.ledger.idle() == 1);
}

TEST_CASE("pool ledger: a failed login is not repeated before its time, and then for those who wait") {
    books b{of_size(2)};
    b.acquire(b.waiter());
    b.connect_failed(1s);
    CHECK(b.said().empty());
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    CHECK(b.ledger.next_tick() == b.now + 1s);
    b.now += 999ms;
    b.tick();
    CHECK(b.said().empty());
    b.now += 1ms;
    b.tick();
    CHECK(b.said() == "connect 0");  // one to begin with; the other follows when it has gone well
    b.connected();
    CHECK(b.said() == "hand_over, connect 0");
}

TEST_CASE("pool ledger: a login that succeeds ends the pause of one that failed") {
    pool_limits limits = of_size(3);
    limits.login_concurrency = 2;
    books b{limits};
    for (int i = 0; i < 3; ++i) {
        b.acquire(b.waiter());
    }
    CHECK(b.ledger.connecting() == 2);
    b.connect_failed(10s);
    CHECK(b.said().empty());
    b.connected();
    CHECK(b.said() == "hand_over, connect 0, connect 0");
}

TEST_CASE("pool ledger: who waits too long is told so, oldest first") {
    pool_limits limits = of_size(1);
    limits.wait_timeout = 10s;
    books b{limits};
    b.busy();
    ledger_waiter& first = b.waiter();
    b.acquire(first);
    b.now += 4s;
    ledger_waiter& second = b.waiter();
    b.acquire(second);
    CHECK(b.ledger.next_tick() == b.now + 6s);
    b.now += 6s;
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions[0].waiter == &first);
    CHECK_FALSE(first.linked());
    CHECK(b.ledger.next_tick() == b.now + 4s);
    b.now += 4s;
    b.tick();
    CHECK(b.said() == "time_out");
    CHECK(b.ledger.waiting() == 0);
}

TEST_CASE("pool ledger: the reserve is opened for those who have waited, and only then") {
    pool_limits limits = of_size(1);
    limits.reserve_size = 1;
    limits.reserve_timeout = 5s;
    books b{limits};
    ledger_server& first = b.busy();
    b.acquire(b.waiter());
    b.acquire(b.waiter());
    CHECK(b.ledger.next_tick() == b.now + 5s);
    b.now += 4999ms;
    b.tick();
    CHECK(b.said().empty());
    b.now += 1ms;
    b.tick();
    CHECK(b.said() == "connect 0");
    b.connected();
    CHECK(b.said() == "hand_over");
    b.tick();
    CHECK(b.said().empty());
    CHECK(b.ledger.total() == 2);
    b.release(first);
    CHECK(b.said() == "hand_over");
}

TEST_CASE("pool ledger: idle servers are closed when unused, down to the minimum") {
    pool_limits limits = of_size(3);
    limits.min_size = 1;
    limits.idle_timeout = 60s;
    books b{limits};
    ledger_server& one = b.busy();
    ledger_server& two = b.busy();
    b.release(one);
    b.now += 1s;
    b.release(two);
    CHECK(b.ledger.next_tick() == b.now + 59s);
    b.now += 59s;
    b.tick();
    REQUIRE(b.said() == "close idle_timeout");
    CHECK(b.actions[0].server == &one);
    b.now += 1min;
    b.tick();
    CHECK(b.said().empty());
    CHECK(b.ledger.idle() == 1);
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE("pool ledger: a server is closed at the end of its life, when it is idle or comes back") {
    pool_limits limits = of_size(2);
    limits.idle_timeout = 0s;
    limits.lifetime = 3600s;
    books b{limits};
    ledger_server& one = b.busy();
    ledger_server& two = b.busy();
    b.release(two);
    CHECK(b.ledger.next_tick() == b.now + 3600s);
    b.now += 3600s;
    b.tick();
    REQUIRE(b.said() == "close lifetime");
    CHECK(b.actions[0].server == &two);
    b.release(one);
    CHECK(b.said() == "close lifetime");
    CHECK(b.ledger.total() == 0);
}

TEST_CASE("pool ledger: a pool that is always busy is renewed too, one server after the other") {
    pool_limits limits = of_size(2);
    limits.lifetime = 10s;
    books b{limits};
    ledger_server& one = b.busy();
    ledger_server& two = b.busy();
    b.acquire(b.waiter());
    b.acquire(b.waiter());
    b.acquire(b.waiter());
    b.now += 10s;
    b.release(one);
    CHECK(b.said() == "close lifetime, connect 0");
    b.release(two);
    CHECK(b.said() == "hand_over");
    b.connected();
    CHECK(b.said() == "hand_over");
    b.now += 5s;
    b.release(two);
    CHECK(b.said() == "close lifetime, connect 0");
}

TEST_CASE("pool ledger: while no server can be had, an old one still serves those who wait") {
    pool_limits limits = of_size(2);
    limits.lifetime = 10s;
    books b{limits};
    ledger_server& server = b.busy();
    b.acquire(b.waiter());
    b.connect_failed(60s);
    b.now += 10s;
    b.release(server);
    CHECK(b.said() == "hand_over");
}

TEST_CASE("pool ledger: a server that comes back to nobody makes room for another partition at once") {
    books b{of_size(1)};
    ledger_server& server = b.busy(1);
    b.acquire(b.waiter(2));
    CHECK(b.said().empty());
    b.release(server);
    CHECK(b.said() == "close repartition, connect 2");
}

TEST_CASE("pool ledger: with the limits at zero servers live for ever") {
    pool_limits limits = of_size(1);
    limits.idle_timeout = 0s;
    limits.lifetime = 0s;
    books b{limits};
    b.release(b.busy());
    CHECK(b.ledger.next_tick() == time_point::max());
    b.now += std::chrono::hours{10'000};
    b.tick();
    CHECK(b.said().empty());
}

TEST_CASE("pool ledger: a pool nobody has used stays empty, one in use keeps its minimum") {
    pool_limits limits = of_size(5);
    limits.min_size = 3;
    books b{limits};
    b.tick();
    CHECK(b.said().empty());
    CHECK(b.ledger.next_tick() == time_point::max());
    b.acquire(b.waiter(7));
    CHECK(b.said() == "connect 7, connect 7, connect 7");
    ledger_server& one = b.connected(7);
    ledger_server& two = b.connected(7);
    b.connected(7);
    CHECK(b.said().empty());
    CHECK(b.ledger.total() == 3);
    b.release(one);
    b.ledger.lost_idle(two);
    CHECK(b.ledger.next_tick() <= b.now);
    b.tick();
    CHECK(b.said() == "connect 7");
    b.connect_failed(2s);
    CHECK(b.ledger.next_tick() == b.now + 2s);
}

TEST_CASE("pool ledger: a minimum that logins are not allowed to reach yet does not spin") {
    pool_limits limits = of_size(10);
    limits.min_size = 10;
    limits.login_concurrency = 2;
    books b{limits};
    b.acquire(b.waiter());
    CHECK(b.ledger.connecting() == 2);
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE("pool ledger: a reserve that cannot be opened yet does not spin") {
    pool_limits limits = of_size(1);
    limits.reserve_size = 1;
    limits.reserve_timeout = 5s;
    books b{limits};
    b.busy();
    b.acquire(b.waiter());
    b.now += 5s;
    b.tick();
    REQUIRE(b.said() == "connect 0");
    b.connect_failed(3s);
    CHECK(b.ledger.next_tick() == b.now + 3s);
}

TEST_CASE("pool ledger: a dedicated connection takes a place, and its end gives the place to who waits") {
    books b{of_size(1)};
    b.ledger.count_dedicated(1);
    CHECK(b.ledger.total() == 1);
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    b.ledger.count_dedicated(-1);
    CHECK(b.ledger.next_tick() <= b.now);
    b.tick();
    CHECK(b.said() == "connect 0");
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE("pool ledger: a server lost in use makes room") {
    books b{of_size(1)};
    b.busy();
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    b.actions.clear();
    b.ledger.lost_in_use(b.now, b.actions);
    CHECK(b.said() == "connect 0");
    CHECK(b.ledger.in_use() == 0);
}

TEST_CASE("pool ledger: a closed pool closes what is idle, what comes back and what has just been opened") {
    books b{of_size(3)};
    ledger_server& one = b.busy();
    ledger_server& two = b.busy();
    b.release(two);
    b.acquire(b.waiter());
    b.acquire(b.waiter());
    CHECK(b.said() == "connect 0");
    b.release(two);
    CHECK(b.said() == "hand_over");
    b.release(two);
    b.actions.clear();
    b.ledger.close_all(b.actions);
    CHECK(b.said() == "close pool_closed");
    b.release(one);
    CHECK(b.said() == "close pool_closed");
    b.connected();
    CHECK(b.said() == "close pool_closed");
    CHECK(b.ledger.total() == 0);
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE("pool ledger: a closed pool whose last login failed does not spin") {
    books b{of_size(1)};
    b.acquire(b.waiter());
    b.connect_failed(1s);
    b.actions.clear();
    b.ledger.close_all(b.actions);
    b.now += 2s;
    b.tick();
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE("pool ledger: a new picture of the servers ends the pause after a failed login", "[pool]") {
    books b{{.size = 2}};
    ledger_waiter& waiter = b.waiter();
    b.acquire(waiter);
    CHECK(b.said() == "connect 0");
    b.connect_failed(10s);
    CHECK(b.said().empty());
    b.actions.clear();
    b.ledger.reconsider(true, b.now, b.actions);
    CHECK(b.said() == "connect 0");
    b.actions.clear();
    b.ledger.reconsider(true, b.now, b.actions);
    CHECK(b.said().empty());  // one is under way for the only one who waits
}

TEST_CASE(
    "pool ledger: without a server who waits is held, with a limit that begins with the hold", "[pool]"
) {
    pool_limits limits = of_size(1);
    limits.wait_timeout = 1s;
    limits.hold_timeout = 10s;
    books b{limits};
    b.acquire(b.waiter());
    b.now += 900ms;
    b.connect_failed(1s);
    CHECK(b.ledger.holding());
    b.now += 5s;
    b.acquire(b.waiter());
    b.now += 5s - 1ms;
    b.tick();
    CHECK(b.said().find("time_out") == std::string::npos);
    CHECK(b.ledger.waiting() == 2);
    b.now += 1ms;
    b.tick();
    CHECK(b.said().find("time_out") != std::string::npos);
    CHECK(b.actions.front().end == wait_end::held);
    CHECK(b.ledger.waiting() == 1);
    // Once a server is there, waiting for others to finish begins anew.
    ledger_server& server = b.connected();
    CHECK(b.said() == "hand_over");
    CHECK(b.actions.front().held);
    CHECK_FALSE(b.ledger.holding());
    b.acquire(b.waiter());
    b.now += 1s;
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions.front().end == wait_end::busy);
    b.release(server);
}

TEST_CASE("pool ledger: more than may be held are told so at once, the latest first", "[pool]") {
    pool_limits limits = of_size(1);
    limits.hold_max_waiters = 2;
    books b{limits};
    for (int i = 0; i < 3; ++i) {
        b.acquire(b.waiter());
    }
    b.tick();
    CHECK(b.said().empty());  // nothing is wrong yet
    b.connect_failed(5s);
    CHECK(b.ledger.next_tick() <= b.now);
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions.front().waiter == &b.waiters[2]);
    CHECK(b.actions.front().end == wait_end::crowded);
    CHECK(b.ledger.next_tick() > b.now);
}

TEST_CASE(
    "pool ledger: more than may wait are told so at once, the latest first, and a hold has its own limit",
    "[pool]"
) {
    pool_limits limits = of_size(1);
    limits.max_waiters = 2;
    books b{limits};
    b.busy();
    for (int i = 0; i < 3; ++i) {
        b.acquire(b.waiter());
    }
    CHECK(b.ledger.next_tick() <= b.now);
    b.tick();
    REQUIRE(b.said() == "time_out");
    CHECK(b.actions.front().waiter == &b.waiters.back());
    CHECK(b.actions.front().end == wait_end::full);
    CHECK(b.ledger.waiting() == 2);
    CHECK(b.ledger.next_tick() > b.now);
    b.actions.clear();
    b.ledger.reconsider(false, b.now, b.actions);
    b.acquire(b.waiter());
    b.tick();
    CHECK(b.said().empty());
    CHECK(b.ledger.waiting() == 3);
}

TEST_CASE("pool ledger: a hold lasts while the monitor knows no server, whatever a login says", "[pool]") {
    books b{of_size(2)};
    ledger_server& server = b.busy();
    b.actions.clear();
    b.ledger.reconsider(false, b.now, b.actions);
    CHECK(b.ledger.holding());
    b.release(server);
    CHECK(b.ledger.holding());
    b.actions.clear();
    b.ledger.reconsider(true, b.now, b.actions);
    CHECK_FALSE(b.ledger.holding());
}

TEST_CASE("pool ledger: a login that the server refuses for good is no outage", "[pool]") {
    books b{of_size(2)};
    b.acquire(b.waiter());
    b.actions.clear();
    b.ledger.login_refused(b.now, b.now, b.actions);
    CHECK_FALSE(b.ledger.holding());
}

TEST_CASE("pool ledger: a server that has come back is loaded gently", "[pool]") {
    pool_limits limits = of_size(32);
    limits.login_concurrency = 8;
    books b{limits};
    for (int i = 0; i < 40; ++i) {
        b.acquire(b.waiter());
    }
    CHECK(b.ledger.connecting() == 8);
    for (int i = 0; i < 8; ++i) {
        b.connect_failed(0s);
    }
    b.tick();
    CHECK(b.ledger.connecting() == 1);
    b.connected();
    CHECK(b.ledger.connecting() == 2);
    b.connected();
    CHECK(b.ledger.connecting() == 4);
    b.connected();
    CHECK(b.ledger.connecting() == 8);
    b.connected();
    CHECK(b.ledger.connecting() == 8);
}

TEST_CASE("pool ledger: made smaller, it closes what is too much as it becomes free", "[pool]") {
    books b{of_size(4)};
    ledger_server& first = b.busy();
    ledger_server& second = b.busy();
    ledger_server& third = b.busy();
    ledger_server& fourth = b.busy();
    b.release(first);
    b.actions.clear();
    b.ledger.set_limits(of_size(2), b.now, b.actions);
    CHECK(b.said() == "close resized");
    CHECK(b.ledger.total() == 3);
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    b.release(second);
    CHECK(b.said() == "close resized");
    b.release(third);
    CHECK(b.said() == "hand_over");
    b.release(fourth);
    CHECK(b.said().empty());
    CHECK(b.ledger.total() == 2);
}

TEST_CASE("pool ledger: made larger, it opens what those who wait need", "[pool]") {
    books b{of_size(1)};
    b.busy();
    b.acquire(b.waiter());
    b.acquire(b.waiter());
    CHECK(b.said().empty());
    b.actions.clear();
    b.ledger.set_limits(of_size(3), b.now, b.actions);
    CHECK(b.said() == "connect 0, connect 0");
}

TEST_CASE("pool ledger: a shorter time to wait holds for who waits already", "[pool]") {
    books b{of_size(1)};
    b.busy();
    b.acquire(b.waiter());
    b.now += 10s;
    pool_limits shorter = of_size(1);
    shorter.wait_timeout = 5s;
    b.actions.clear();
    b.ledger.set_limits(shorter, b.now, b.actions);
    CHECK(b.said() == "time_out");
}

TEST_CASE("pool ledger: dedicated connections do not make it close its own", "[pool]") {
    books b{of_size(2)};
    ledger_server& first = b.busy();
    ledger_server& second = b.busy();
    b.ledger.count_dedicated(2);
    b.release(first);
    b.release(second);
    CHECK(b.said().empty());
    CHECK(b.ledger.idle() == 2);
    b.ledger.count_dedicated(-2);
}
