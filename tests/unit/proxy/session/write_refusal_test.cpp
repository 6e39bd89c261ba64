#include "proxy/session/write_refusal.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace std::chrono_literals;

namespace {

/// A primary whose configuration says read-only, and a request that can be sent again.
write_facts flipped() {
    write_facts facts;
    facts.read_only = facts.primary_wanted = facts.primary_known = facts.repeatable = true;
    facts.most = 60s;
    facts.most_waiting = 10;
    return facts;
}
write_facts demoted() {
    write_facts facts = flipped();
    facts.read_only = false;
    facts.in_recovery = true;
    return facts;
}
write_facts with(write_facts facts, bool write_facts::*flag, bool value) {
    facts.*flag = value;
    return facts;
}

}  // namespace

TEST_CASE("write refusal: only the server's own word makes a request wait") {
    using f = write_facts;
    CHECK(judge_refusal(flipped()) == write_refusal::sent_again);
    CHECK(judge_refusal(demoted()) == write_refusal::sent_again);
    CHECK(judge_refusal(with(flipped(), &f::read_only, false)) == write_refusal::own_wish);
    CHECK(judge_refusal(with(flipped(), &f::by_session, true)) == write_refusal::own_wish);
    CHECK(judge_refusal(with(flipped(), &f::by_login, true)) == write_refusal::own_wish);
    for (const auto& facts : {flipped(), demoted()}) {
        CHECK(judge_refusal(with(facts, &f::primary_wanted, false)) == write_refusal::no_primary);
        CHECK(judge_refusal(with(facts, &f::repeatable, false)) == write_refusal::unrepeatable);
    }
    // A standby refuses everybody's writes, whatever the session has set.
    CHECK(judge_refusal(with(demoted(), &f::by_session, true)) == write_refusal::sent_again);
    CHECK(judge_refusal(with(demoted(), &f::by_login, true)) == write_refusal::sent_again);
    // One alone that has never been anything else goes on refusing; a configuration is turned back.
    CHECK(judge_refusal(with(demoted(), &f::primary_known, false)) == write_refusal::no_primary);
    CHECK(judge_refusal(with(flipped(), &f::primary_known, false)) == write_refusal::sent_again);
}

TEST_CASE("write refusal: waiting has an end, and so has the number of those who wait") {
    write_facts facts = flipped();
    facts.waited = 60s - 1ms;
    facts.waiting = 9;
    CHECK(judge_refusal(facts) == write_refusal::sent_again);
    facts.waited = 60s;
    CHECK(judge_refusal(facts) == write_refusal::timed_out);
    facts.waited = 0s;
    facts.waiting = 10;
    CHECK(judge_refusal(facts) == write_refusal::crowded);
}

TEST_CASE("write refusal: few ask soon, many take turns, and nobody longer than retry.delay_max") {
    pgmend::config::metrics::cells metrics;
    std::size_t waiting = 0;
    {
        const write_wait another{{}, waiting, metrics};
        CHECK(waiting == 1);
    }
    CHECK(waiting == 0);
    write_wait wait{{}, waiting, metrics};
    const pgmend::health::backoff_limits limits{5ms, 500ms};
    const auto longest_of = [&] {
        auto longest = 0ms;
        std::uint64_t random = 1;
        for (int attempt = 0; attempt < 200; ++attempt) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            const auto pause = wait.next_pause(limits, random >> 20);
            CHECK(pause >= 5ms);
            longest = std::max(longest, pause);
        }
        return longest;
    };
    CHECK(longest_of() <= 100ms);
    waiting = 100;
    CHECK(longest_of() > 100ms);
    CHECK(longest_of() <= 200ms);
    waiting = 10'000;
    CHECK(longest_of() <= 500ms);
    waiting = 1;
    CHECK(wait.next_pause({2ms, 2ms}, 12345) == 2ms);
}
