#include "health/standby_positions.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::health;
using namespace std::chrono_literals;
using pgmend::config::time_point;

namespace {

const time_point start{1h};

topology with_primary(std::size_t place, std::uint32_t timeline) {
    topology picture;
    picture.nodes.resize(3);
    picture.memory.primary = place;
    picture.memory.timeline = timeline;
    return picture;
}

observation at(bool in_recovery, std::uint64_t lsn, time_point when, std::uint32_t timeline = 1) {
    observation seen;
    seen.result = probe_result::ok;
    seen.facts.in_recovery = in_recovery;
    seen.facts.lsn = lsn;
    seen.facts.timeline = timeline;
    seen.asked_at = when;
    return seen;
}

}  // namespace

TEST_CASE(
    "standby positions: a standby has what the primary had at the last check it has caught up with", "[reads]"
) {
    standby_positions known{3};
    known.seen(1, at(true, 100, start));
    CHECK_FALSE(known.lag(1));
    known.pictured(with_primary(0, 1));
    known.seen(0, at(false, 100, start + 1s));
    known.seen(1, at(true, 100, start + 1500ms));
    CHECK(known.lag(1) == 0s);
    CHECK(known.has(1, start + 999ms, start));
    CHECK_FALSE(known.has(1, start + 1s, start));  // a write that was over when it was asked, or later
    CHECK_FALSE(known.has(1, start + 999ms, start + 1500ms));  // the connection is not older than the check
    known.seen(0, at(false, 200, start + 2s));
    known.seen(1, at(true, 150, start + 2500ms));
    CHECK(known.lag(1) == 1s);
    CHECK_FALSE(known.has(1, start + 1500ms, start));
    CHECK_FALSE(known.lag(2));
    // The primary is gone: nothing is forgotten.
    topology none;
    none.nodes.resize(3);
    known.pictured(none);
    known.seen(1, at(true, 200, start + 60s));
    CHECK(known.lag(1) == 0s);
    // Another one: what was known means nothing.
    known.pictured(with_primary(2, 2));
    CHECK_FALSE(known.lag(1));
    known.seen(2, at(false, 50, start + 61s, 2));
    known.seen(1, at(true, 200, start + 62s, 1));
    CHECK_FALSE(known.lag(1));
    CHECK_FALSE(known.has(1, start, start));
    known.seen(1, at(true, 50, start + 63s, 2));
    CHECK(known.lag(1) == 0s);
    known.forget(1);
    CHECK_FALSE(known.lag(1));
}

TEST_CASE("standby positions: the beginning of a page holds no record's end", "[reads]") {
    CHECK(end_of_records(8192 * 5 + 24, 8192) == 8192 * 5);
    CHECK(end_of_records(8192 * 5 + 40, 8192) == 8192 * 5);
    CHECK(end_of_records(8192 * 5 + 48, 8192) == 8192 * 5 + 48);
    CHECK(end_of_records(8192 * 5 + 24, 0) == 8192 * 5 + 24);
}
