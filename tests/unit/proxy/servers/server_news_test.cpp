#include "proxy/servers/server_news.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace config = pgmend::config;
namespace health = pgmend::health;
using health::election_reason;
using health::node_condition;
using health::node_role;

namespace {

/// Two servers, and what the ledger hears of them.
struct world {
    world() {
        settings.upstream.servers.set({{"one", "", 5432}, {"two", "", 5433}});
        picture.nodes.resize(2);
    }
    void see(std::size_t node, node_condition condition, node_role role, std::uint32_t timeline) {
        picture.nodes[node].condition = condition;
        picture.nodes[node].role = role;
        picture.nodes[node].timeline = timeline;
        picture.nodes[node].trouble = condition == node_condition::down ? "connection refused" : "";
    }
    void elect(std::optional<std::size_t> primary, std::uint32_t timeline, election_reason reason) {
        picture.memory.primary = primary;
        picture.memory.timeline = timeline;
        picture.reason = reason;
    }
    /// What is told now, a line for each act: kind, server, outcome, cause.
    std::vector<std::string> tell() {
        const std::uint64_t before = ledger.total();
        now += 1s;
        news.tell(std::make_shared<const health::topology>(picture), settings, now);
        std::vector<std::string> told;
        for (const healing_event& act : ledger.after(before, 100)) {
            told.push_back(
                std::string(config::label_word(act.kind)) + ' ' + act.server + ' ' +
                std::string(act.outcome) + ": " + act.cause
            );
            if (act.took.count() != 0) told.back() += " after " + std::to_string(act.took.count());
        }
        return told;
    }

    config::settings settings;
    health::topology picture;
    healing_ledger ledger{100};
    server_news news{ledger};
    config::time_point now = config::time_point{} + 1h;
};

using lines = std::vector<std::string>;

}  // namespace

TEST_CASE("server news: a failover and the return of the old primary are told in order, each with its cause"
) {
    world w;
    w.see(0, node_condition::up, node_role::primary, 1);
    w.see(1, node_condition::up, node_role::standby, 1);
    w.elect(0, 1, election_reason::only_claimant);
    CHECK(w.tell() == lines{"primary one:5432 elected: none was known before, timeline 1"});
    CHECK(w.tell().empty());
    w.see(0, node_condition::down, node_role::unknown, 1);
    w.elect(std::nullopt, 1, election_reason::none_claims);
    CHECK(
        w.tell() ==
        lines{
            "server one:5432 down: connection refused",
            "primary  lost: before it was one:5432, timeline 1: connection refused"}
    );
    w.see(0, node_condition::down, node_role::fenced, 1);
    w.see(1, node_condition::up, node_role::primary, 2);
    w.elect(1, 2, election_reason::newer_timeline);
    CHECK(
        w.tell() ==
        lines{
            "primary two:5433 elected: before it was one:5432, timeline 1; now two:5433, timeline 2 after "
            "1000",
            "server one:5432 fenced: it is on timeline 1, two:5433 on timeline 2"}
    );
    w.see(0, node_condition::up, node_role::fenced, 1);
    CHECK(w.tell() == lines{"server one:5432 up: it answers after 2000"});
    w.see(0, node_condition::down, node_role::unknown, 1);
    CHECK(w.tell() == lines{"server one:5432 down: connection refused"});
    w.see(0, node_condition::up, node_role::standby, 2);
    CHECK(
        w.tell() ==
        lines{
            "server one:5432 up: it answers after 1000",
            "server one:5432 standby: it is fenced no longer, timeline 2"}
    );
}

TEST_CASE("server news: a primary that comes back is the one before, and a second one is fenced beside it") {
    world w;
    w.see(0, node_condition::up, node_role::primary, 3);
    w.see(1, node_condition::up, node_role::standby, 3);
    w.elect(0, 3, election_reason::only_claimant);
    w.tell();
    w.see(0, node_condition::suspect, node_role::unknown, 3);
    w.elect(std::nullopt, 3, election_reason::none_claims);
    CHECK(w.tell() == lines{"primary  lost: before it was one:5432, timeline 3"});
    w.see(0, node_condition::up, node_role::primary, 3);
    w.elect(0, 3, election_reason::only_claimant);
    CHECK(w.tell() == lines{"primary one:5432 elected: it was the one before, too, timeline 3 after 1000"});
    w.see(1, node_condition::up, node_role::fenced, 3);
    CHECK(
        w.tell() == lines{"server two:5433 fenced: it says that it is a primary beside one:5432, on the same "
                          "timeline 3"}
    );
}
