#include "proxy/login/login_throttle.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::config::time_point;

TEST_CASE("login throttle: failures beyond those that are free wait, until a minute has passed") {
    login_throttle throttle;
    const throttle_limits limits{3, 2s};
    time_point now{};
    now += 1h;
    for (int i = 0; i < 3; ++i)
        CHECK(throttle.failed("10.0.0.1", now, limits) == 0s);
    CHECK(throttle.failed("10.0.0.1", now, limits) == 2s);
    CHECK(throttle.failed("10.0.0.2", now, limits) == 0s);
    now += 59s;
    CHECK(throttle.failed("10.0.0.1", now, limits) == 2s);
    now += 1s;
    CHECK(throttle.failed("10.0.0.1", now, limits) == 0s);
}

TEST_CASE("login throttle: one owner's IPv6 network is one address") {
    CHECK(throttle_key("2001:db8::1") == throttle_key("2001:db8::ffff:2"));
    CHECK(throttle_key("2001:db8::1") != throttle_key("2001:db8:0:1::1"));
    CHECK(throttle_key("10.0.0.1") == "10.0.0.1");
}

TEST_CASE("login throttle: it remembers no more addresses than it may") {
    login_throttle throttle;
    time_point now{};
    for (std::size_t i = 0; i < 3 * login_throttle::most_addresses; ++i)
        throttle.failed(std::to_string(i), now, {});
    CHECK(throttle.size() <= login_throttle::most_addresses);
}
