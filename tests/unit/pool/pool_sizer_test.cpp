// pool_sizer against servers that can be calculated: how long a request takes there with so many at one time.

#include "pool/pool_sizer.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <random>

#include <catch2/catch.hpp>

namespace {

using namespace pgmend;
using namespace pgmend::pool;
using namespace std::chrono_literals;

/// A server that serves so many at one time, each in 2 ms; what is more only makes all of them slower.
double with_slots(std::size_t in_use, double slots) {
    return 0.002 * std::max(1.0, static_cast<double>(in_use) / slots);
}

/// Clients that always ask, and the pool in front of the server.
struct trial_run {
    explicit trial_run(sizer_limits limits) : sizer(limits) {}

    pool_sizer sizer;
    std::function<double(std::size_t)> latency;
    double noise = 0;  ///< relative, of each period
    std::mt19937 random{1};
    std::optional<std::size_t> spare;
    std::map<sizing_reason, int> told;

    /// A second with more clients than connections.
    void second() {
        std::normal_distribution<double> around{1, noise};
        const auto size = static_cast<double>(sizer.size());
        const double each = latency(sizer.size()) * (noise > 0 ? std::max(0.2, around(random)) : 1);
        const double requests = size / each;
        pool_load load;
        load.period = 1s;
        load.requests = static_cast<std::uint64_t>(requests);
        load.busy = std::chrono::duration_cast<config::duration>(std::chrono::duration<double>(size));
        load.waited = 10s;
        if (const auto why = sizer.look(load, spare)) ++told[*why];
    }
    /// So many seconds that it comes there; it must not take more than twenty.
    void reach(std::size_t size) {
        for (int i = 0; i < 20 && sizer.size() != size; ++i)
            second();
        REQUIRE(sizer.size() == size);
    }
    /// The mean size of the last half of so many seconds.
    double mean_after(int seconds) {
        double sum = 0;
        for (int i = 0; i < seconds; ++i) {
            second();
            if (i >= seconds / 2) sum += static_cast<double>(sizer.size());
        }
        return sum / (seconds - seconds / 2);
    }
};

pool_load quiet_second(std::size_t size) {
    pool_load load;
    load.period = 1s;
    load.requests = 1000;
    load.busy = std::chrono::duration_cast<config::duration>(static_cast<double>(size) * 300ms);
    return load;
}

}  // namespace

TEST_CASE("pool sizer: it begins small, and grows as far as the server serves more") {
    trial_run run{{4, 100}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    CHECK(run.sizer.size() == 4);
    run.reach(100);
    CHECK(run.told[sizing_reason::trial_more] == 5);  // 8, 16, 32, 64
    CHECK(run.told[sizing_reason::no_gain] == 0);
    // Now and then it looks whether fewer would do.
    CHECK(run.mean_after(400) >= 95);
    CHECK(run.told[sizing_reason::needed] == run.told[sizing_reason::trial_fewer]);
}

TEST_CASE("pool sizer: it stays near what the server can do, from below and from above") {
    for (const double slots : {6.0, 12.0, 24.0, 50.0}) {
        trial_run run{{2, 200}};
        run.latency = [slots](std::size_t n) { return with_slots(n, slots); };
        const double mean = run.mean_after(400);
        INFO("slots " << slots << ", mean " << mean);
        CHECK(mean >= slots * 0.85);
        CHECK(mean <= slots * 1.5);
    }
}

TEST_CASE("pool sizer: a server that gets worse with more of them is given few") {
    trial_run run{{1, 100}};
    run.latency = [](std::size_t n) {
        const auto size = static_cast<double>(n);
        return 0.002 * (size <= 8 ? 1 : size / 8 * (1 + (size - 8) * 0.02));
    };
    const double mean = run.mean_after(400);
    CHECK(mean >= 7);
    CHECK(mean <= 11);
}

TEST_CASE("pool sizer: what is served one by one needs no more than the least") {
    trial_run run{{2, 50}};
    run.latency = [](std::size_t n) { return 0.002 * static_cast<double>(n); };
    CHECK(run.mean_after(200) <= 3);
}

TEST_CASE("pool sizer: noise of a tenth leads it neither away nor around in circles") {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        trial_run run{{2, 100}};
        run.random.seed(seed);
        run.noise = 0.1;
        run.latency = [](std::size_t n) { return with_slots(n, 16); };
        const double mean = run.mean_after(600);
        INFO("seed " << seed << ", mean " << mean);
        CHECK(mean >= 9);
        CHECK(mean <= 32);
    }
}

