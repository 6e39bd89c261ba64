// Log lines: what they look like, what is kept out of them, and that neither a flood nor a slow place stops
// anybody.
#include "config/log.hpp"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <ctime>
#include <future>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "config/event_limiter.hpp"
#include "config/log_line.hpp"

namespace log_ = pgmend::log;
using namespace std::chrono_literals;
using log_::event_limiter;
using log_::fields;
using log_::line_of;

namespace {

std::string text(fields list) { return line_of(log_::format::text, "e", list); }
std::string json(fields list) { return line_of(log_::format::json, "e", list); }

/// The log of one test: collects lines, and owns the clock the rate limit reads.
class captured_log {
public:
    explicit captured_log(log_::options wanted = {}) {
        wanted.sink = [this](std::string_view line) {
            const std::lock_guard lock(mutex_);
            lines_.emplace_back(line);
        };
        wanted.now = [this] { return now; };
        log_::start(std::move(wanted));
    }
    ~captured_log() { log_::stop(); }
    captured_log(const captured_log&) = delete;
    captured_log& operator=(const captured_log&) = delete;

    /// Ends the log, so that every line has come, and gives the lines without their time.
    std::vector<std::string> finish() {
        log_::stop();
        std::vector<std::string> out;
        for (const std::string& line : lines_)
            out.push_back(line.substr(line.find(' ') + 1));
        return out;
    }
    const std::vector<std::string>& whole_lines() {
        log_::stop();
        return lines_;
    }

    std::chrono::steady_clock::time_point now{1h};

private:
    std::mutex mutex_;
    std::vector<std::string> lines_;
};

using lines = std::vector<std::string>;

}  // namespace

TEST_CASE("log: an event and its fields are one line of text", "[config]") {
    const std::string where = "127.0.0.1:5432";
    CHECK(
        text(
            {{"endpoint", where},
             {"count", 3},
             {"bytes", std::uint64_t{18446744073709551615u}},
             {"idle", false}}
        ) == "e endpoint=127.0.0.1:5432 count=3 bytes=18446744073709551615 idle=false"
    );
    CHECK(text({}) == "e");
    CHECK(text({{"share", 0.25}, {"change", -7}}) == "e share=0.25 change=-7");
}

TEST_CASE("log: text that looks like the structure of a line is quoted", "[config]") {
    CHECK(text({{"a", ""}}) == "e a=\"\"");
    CHECK(text({{"a", "two words"}}) == "e a=\"two words\"");
    CHECK(text({{"a", "x=y"}}) == "e a=\"x=y\"");
    CHECK(text({{"a", "say \"hi\""}}) == "e a=\"say \\\"hi\\\"\"");
    CHECK(text({{"a", "back\\slash"}}) == "e a=\"back\\\\slash\"");
    CHECK(text({{"a", "one\n2026-01-01 error forged"}}) == "e a=\"one\\n2026-01-01 error forged\"");
    CHECK(text({{"a", "\x7F"}}) == "e a=\"\\u007f\"");
    CHECK(text({{"a", "\x1b[31mred"}}) == "e a=\"\\u001b[31mred\"");
    CHECK(
        text(
            {{"a",
              "\xC2\x9B"
              "31mred"}}
        ) == "e a=\"\\u009b31mred\""
    );
}

TEST_CASE("log: JSON is escaped, typed and valid whatever the bytes", "[config]") {
    CHECK(json({{"a", "plain"}, {"n", 4}, {"t", true}}) == R"("event":"e","a":"plain","n":4,"t":true)");
    CHECK(json({{"a", "q\"b\\n\nt\tz"}}) == R"("event":"e","a":"q\"b\\n\nt\u0009z")");
    CHECK(json({{"a", std::string("nul\0!", 5)}}) == R"("event":"e","a":"nul\u0000!")");
    CHECK(
        json({{"a", "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x98"}}) ==
        "\"event\":\"e\",\"a\":\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\x98\""
    );
    CHECK(json({{"a", std::numeric_limits<double>::infinity()}}) == R"("event":"e","a":null)");
    CHECK(json({{"a", std::numeric_limits<double>::quiet_NaN()}}) == R"("event":"e","a":null)");
}

