#include "pool/event_gate.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "pool/task.hpp"
#include "tests/support/test_environment.hpp"

using namespace pgmend::pool;
using namespace std::chrono_literals;
using pgmend::test::test_environment;

namespace {

/// Waits `times` times and writes down what it was woken by.
detached listen(event_gate& gate, std::vector<event_mask>& heard, int times) {
    for (int i = 0; i < times; ++i) {
        heard.push_back(co_await gate.wait());
    }
}

}  // namespace

TEST_CASE("event gate: bits wake the one who waits, later and all at once") {
    test_environment env;
    event_gate gate{env};
    std::vector<event_mask> heard;
    listen(gate, heard, 2);
    gate.set(1);
    gate.set(4);
    CHECK(heard.empty());  // never inside set
    env.run();
    CHECK(heard == std::vector<event_mask>{5});
    CHECK(gate.pending() == 0);
    env.run();
    CHECK(heard.size() == 1);
    gate.notify(2);
    env.run();
    CHECK(heard == std::vector<event_mask>{5, 2});
}

TEST_CASE("event gate: bits that came before the wait are not lost and need no wake-up") {
    test_environment env;
    event_gate gate{env};
    gate.set(2);
    CHECK(env.deferred.empty());
    std::vector<event_mask> heard;
    listen(gate, heard, 1);
    CHECK(heard == std::vector<event_mask>{2});
}

TEST_CASE("event gate: bits taken back are not heard") {
    test_environment env;
    event_gate gate{env};
    std::vector<event_mask> heard;
    listen(gate, heard, 1);
    gate.set(1 | 2);
    gate.clear(2);
    env.run();
    CHECK(heard == std::vector<event_mask>{1});
}

TEST_CASE("event gate: one that is destroyed before its wake-up is not run") {
    test_environment env;
    std::vector<event_mask> heard;
    auto gate = std::make_unique<event_gate>(env);
    gate->set(1);
    listen(*gate, heard, 1);
    CHECK(heard.size() == 1);
    gate = std::make_unique<event_gate>(env);
    gate->set(1);
    gate.reset();
    env.run();
    CHECK(env.deferred.empty());
}

TEST_CASE("gate timer: the deadline is a bit, once") {
    test_environment env;
    event_gate gate{env};
    gate_timer timer{env, gate, 8};
    std::vector<event_mask> heard;
    listen(gate, heard, 3);
    timer.after(10ms);
    CHECK(timer.running());
    env.pass(9ms);
    CHECK(heard.empty());
    env.pass(1ms);
    CHECK(heard == std::vector<event_mask>{8});
    CHECK_FALSE(timer.running());
    env.pass(1h);
    CHECK(heard.size() == 1);
    timer.at(env.now() + 5ms);
    timer.after(20ms);  // moves it
    env.pass(10ms);
    CHECK(heard.size() == 1);
    env.pass(10ms);
    CHECK(heard.size() == 2);
    gate.set(1);
    env.run();
}

TEST_CASE("gate timer: stopped, it is silent even if it had just fired") {
    test_environment env;
    event_gate gate{env};
    gate_timer timer{env, gate, 8};
    std::vector<event_mask> heard;
    listen(gate, heard, 1);
    timer.after(1ms);
    timer.stop();
    CHECK_FALSE(timer.running());
    env.pass(1s);
    CHECK(heard.empty());
    gate.set(8);
    gate.set(1);
    timer.stop();
    env.run();
    CHECK(heard == std::vector<event_mask>{1});
}

TEST_CASE("gate timer: one that is destroyed does not fire") {
    test_environment env;
    event_gate gate{env};
    {
        gate_timer timer{env, gate, 8};
        timer.after(1ms);
    }
    CHECK(env.timers.empty());
    env.pass(1s);
    CHECK(gate.pending() == 0);
}
