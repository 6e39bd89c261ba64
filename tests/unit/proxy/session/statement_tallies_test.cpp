#include "proxy/session/statement_tallies.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <random>

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::config::metrics::replay_hindrance;
using pgmend::protocol::statement_kind;

namespace {

/// A statement of that shape is sent, as the relay does it.
statement_tallies::place sent(statement_tallies& tallies, std::uint64_t shape, const std::string& text) {
    const auto known = tallies.called(shape, statement_kind::select);
    bool forgot = false;
    return known != 0 ? known : tallies.admit(shape, text, {}, forgot);
}

/// The same place, whether this call is timed or not.
statement_tallies::place untimed(statement_tallies::place place) { return place & ~(1U << 31U); }

const statement_tally* named(const statement_tallies& tallies, std::string_view text) {
    for (const statement_tally* each : tallies.all()) {
        if (each->text == text) return each;
    }
    return nullptr;
}

std::uint64_t calls_of_all(const statement_tallies& tallies) {
    std::uint64_t all = 0;
    for (const statement_tally* each : tallies.all())
        all += each->calls;
    return all;
}

}  // namespace

TEST_CASE("latency buckets: percentiles are too high by a quarter at most, never too low") {
    std::mt19937_64 random{1};
    std::vector<std::uint64_t> took;
    latency_buckets buckets;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t ns = 5'000 + random() % (std::uint64_t{1} << (14 + random() % 22));
        took.push_back(ns);
        buckets.record(std::chrono::nanoseconds(ns));
    }
    std::sort(took.begin(), took.end());
    for (const unsigned percent : {1U, 50U, 95U, 99U, 100U}) {
        const std::uint64_t truth = took[(took.size() * percent + 99) / 100 - 1] / 1000;
        CAPTURE(percent);
        CHECK(buckets.percentile_us(percent) >= truth);
        CHECK(buckets.percentile_us(percent) <= truth + truth / 4 + 1);
    }
    CHECK(buckets.total() == took.size());
}

TEST_CASE("latency buckets: no duration is beyond them") {
    latency_buckets buckets;
    CHECK(buckets.percentile_us(99) == 0);
    for (const auto each : {-1h, 0h, 1h, 24h * 365})
        buckets.record(each);
    CHECK(buckets.total() == 4);
    CHECK(buckets.percentile_us(50) <= 1);
    CHECK(buckets.percentile_us(100) > 60'000'000);
    latency_buckets twice = buckets;
    twice += buckets;
    CHECK(twice.total() == 8);
}

TEST_CASE("statement tallies: each shape has its own numbers") {
    statement_tallies tallies{100};
    const auto one = sent(tallies, 17, "select a from t where b = 5");
    const auto two = sent(tallies, 18, "select 'x'");
    CHECK(sent(tallies, 17, "not looked at again") == one);
    tallies.answered(one, 2ms);
    tallies.failed(two);
    tallies.sent_again(two);
    tallies.pinned(two);
    tallies.hindered(two, replay_hindrance::procedure);
    const statement_tally* first = named(tallies, "select a from t where b = ?");
    REQUIRE(first != nullptr);
    CHECK((first->calls == 2 && first->errors == 0 && first->time == 2ms && first->latency.total() == 1));
    const statement_tally* second = named(tallies, "select ?");
    REQUIRE(second != nullptr);
    CHECK((second->calls == 1 && second->errors == 1 && second->retries == 1 && second->pins == 1));
    CHECK(second->hinders[static_cast<std::size_t>(replay_hindrance::procedure)] == 1);
    CHECK(tallies.place_of(17) == untimed(one));
}

TEST_CASE(
    "statement tallies: what has no shape is told by its kind, and what is no place's goes to all others"
) {
    statement_tallies tallies{16};
    for (const auto kind : {statement_kind::begin, statement_kind::commit, statement_kind::rollback})
        CHECK(tallies.called(0, kind) != 0);
    tallies.answered(tallies.called(0, statement_kind::commit), 3ms);
    tallies.called(0, statement_kind::unknown);
    CHECK(named(tallies, "COMMIT")->calls == 2);
    CHECK(named(tallies, "COMMIT")->time == 3ms);
    CHECK(named(tallies, "BEGIN")->calls == 1);
    CHECK(named(tallies, "(not understood)")->calls == 1);
    CHECK(named(tallies, statement_tallies::other_statements) == nullptr);
    tallies.failed(0);
    tallies.failed(tallies.place_of(4711));
    CHECK(named(tallies, statement_tallies::other_statements)->errors == 2);
}