TEST_CASE("pool sizer: when the server can do more, or less, it follows") {
    trial_run run{{2, 100}};
    double slots = 8;
    run.latency = [&slots](std::size_t n) { return with_slots(n, slots); };
    CHECK(run.mean_after(200) <= 12);
    slots = 40;
    CHECK(run.mean_after(600) >= 34);
    slots = 8;
    CHECK(run.mean_after(600) <= 14);
}

TEST_CASE("pool sizer: nothing is tried while nobody waits") {
    pool_sizer sizer{{4, 50}};
    for (int i = 0; i < 100; ++i)
        CHECK_FALSE(sizer.look(quiet_second(sizer.size()), std::nullopt).has_value());
    CHECK(sizer.size() == 4);
}

TEST_CASE("pool sizer: what does is kept, whatever a trial would have shown") {
    trial_run run{{4, 50}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    run.second();
    REQUIRE(run.told[sizing_reason::trial_more] == 1);
    CHECK_FALSE(run.sizer.look(quiet_second(8), std::nullopt).has_value());
    CHECK(run.sizer.size() == 8);
}

TEST_CASE("pool sizer: a few requests say nothing") {
    pool_sizer sizer{{4, 50}};
    pool_load load{1s, 15, 4s, 5s};
    CHECK_FALSE(sizer.look(load, std::nullopt).has_value());
    load.requests = 16;
    CHECK(sizer.look(load, std::nullopt) == sizing_reason::trial_more);
}

TEST_CASE("pool sizer: it takes no more than the server has free, and leaves some of that") {
    trial_run run{{4, 100}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    run.spare = 5;
    run.second();
    CHECK(run.sizer.size() == 6);
    run.spare = 3;
    for (int i = 0; i < 50; ++i) {
        run.second();
        CHECK(run.sizer.size() <= 6);
    }
}

TEST_CASE("pool sizer: where others need the server's connections it gives up its own, step by step") {
    trial_run run{{4, 100}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    run.reach(100);
    run.second();
    run.spare = 0;
    run.second();
    CHECK(run.told[sizing_reason::server_full] == 1);
    CHECK(run.sizer.size() == 75);
    run.second();  // those that are too many are only being closed
    CHECK(run.sizer.size() == 75);
    for (int i = 0; i < 60; ++i)
        run.second();
    CHECK(run.sizer.size() == 4);
}

TEST_CASE("pool sizer: a login refused for want of connections is an upper limit for a while") {
    trial_run run{{4, 100}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    run.reach(100);
    CHECK(run.sizer.server_full(30) == sizing_reason::server_full);
    CHECK(run.sizer.size() == 30);
    CHECK_FALSE(run.sizer.server_full(30).has_value());
    for (int i = 0; i < 4; ++i)
        run.second();
    CHECK(run.sizer.size() == 30);
    CHECK(run.sizer.server_full(1) == sizing_reason::server_full);
    CHECK(run.sizer.size() == 4);
}

TEST_CASE("pool sizer: new limits hold at once") {
    trial_run run{{4, 100}};
    run.latency = [](std::size_t n) { return with_slots(n, 1000); };
    run.reach(100);
    run.sizer.set_limits({4, 20});
    CHECK(run.sizer.size() == 20);
    run.sizer.set_limits({30, 60});
    CHECK(run.sizer.size() == 30);
    run.sizer.set_limits({2, 60});
    CHECK(run.sizer.size() == 30);
}
