#include "proxy/limits/request_clock.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "config/metric.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::config::label_word;
using pgmend::config::request_limit;
using pgmend::config::time_point;

namespace {

constexpr time_point start{std::chrono::hours{1}};

request_bounds allowed(
    pgmend::config::duration query, pgmend::config::duration idle, pgmend::config::duration transaction,
    std::uint64_t bytes = 0
) {
    request_bounds bounds;
    bounds.query = query;
    bounds.idle_transaction = idle;
    bounds.transaction = transaction;
    bounds.result_bytes = bytes;
    return bounds;
}

/// `cancel query_timeout, again in 5000 ms`.
std::string in_words(const request_clock::verdict& verdict, time_point now) {
    std::ostringstream text;
    if (verdict.what == request_clock::deed::cancel) text << "cancel " << label_word(verdict.why);
    if (verdict.what == request_clock::deed::end) text << "end " << label_word(verdict.why);
    if (verdict.what == request_clock::deed::nothing) text << "nothing";
    if (verdict.again)
        text << ", again in "
             << std::chrono::duration_cast<std::chrono::milliseconds>(*verdict.again - now).count() << " ms";
    return text.str();
}

/// Runs a script of events, each `ms name`; what the clock says at each `look` and of each answer.
std::string play(const request_bounds& bounds, const std::string& script) {
    request_clock clock;
    std::istringstream in(script);
    std::ostringstream said;
    long ms = 0;
    std::string event;
    const auto tell = [&said](const std::string& words) { said << (said.tellp() > 0 ? "; " : "") << words; };
    while (in >> ms >> event) {
        const time_point now = start + std::chrono::milliseconds{ms};
        if (event == "sent") clock.sent(now);
        if (event == "ready") clock.ready(false, false, false, now);
        if (event == "ready_more") clock.ready(false, true, true, now);
        if (event == "in_block") clock.ready(true, false, false, now);
        if (event == "in_block_more") clock.ready(true, true, true, now);
        if (event == "flushed") clock.answered(bounds, 0, true, now);
        if (event == "row" && clock.answered(bounds, 1000, false, now)) tell("too much");
        if (event == "last_row" && clock.answered(bounds, 1000, true, now)) tell("too much");
        if (event == "look") tell(in_words(clock.look(bounds, false, now), now));
        if (event == "look_at_ours") tell(in_words(clock.look(bounds, true, now), now));
        if (event == "cancelled") {
            const auto cause = clock.cancelled();
            tell(cause ? std::string(label_word(cause->which)) + (cause->late ? " late" : "") : "not ours");
        }
    }
    return said.str();
}

struct row {
    const char* what;
    request_bounds bounds;
    const char* script;
    const char* said;
};

}  // namespace