TEST_CASE("statement tallies: bounded, and no call is lost from the sum") {
    statement_tallies tallies{64};
    std::mt19937_64 random{7};
    std::uint64_t calls = 0;
    std::map<std::uint64_t, statement_tallies::place> remembered;
    for (int i = 0; i < 100'000; ++i) {
        const std::uint64_t shape = 1 + random() % 5'000;
        const auto place =
            sent(tallies, shape, "select " + std::string(1, static_cast<char>('a' + shape % 26)));
        REQUIRE(place != 0);
        if (const auto old = remembered.find(random() % 5'000); old != remembered.end()) {
            tallies.answered(old->second, 1us);  // it may have been given up long since
            remembered.erase(old);
        }
        remembered[shape] = place;
        ++calls;
    }
    CHECK(tallies.all().size() <= 64 + 5);
    CHECK(calls_of_all(tallies) == calls);
}

TEST_CASE("statement tallies: what is used stays, however many are seen once") {
    statement_tallies tallies{64};
    std::map<std::uint64_t, statement_tallies::place> places;
    for (std::uint64_t shape = 1; shape <= 32; ++shape)
        places[shape] = untimed(sent(tallies, shape, "select"));
    std::mt19937_64 random{3};
    for (int round = 0; round < 1'000; ++round) {
        for (std::uint64_t shape = 1; shape <= 32; ++shape)
            CHECK(untimed(sent(tallies, shape, "select")) == places[shape]);
        for (int once = 0; once < 20; ++once)
            sent(tallies, random() | 1U << 20U, "select");
    }
    // And a newcomer that is used takes the place of one that is not.
    const std::uint64_t late = (std::uint64_t{1} << 40U) + 1;
    for (int i = 0; i < 100; ++i)
        sent(tallies, late, "select 1");
    CHECK(tallies.called(late, statement_kind::select) != 0);
}

TEST_CASE("statement tallies: after a reset everything begins at zero, and old places count for nobody else"
) {
    statement_tallies tallies{16};
    const auto before = sent(tallies, 5, "select old");
    sent(tallies, 5, "select old");
    tallies.called(0, statement_kind::begin);
    tallies.reset();
    CHECK(tallies.all().empty());
    const auto after = sent(tallies, 5, "select old");
    CHECK(after != before);
    tallies.failed(before);
    CHECK(named(tallies, "select old")->errors == 0);
    CHECK(named(tallies, "select old")->calls == 1);
}

TEST_CASE("statement tallies: the first calls are all timed, then one in eight stands for eight, by chance") {
    statement_tallies tallies{16};
    std::uint64_t timed = 0;
    const auto ask = [&](std::chrono::nanoseconds took) {
        const auto where = sent(tallies, 5, "select 1");
        timed += untimed(where) != where ? 1 : 0;
        tallies.answered(where, took);
    };
    for (int i = 0; i < 100; ++i)
        ask(1ms);
    CHECK(timed == 100);
    // Every eighth takes long: which ones are timed must not go with that.
    for (int i = 0; i < 80'000; ++i)
        ask(i % 8 == 0 ? 100ms : 1ms);
    CHECK((timed > 9'000 && timed < 11'200));
    const statement_tally* tally = named(tallies, "select ?");
    REQUIRE(tally != nullptr);
    CHECK(tally->calls == 80'100);
    const auto all = static_cast<double>(tally->latency.total());
    CHECK((all > 75'000 && all < 85'000));
    const double mean_ms = static_cast<double>(tally->time.count()) / all / 1e6;
    CHECK((mean_ms > 12.5 && mean_ms < 14.3));  // 13.4
    CHECK((tally->latency.percentile_us(50) < 1'300 && tally->latency.percentile_us(85) < 1'300));
    CHECK(tally->latency.percentile_us(92) > 90'000);
}
