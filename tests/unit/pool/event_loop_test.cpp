#include "pool/event_loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/engines.hpp"

using namespace pgmend::pool;
namespace config = pgmend::config;
namespace test = pgmend::test;

namespace {

/// A descriptor that is readable when told so, and what happens then.
struct signal final : loop_watch {
    explicit signal(std::function<void(std::uint32_t)> what)
        : body(std::move(what)), descriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
        ready = [](loop_watch& self, std::uint32_t events) noexcept {
            static_cast<signal&>(self).body(events);
        };
    }
    signal(const signal&) = delete;
    signal& operator=(const signal&) = delete;
    ~signal() { ::close(descriptor); }
    void raise() const {
        const std::uint64_t one = 1;
        REQUIRE(::write(descriptor, &one, sizeof one) == sizeof one);
    }
    void lower() const {
        std::uint64_t count = 0;
        REQUIRE(::read(descriptor, &count, sizeof count) == sizeof count);
    }

    std::function<void(std::uint32_t)> body;
    int descriptor;
};

struct test_timer final : config::timer_node {
    explicit test_timer(std::function<void()> what) : body(std::move(what)) {
        fire = [](config::timer_node& node) noexcept { static_cast<test_timer&>(node).body(); };
    }
    std::function<void()> body;
};

struct work final : config::deferred_node {
    explicit work(std::function<void()> what) : body(std::move(what)) {
        run = [](config::deferred_node& node) noexcept { static_cast<work&>(node).body(); };
    }
    std::function<void()> body;
};

}  // namespace

TEST_CASE("event loop: readiness first, then posted work, then timers, then what was deferred") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    std::vector<std::string> order;
    work later{[&] {
        order.push_back("deferred");
        loop.stop();
    }};
    test_timer timer{[&] { order.push_back("timer"); }};
    signal input{[&](std::uint32_t events) {
        CHECK((events & EPOLLIN) != 0);
        order.push_back("ready");
        input.lower();
        loop.defer(later);
    }};
    REQUIRE(loop.add(input.descriptor, EPOLLIN, input) == 0);
    input.raise();
    loop.post([&] { order.push_back("posted"); });
    loop.schedule(timer, loop.now());
    loop.run();
    CHECK(order == std::vector<std::string>{"ready", "posted", "timer", "deferred"});
    loop.remove(input.descriptor, input);
    CHECK(loop.turns() == 1);
}

TEST_CASE("event loop: a watch removed by an earlier one of the same batch is not called") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    int called = 0;
    std::vector<std::unique_ptr<signal>> all;
    for (int i = 0; i < 3; ++i) {
        all.push_back(std::make_unique<signal>([&](std::uint32_t) {
            ++called;
            // Whichever comes first takes the others away, and their memory with them.
            for (auto& one : all) {
                loop.remove(one->descriptor, *one);
            }
            loop.stop();
        }));
        REQUIRE(loop.add(all.back()->descriptor, EPOLLIN, *all.back()) == 0);
        all.back()->raise();
    }
    loop.run();
    CHECK(called == 1);
}

TEST_CASE("event loop: a timer does not fire early, and wakes a loop that has nothing else to do") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    const auto began = config::steady_clock::now();
    auto fired = began;
    test_timer timer{[&] {
        fired = config::steady_clock::now();
        loop.stop();
    }};
    loop.schedule(timer, began + std::chrono::milliseconds{20});
    loop.run();
    CHECK(fired - began >= std::chrono::milliseconds{20});
    CHECK(loop.turns() < 10);
}

TEST_CASE("event loop: work posted by other threads runs on the loop's own, all of it") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    const auto own = std::this_thread::get_id();
    int ran = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 1000; ++n) {
                loop.post([&] {
                    CHECK(std::this_thread::get_id() == own);
                    if (++ran == 4000) loop.stop();
                });
            }
        });
    }
    loop.run();
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(ran == 4000);
}

TEST_CASE("event loop: a wake-up that comes behind its work keeps nobody turning") {
    const auto engine = GENERATE(from_range(test::engines()));
    // Other events wake the loop all the time, so that work is often done before its own wake-up is written.
    signal busy{[](std::uint32_t) {}};
    busy.raise();
    for (int round = 0; round < 300; ++round) {
        event_loop loop;
        test::use(loop, engine);
        REQUIRE(loop.add(busy.descriptor, EPOLLIN, busy) == 0);
        std::uint64_t quiet_from = 0;
        test_timer over{[&] { loop.stop(); }};
        std::function<void()> quiet = [&] {
            loop.remove(busy.descriptor, busy);
            quiet_from = loop.turns();
            loop.schedule(over, loop.now() + std::chrono::milliseconds{3});
        };
        std::thread other{[&] { loop.post(quiet); }};
        loop.run();
        other.join();
        REQUIRE(quiet_from != 0);
        CHECK(loop.turns() - quiet_from < 10);
    }
}

TEST_CASE("event loop: work may post more work") {
    event_loop loop;
    test::use(loop, GENERATE(from_range(test::engines())));
    int depth = 0;
    std::function<void()> again = [&] {
        if (++depth == 100) {
            loop.stop();
        } else {
            loop.post(again);
        }
    };
    loop.post(again);
    loop.run();
    CHECK(depth == 100);
}

TEST_CASE("event loop: a descriptor it cannot watch is an error and no exception") {
    event_loop loop;
    loop_watch watch;
    CHECK(loop.add(-1, EPOLLIN, watch) == EBADF);
}

TEST_CASE("event loop: its dice are not always the same") {
    event_loop loop;
    CHECK(loop.random() != loop.random());
}
