#include "pool/task.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pool/event_gate.hpp"
#include "tests/support/test_environment.hpp"

using namespace pgmend::pool;
using pgmend::test::test_environment;

namespace {

task<int> answer(std::vector<std::string>& log) {
    log.push_back("answer");
    co_return 42;
}

task<std::unique_ptr<int>> moved() { co_return std::make_unique<int>(7); }

task<> wait_for(event_gate& gate, std::vector<std::string>& log) {
    log.push_back("waits");
    co_await gate.wait();
    log.push_back("woken");
}

/// Counts the frames that hold one.
struct counted {
    explicit counted(int& alive) : alive_(alive) { ++alive_; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive_; }
    int& alive_;
};

task<int> deep(int depth) {
    if (depth == 0) co_return 0;
    const int below = co_await deep(depth - 1);
    co_return below + 1;
}

task<> holding(event_gate& gate, int& alive) {
    const counted one{alive};
    co_await gate.wait();
}

}  // namespace

TEST_CASE("task: it starts when it is awaited and gives its value") {
    std::vector<std::string> log;
    const auto run = [](std::vector<std::string>& into) -> detached {
        auto later = answer(into);
        into.push_back("made");
        const int value = co_await std::move(later);
        into.push_back(std::to_string(value));
    };
    run(log);
    CHECK(log == std::vector<std::string>{"made", "answer", "42"});
}

TEST_CASE("task: values are moved, not copied") {
    int got = 0;
    const auto run = [](int& into) -> detached {
        const auto value = co_await moved();
        into = *value;
    };
    run(got);
    CHECK(got == 7);
}

TEST_CASE("task: waiting inside one keeps its callers waiting in order") {
    test_environment env;
    event_gate gate{env};
    std::vector<std::string> log;
    const auto run = [](event_gate& on, std::vector<std::string>& into) -> detached {
        co_await wait_for(on, into);
        into.push_back("first over");
        co_await wait_for(on, into);
        into.push_back("second over");
    };
    run(gate, log);
    CHECK(log == std::vector<std::string>{"waits"});
    gate.set(1);
    env.run();
    CHECK(log == std::vector<std::string>{"waits", "woken", "first over", "waits"});
    gate.set(1);
    env.run();
    CHECK(log.back() == "second over");
}

TEST_CASE("task: one that is never awaited, and one destroyed while it waits, free what they hold") {
    test_environment env;
    event_gate gate{env};
    int alive = 0;
    { const auto never = holding(gate, alive); }
    CHECK(alive == 0);
    {
        auto waiting = holding(gate, alive);
        waiting.await_suspend(std::noop_coroutine()).resume();
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
}

TEST_CASE("task: deep chains give their value back") {
    int got = 0;
    const auto run = [](int& into) -> detached { into = co_await deep(1000); };
    run(got);
    CHECK(got == 1000);
}

TEST_CASE("task: frames are lent again, of every size and never two at once") {
    std::set<void*> lent;
    for (int round = 0; round < 3; ++round) {
        std::vector<std::pair<void*, std::size_t>> frames;
        for (std::size_t size = 1; size <= 4096; size += 61) {
            for (int copies = 0; copies < 5; ++copies) {
                void* frame = detail::allocate_frame(size);
                REQUIRE(lent.insert(frame).second);
                std::fill_n(static_cast<unsigned char*>(frame), size, static_cast<unsigned char>(0xab));
                frames.emplace_back(frame, size);
            }
        }
        for (const auto& [frame, size] : frames) {
            lent.erase(frame);
            detail::release_frame(frame, size);
        }
    }
    void* first = detail::allocate_frame(200);
    detail::release_frame(first, 200);
    void* again = detail::allocate_frame(220);  // of the same class
    CHECK(again == first);
    detail::release_frame(again, 220);
}