TEST_CASE("log: bytes that are not UTF-8 are replaced one by one", "[config]") {
    const std::string mark = "\xEF\xBF\xBD";
    const auto shown = [](std::string_view bytes) {
        const std::string line = json({{"a", bytes}});
        return line.substr(17, line.size() - 18);
    };
    CHECK(shown("\xFFz") == mark + "z");
    CHECK(shown("\xC3") == mark);                                   // cut short
    CHECK(shown("\xC0\xAF") == mark + mark);                        // overlong "/"
    CHECK(shown("\xE0\x80\xAF") == mark + mark + mark);             // overlong, three bytes
    CHECK(shown("\xED\xA0\x80") == mark + mark + mark);             // a surrogate
    CHECK(shown("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // above U+10FFFF
    CHECK(shown("\xF4\x8F\xBF\xBF") == "\xF4\x8F\xBF\xBF");         // U+10FFFF itself
    CHECK(shown("\xF0\x80\x80\xAF") == mark + mark + mark + mark);  // overlong, four bytes
    CHECK(shown("\xE2\x82x") == mark + mark + "x");
}

TEST_CASE("log: a long text is cut between characters", "[config]") {
    const std::string ellipsis = "\xE2\x80\xA6";
    const std::string fits(log_::field_bytes_max, 'x');
    CHECK(text({{"a", fits}}) == "e a=" + fits);
    CHECK(text({{"a", fits + "y"}}) == "e a=\"" + fits + ellipsis + "\"");
    const std::string head(log_::field_bytes_max - 1, 'x');
    CHECK(text({{"a", head + "\xC3\xBC"}}) == "e a=\"" + head + ellipsis + "\"");
}

TEST_CASE("log: a secret is not kept, so it cannot be printed", "[config]") {
    const std::string password = "hunter2";
    STATIC_REQUIRE(std::is_empty_v<log_::redacted>);
    STATIC_REQUIRE_FALSE(std::is_convertible_v<std::string, log_::redacted>);
    CHECK(text({{"password", log_::redacted(password)}}) == "e password=[redacted]");
    CHECK(json({{"password", log_::redacted(password)}}) == R"("event":"e","password":"[redacted]")");
}

TEST_CASE("log: lines carry time in UTC, level and event in text", "[config]") {
    ::setenv("TZ", "EST5", 1);
    ::tzset();
    captured_log log;
    log_::warning("server_lost", {{"reason", "refused"}});
    const auto& all = log.whole_lines();
    REQUIRE(all.size() == 1);
    const std::string& line = all.front();
    CHECK(line.substr(24) == " warning server_lost reason=refused");
    tm parts{};
    const char* rest = ::strptime(line.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    REQUIRE(rest == line.c_str() + 19);
    CHECK(line[19] == '.');
    CHECK(line[23] == 'Z');
    CHECK(std::abs(::timegm(&parts) - std::time(nullptr)) < 60);
    ::unsetenv("TZ");
    ::tzset();
}

TEST_CASE("log: lines carry time, level and event in JSON", "[config]") {
    captured_log log({.form = log_::format::json});
    log_::error("server_lost", {{"reason", "re\"fused"}});
    const auto& all = log.whole_lines();
    REQUIRE(all.size() == 1);
    CHECK(all.front().starts_with("{\"time\":\"20"));
    CHECK(all.front().ends_with(R"(Z","level":"error","event":"server_lost","reason":"re\"fused"})"));
}

TEST_CASE("log: a percent sign or a brace in a field is only text", "[config]") {
    captured_log log;
    log_::info("e", {{"a", "%v%l{}{0}"}});
    CHECK(log.finish() == lines{"info e a=%v%l{}{0}"});
}

TEST_CASE("log: what is below the level is not written", "[config]") {
    captured_log log({.lowest = log_::level::warning});
    CHECK_FALSE(log_::enabled(log_::level::info));
    CHECK(log_::enabled(log_::level::warning));
    log_::debug("a");
    log_::info("b");
    log_::warning("c");
    log_::error("d");
    CHECK(log.finish() == lines{"warning c", "error d"});
}

TEST_CASE("log: what is logged before the start and after the stop is dropped", "[config]") {
    CHECK_FALSE(log_::enabled(log_::level::error));
    log_::error("before");
    captured_log log;
    log_::info("between");
    CHECK(log.finish() == lines{"info between"});
    log_::error("after");
    CHECK(log.finish() == lines{"info between"});
}

TEST_CASE("log: a flood of one event is cut, counted and told", "[config]") {
    captured_log log({.lines_per_second = 2});
    for (int i = 0; i < 5; ++i)
        log_::warning("flood", {{"n", i}});
    log_::info("other");
    log.now += 1s;
    log_::info("other");
    log_::warning("flood", {{"n", 5}});
    CHECK(
        log.finish() ==
        lines{
            "warning flood n=0", "warning flood n=1", "info other", "warning flood suppressed=3",
            "info other", "warning flood n=5"}
    );
}

TEST_CASE("log: what was left out last is told when the log ends", "[config]") {
    captured_log log({.lines_per_second = 1});
    for (int i = 0; i < 4; ++i)
        log_::info("flood");
    CHECK(log.finish() == lines{"info flood", "info flood suppressed=3"});
}

TEST_CASE("log: the limiter begins a second with its first line", "[config]") {
    event_limiter limiter(2);
    const event_limiter::time_point start{10s};
    const auto allow = [&](std::chrono::milliseconds at) {
        return limiter.allow("e", log_::level::info, start + at);
    };
    CHECK(allow(0ms));
    CHECK(allow(900ms));
    CHECK(allow(1000ms));
    CHECK(allow(1001ms));
    CHECK_FALSE(allow(1999ms));
    CHECK(limiter.ended(start + 1999ms).empty());
    CHECK_FALSE(allow(2000ms));  // untold: the second is held open
    const auto reports = limiter.ended(start + 2000ms);
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].event == "e");
    CHECK(reports[0].suppressed == 2);
    CHECK(limiter.ended(start + 9s).empty());
    CHECK(allow(2000ms));
}

TEST_CASE("log: a place that takes nothing holds nobody up, and what was lost is told", "[config]") {
    std::promise<void> open_gate;
    std::promise<void> last_came;
    const auto gate = open_gate.get_future().share();
    std::vector<std::string> came;
    log_::options wanted;
    wanted.queue_lines = 4;
    wanted.lines_per_second = 1000;
    wanted.sink = [&](std::string_view line) {
        gate.wait();
        came.emplace_back(line);
        if (line.ends_with("event_last")) last_came.set_value();
    };
    log_::start(wanted);
    for (int i = 0; i < 50; ++i)
        log_::info("event");  // returns, though nothing is taken
    log_::info("event_last");
    open_gate.set_value();
    last_came.get_future().wait();
    log_::info("after");
    log_::stop();
    // Of 51 lines, those in the queue came and perhaps one more that was already taken from it.
    std::size_t delivered = 0;
    for (const std::string& line : came)
        delivered += line.find(" info event") != std::string::npos ? 1 : 0;
    CHECK((delivered == 4 || delivered == 5));
    CHECK(came[came.size() - 2].ends_with("info after"));
    CHECK(came.back().ends_with("warning log_lines_lost lines=" + std::to_string(51 - delivered)));
}

TEST_CASE("log: many threads write whole lines, each its own in order", "[config]") {
    captured_log log({.lines_per_second = 100'000, .queue_lines = 8192});
    std::vector<std::thread> threads;
    for (int who = 0; who < 4; ++who) {
        threads.emplace_back([who] {
            for (int n = 0; n < 500; ++n)
                log_::info("line", {{"who", who}, {"n", n}});
        });
    }
    for (auto& thread : threads)
        thread.join();
    const auto all = log.finish();
    REQUIRE(all.size() == 2000);
    std::vector<int> next(4, 0);
    for (const std::string& line : all) {
        const int who = line[std::string_view("info line who=").size()] - '0';
        REQUIRE(who >= 0);
        REQUIRE(who < 4);
        CHECK(
            line == "info line who=" + std::to_string(who) +
                        " n=" + std::to_string(next[static_cast<std::size_t>(who)]++)
        );
    }
}

TEST_CASE("log: stopping while others write loses no line that was accepted and crashes nobody", "[config]") {
    for (int round = 0; round < 20; ++round) {
        captured_log log({.lines_per_second = 1'000'000});
        std::thread writer([] {
            for (int n = 0; n < 200; ++n)
                log_::info("line", {{"n", n}});
        });
        log_::stop();
        writer.join();
        const auto all = log.finish();
        for (std::size_t n = 0; n < all.size(); ++n)
            REQUIRE(all[n] == "info line n=" + std::to_string(n));
    }
}
