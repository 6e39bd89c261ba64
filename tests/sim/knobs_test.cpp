// Settings that are drawn are settings that may be written.

#include "tests/sim/knobs.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "config/loader.hpp"

using namespace pgmend;
using namespace pgmend::sim;

namespace {

std::string environment_name(const std::string& key) {
    const config::settings settings;
    const config::setting_base* setting = settings.find(key);
    REQUIRE(setting != nullptr);
    return setting->environment_name();
}

}  // namespace

TEST_CASE("knobs: whatever is drawn is valid, from the start and by a reload on top of it", "[sim]") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        prng dice(seed);
        config::load_sources sources;
        sources.os_user = "app";
        sources.environment = {{"DATABASE_URL", "postgres://app:secret@db1:5432/app?sslmode=disable"}};
        for (const auto& drawn : {draw_settings(dice), draw_reload(dice, 5)}) {
            for (const auto& change : drawn)
                sources.environment[environment_name(change.key)] = change.value;
            const auto loaded = config::load(sources);
            for (const auto& error : loaded.errors)
                UNSCOPED_INFO(error);
            REQUIRE(loaded.value);
        }
    }
}

TEST_CASE("knobs: all that concerns requests is drawn, at both ends of its range and between", "[sim]") {
    std::map<std::string, std::set<std::string>> values;
    prng dice(1);
    for (int round = 0; round < 500; ++round) {
        for (const auto& change : draw_settings(dice))
            values[change.key].insert(change.value);
    }
    for (const std::string key :
         {"pool.mode", "pool.lifetime", "pool.idle_timeout", "pool.wait_timeout", "pool.session_state",
          "replay.mode", "guard.commit_outcome", "limits.held_message", "retry.attempts", "auth.method"}) {
        INFO(key);
        CHECK(values.contains(key));
    }
    CHECK(values["pool.mode"] == std::set<std::string>{"session", "transaction"});
    CHECK(values["pool.lifetime"].contains("0ms"));
    CHECK(values["pool.lifetime"].contains("2592000000ms"));
    CHECK(values["pool.lifetime"].size() > 10);
    CHECK_FALSE(values.contains("limits.user_requests"));
    CHECK_FALSE(values["pool.session_state"].contains("off"));
}

TEST_CASE("knobs: a reload changes nothing that needs a restart", "[sim]") {
    const config::settings settings;
    prng dice(1);
    for (int round = 0; round < 200; ++round) {
        for (const auto& change : draw_reload(dice, 9)) {
            CHECK(change.at_us == 9);
            CHECK(settings.find(change.key)->reload() != config::reload_class::restart);
        }
    }
}
