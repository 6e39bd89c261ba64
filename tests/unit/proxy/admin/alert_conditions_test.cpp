#include "proxy/admin/alert_conditions.hpp"

#include <catch2/catch.hpp>

#include "proxy/admin/alert_watch.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace config = pgmend::config;

namespace {

struct world {
    world() : settings(std::make_shared<config::settings>()) {
        settings->pool.size.set(10);
        facts.settings = settings;
        for (int worker = 0; worker < 2; ++worker) {
            pool_facts& pool = facts.workers.emplace_back().pools.emplace_back();
            pool.user = "app";
            pool.database = "shop";
            pool.servers_active = 4;
            pool.longest_wait = worker == 0 ? 0ms : 1500ms;
        }
    }
    std::string found(const request_tally& since = {}) const {
        std::string text;
        for (const alert_condition& each : alert_conditions(report, facts, since)) {
            if (!text.empty()) text += "; ";
            text.append(word_of(each.level)).append(" ").append(each.name).append(": ").append(each.reason);
        }
        return text;
    }

    std::shared_ptr<config::settings> settings;
    admin_facts facts;
    health_report report;
};

}  // namespace

TEST_CASE("alert conditions: what GET /health says is the matter", "[alerts]") {
    world w;
    w.report.components.resize(3);
    w.report.components[0].name = "clients";
    w.report.components[1].name = "pools";
    w.report.components[1].state = health_state::degraded;
    w.report.components[1].reason = "a pool is paused";
    w.report.components[2].name = "topology";
    w.report.components[2].state = health_state::critical;
    w.report.components[2].reason = "there is no primary: lost";
    CHECK(w.found() == "warning pools: a pool is paused; critical topology: there is no primary: lost");
}

TEST_CASE("alert conditions: thresholds of the policy, which are off by default", "[alerts]") {
    world w;
    CHECK(w.found({100, 100}).empty());
    w.settings->alerts.wait.set(1500ms);
    w.settings->alerts.pool_percent.set(81);
    w.settings->alerts.error_percent.set(50);
    CHECK(w.found({100, 49}).empty());
    CHECK(w.found({19, 19}).empty());
    w.settings->alerts.wait.set(1s);
    w.settings->alerts.pool_percent.set(80);
    CHECK(
        w.found({100, 50}) ==
        "warning wait:app@shop: a client waits for a server connection for longer than 1s (alerts.wait); "
        "warning pool:app@shop: 8 of 10 server connections are in use, 80 % or more (alerts.pool_percent); "
        "warning errors: 50 of 100 requests have failed, 50 % or more (alerts.error_percent)"
    );
}

TEST_CASE("alert conditions: what is posted is one JSON object", "[alerts]") {
    alert_notice notice;
    notice.stage = alert_stage::over;
    notice.what.name = "server:\"db\":5432";
    notice.what.level = alert_level::critical;
    notice.what.reason = "it is down:\nrefused";
    notice.since = config::time_point{1h};
    constexpr std::int64_t epoch = 1'794'996'395'000;
    CHECK(
        alert_message(notice, "host:6432", config::time_point{1h + 5s}, 1'795'000'000'000, epoch) ==
        R"({"source":"pgmend","instance":"host:6432","id":"host:6432/server:\"db\":5432/1794999995000",)"
        R"("name":"server:\"db\":5432","status":"over","level":"critical","reason":"it is down:\nrefused",)"
        R"("advice":"","at_ms":1795000000000,"lasted_ms":5000})"
        "\n"
    );
    // Its id is the same whenever it is told of, to the millisecond.
    notice.since = config::time_point{1h + 700us};
    for (const config::duration after : {300ms + 200us, 5s + 900us, 7s + 299us}) {
        const config::time_point now = notice.since + after;
        CHECK(
            alert_message(notice, "host:6432", now, 1'795'000'000'000 + after / 1ms, epoch)
                .find("/1794999995000") != std::string::npos
        );
    }
}