TEST_CASE("request clock: what is over, and when to look again", "[limits]") {
    const auto query = allowed(1s, 0s, 0s);
    const auto idle = allowed(0s, 1s, 0s);
    const auto transaction = allowed(0s, 0s, 1s);
    const auto all = allowed(2s, 1s, 3s, 5000);
    const row rows[] = {
        {"nothing is asked", all, "0 look", "nothing"},
        {"no limit", allowed(0s, 0s, 0s), "0 sent 99999 row 99999 look", "nothing"},
        {"in time", query, "0 sent 999 look 999 ready 5000 look", "nothing, again in 1 ms; nothing"},
        {"too long", query, "0 sent 1000 look 1001 cancelled 1002 in_block 9000 look",
         "cancel query_timeout, again in 5000 ms; query_timeout; nothing"},
        {"a cancel that does not come to anything is sent once more", query,
         "0 sent 1000 look 5999 look 6000 look 6001 cancelled",
         "cancel query_timeout, again in 5000 ms; nothing, again in 1 ms; cancel query_timeout, again in "
         "5000 ms; "
         "query_timeout"},
        {"whoever cancels somebody else's", query, "0 sent 500 cancelled", "not ours"},
        {"what was complete first is no error, and the cancel that comes late says so", query,
         "0 sent 1000 look 1000 ready_more 1001 cancelled",
         "cancel query_timeout, again in 5000 ms; query_timeout late"},
        {"a late cancel is that of the next request only", query,
         "0 sent 1000 look 1000 ready 1500 sent 1500 ready 1600 sent 1700 cancelled",
         "cancel query_timeout, again in 5000 ms; not ours"},
        {"each request of a pipeline has its own time", query, "0 sent 900 ready_more 1100 look",
         "nothing, again in 800 ms"},
        {"a flush ends what runs", query, "0 sent 500 flushed 5000 look 6000 sent 6500 look",
         "nothing; nothing, again in 500 ms"},
        {"a commit is let finish", query, "0 sent 1000 look_at_ours 1100 look_at_ours 1150 ready 1200 look",
         "nothing, again in 1000 ms; nothing, again in 1000 ms; nothing"},
        {"idle outside of a transaction", idle, "0 sent 10 ready 9999 look", "nothing"},
        {"idle in a transaction", idle, "0 sent 10 in_block 1009 look 1010 look",
         "nothing, again in 1 ms; end idle_transaction_timeout"},
        {"a statement between", idle, "0 sent 10 in_block 900 sent 1500 look 1600 in_block 2599 look",
         "nothing; nothing, again in 1 ms"},
        {"between messages without a Sync it is idle too", idle, "0 sent 10 flushed 1010 look",
         "end idle_transaction_timeout"},
        {"a transaction that asks for nothing any more", transaction, "0 sent 10 in_block 999 look 1000 look",
         "nothing, again in 1 ms; end transaction_timeout"},
        {"a transaction whose statement runs", transaction,
         "0 sent 10 in_block 500 sent 1000 look 1001 cancelled",
         "cancel transaction_timeout, again in 5000 ms; "
         "transaction_timeout"},
        {"whose statement was complete first", transaction, "0 sent 1000 look 1001 in_block 1001 look",
         "cancel transaction_timeout, again in 5000 ms; end transaction_timeout"},
        {"which was over first", transaction, "0 sent 1000 look 1001 ready 6000 look",
         "cancel transaction_timeout, again in 5000 ms; nothing"},
        {"whose cancel does not come to anything", transaction, "0 sent 1000 look 5999 look 6000 look",
         "cancel transaction_timeout, again in 5000 ms; nothing, again in 1 ms; end transaction_timeout"},
        {"the next one begins anew", transaction, "0 sent 900 ready_more 1500 look",
         "nothing, again in 400 ms"},
        {"the statement first, then its transaction", all, "0 sent 2000 look 3000 look 3001 cancelled",
         "cancel query_timeout, again in 1000 ms; cancel transaction_timeout, again in 5000 ms; "
         "transaction_timeout"},
        {"the largest answer that is allowed", all, "0 sent 1 row 1 row 1 row 1 row 1 last_row 1 ready", ""},
        {"one more", all, "0 sent 1 row 1 row 1 row 1 row 1 row 1 row 1 row 2 cancelled",
         "too much; result_size"},
        {"which was complete", all, "0 sent 1 row 1 row 1 row 1 row 1 row 1 last_row 1 ready", ""},
        {"the next answer counts by itself", all,
         "0 sent 1 row 1 row 1 row 1 ready 2 sent 2 row 2 row 2 row 2 row 2 row", ""},
        {"and so in a block", all, "0 sent 1 row 1 row 1 row 1 in_block 1 row 2 sent 2 row 2 row 2 row 2 row",
         ""},
    };
    for (const row& each : rows) {
        INFO(each.what);
        CHECK(play(each.bounds, each.script) == each.said);
    }
}

TEST_CASE(
    "request clock: never looks again at a moment that is over, whatever comes in whatever order", "[limits]"
) {
    std::mt19937 dice{7};
    const auto below = [&dice](unsigned most) { return dice() % most; };
    for (int run = 0; run < 2000; ++run) {
        const auto some = [&] { return std::chrono::milliseconds{below(3) == 0 ? 0 : 1 + below(2000)}; };
        const auto bounds = allowed(some(), some(), some(), below(2) * 3000);
        request_clock clock;
        time_point now = start;
        bool over = false;
        for (int turn = 0; turn < 60 && !over; ++turn) {
            now += std::chrono::milliseconds{below(4) == 0 ? 0 : below(3000)};
            switch (below(7)) {
                case 0:
                    clock.sent(now);
                    break;
                case 1:
                    clock.ready(below(2) == 0, below(3) == 0, below(2) == 0, now);
                    break;
                case 2:
                    clock.answered(bounds, below(2000), below(3) == 0, now);
                    break;
                case 3:
                    clock.cancelled();
                    break;
                default: {
                    const bool ours = below(4) == 0;
                    const auto verdict = clock.look(bounds, ours, now);
                    over = verdict.what == request_clock::deed::end;
                    if (verdict.again) REQUIRE(*verdict.again > now);
                    if (ours) REQUIRE(verdict.what == request_clock::deed::nothing);
                    // What has just been done is not done again at once.
                    const auto next = clock.look(bounds, ours, now);
                    if (!over) REQUIRE(next.what == request_clock::deed::nothing);
                }
            }
        }
    }
}
