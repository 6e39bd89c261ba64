#include "config/event_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <random>
#include <vector>

using namespace pgmend::config;

namespace {

struct work final : deferred_node {
    std::function<void()> body;
    explicit work(std::function<void()> what) : body(std::move(what)) {
        run = [](deferred_node& node) noexcept { static_cast<work&>(node).body(); };
    }
};

struct test_timer final : timer_node {
    std::function<void()> body;
    explicit test_timer(std::function<void()> what) : body(std::move(what)) {
        fire = [](timer_node& node) noexcept { static_cast<test_timer&>(node).body(); };
    }
};

time_point at(int milliseconds) { return time_point{} + std::chrono::milliseconds{milliseconds}; }

}  // namespace

TEST_CASE("deferred queue: work runs once, in the order it was deferred") {
    deferred_queue queue;
    std::vector<int> ran;
    work a{[&] { ran.push_back(1); }};
    work b{[&] { ran.push_back(2); }};
    work c{[&] { ran.push_back(3); }};
    queue.push(a);
    queue.push(b);
    queue.push(c);
    queue.push(a);  // already queued
    CHECK_FALSE(queue.empty());
    queue.run_all();
    CHECK(ran == std::vector<int>{1, 2, 3});
    CHECK(queue.empty());
    queue.run_all();
    CHECK(ran.size() == 3);
}

TEST_CASE("deferred queue: work may defer itself, defer others and withdraw others") {
    deferred_queue queue;
    std::vector<int> ran;
    int times = 0;
    work late{[&] { ran.push_back(9); }};
    work never{[&] { ran.push_back(-1); }};
    work self{[&] {
        ran.push_back(1);
        queue.remove(never);
        if (++times < 3) queue.push(self);
        if (times == 1) queue.push(late);
    }};
    queue.push(self);
    queue.push(never);
    queue.run_all();
    CHECK(ran == std::vector<int>{1, 1, 9, 1});
    CHECK(queue.empty());
}

TEST_CASE("deferred queue: a node leaves from the front, the middle and the back") {
    const int gone = GENERATE(0, 1, 2);
    deferred_queue queue;
    std::vector<int> ran;
    work a{[&] { ran.push_back(0); }};
    work b{[&] { ran.push_back(1); }};
    work c{[&] { ran.push_back(2); }};
    work* all[]{&a, &b, &c};
    for (work* one : all) {
        queue.push(*one);
    }
    queue.remove(*all[gone]);
    queue.remove(*all[gone]);  // not queued any more: nothing happens
    work d{[&] { ran.push_back(3); }};
    queue.push(d);
    queue.run_all();
    std::vector<int> expected{0, 1, 2, 3};
    expected.erase(expected.begin() + gone);
    CHECK(ran == expected);
}

TEST_CASE("timer queue: what is due fires once, earliest first, equal ones as they were scheduled") {
    timer_queue queue;
    std::vector<int> fired;
    std::vector<std::unique_ptr<test_timer>> timers;
    for (const int ms : {5, 3, 3, 9, 3, 1}) {
        const int index = static_cast<int>(timers.size());
        timers.push_back(std::make_unique<test_timer>([&fired, index] { fired.push_back(index); }));
        queue.schedule(*timers.back(), at(ms));
    }
    CHECK(queue.next() == at(1));
    queue.fire_due(at(0));
    CHECK(fired.empty());
    queue.fire_due(at(5));
    CHECK(fired == std::vector<int>{5, 1, 2, 4, 0});
    CHECK_FALSE(timers[0]->scheduled());
    CHECK(timers[3]->scheduled());
    CHECK(queue.size() == 1);
    queue.fire_due(at(100));
    CHECK(fired.size() == 6);
    CHECK(queue.empty());
}

TEST_CASE("timer queue: scheduling again moves a timer, behind others of the same time") {
    timer_queue queue;
    std::vector<int> fired;
    test_timer a{[&] { fired.push_back(1); }};
    test_timer b{[&] { fired.push_back(2); }};
    queue.schedule(a, at(5));
    queue.schedule(b, at(7));
    queue.schedule(a, at(7));
    CHECK(queue.size() == 2);
    queue.fire_due(at(6));
    CHECK(fired.empty());
    queue.fire_due(at(7));
    CHECK(fired == std::vector<int>{2, 1});
}

TEST_CASE("timer queue: a timer may cancel another that is due, and schedule itself again") {
    timer_queue queue;
    std::vector<int> fired;
    test_timer victim{[&] { fired.push_back(-1); }};
    test_timer killer{[&] {
        fired.push_back(1);
        queue.cancel(victim);
        queue.schedule(killer, at(20));
    }};
    queue.schedule(killer, at(1));
    queue.schedule(victim, at(2));
    queue.fire_due(at(10));
    CHECK(fired == std::vector<int>{1});
    CHECK(killer.scheduled());
    queue.cancel(killer);
    queue.cancel(killer);
    CHECK(queue.empty());
}

TEST_CASE("timer queue: any mixture of orders fires as a sorted list would") {
    for (unsigned seed = 0; seed < 50; ++seed) {
        std::mt19937 random{seed};
        timer_queue queue;
        struct expected {
            time_point when;
            std::uint64_t order;
            std::size_t index;
        };
        std::vector<expected> model;
        std::vector<std::size_t> fired;
        std::vector<std::unique_ptr<test_timer>> timers;
        for (std::size_t i = 0; i < 40; ++i) {
            timers.push_back(std::make_unique<test_timer>([&fired, i] { fired.push_back(i); }));
        }
        std::uint64_t order = 0;
        for (int step = 0; step < 400; ++step) {
            const std::size_t index = random() % timers.size();
            const auto gone = std::remove_if(model.begin(), model.end(), [&](const expected& one) {
                return one.index == index;
            });
            model.erase(gone, model.end());
            if (random() % 4 == 0) {
                queue.cancel(*timers[index]);
            } else {
                const time_point when = at(static_cast<int>(random() % 30));
                queue.schedule(*timers[index], when);
                model.push_back({when, order++, index});
            }
            REQUIRE(queue.size() == model.size());
            if (random() % 16 != 0) continue;
            const time_point now = at(static_cast<int>(random() % 30));
            std::sort(model.begin(), model.end(), [](const expected& a, const expected& b) {
                return a.when != b.when ? a.when < b.when : a.order < b.order;
            });
            std::vector<std::size_t> due;
            while (!model.empty() && model.front().when <= now) {
                due.push_back(model.front().index);
                model.erase(model.begin());
            }
            fired.clear();
            queue.fire_due(now);
            REQUIRE(fired == due);
            if (!model.empty()) REQUIRE(queue.next() == model.front().when);
        }
        for (const auto& test_timer : timers) {
            queue.cancel(*test_timer);
        }
        REQUIRE(queue.empty());
    }
}

TEST_CASE("timer queue: a timer that is due again at once waits for the next turn") {
    timer_queue queue;
    int times = 0;
    test_timer eager{[&] {
        ++times;
        queue.schedule(eager, at(0));
    }};
    std::vector<int> fired;
    test_timer other{[&] { fired.push_back(1); }};
    queue.schedule(eager, at(5));
    queue.schedule(other, at(6));
    queue.fire_due(at(10));
    CHECK(times == 1);
    queue.fire_due(at(10));
    CHECK(times == 2);
    queue.fire_due(at(10));
    // However eager one is, the other has its turn.
    CHECK(times == 3);
    CHECK(fired.size() == 1);
    queue.cancel(eager);
    queue.cancel(other);
}
