#include "proxy/admin/alert_book.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::config::time_point;

namespace {

constexpr time_point start{std::chrono::hours{1}};

alert_condition matter(const char* name, alert_level level = alert_level::warning) {
    alert_condition made;
    made.name = name;
    made.level = level;
    made.reason = "it is";
    return made;
}

/// `firing pools warning; over topology critical`.
std::string told(const std::vector<alert_notice>& notices) {
    std::string text;
    for (const alert_notice& each : notices) {
        if (!text.empty()) text += "; ";
        text.append(word_of(each.stage)).append(" ").append(each.what.name).append(" ");
        text.append(word_of(each.what.level));
    }
    return text;
}

alert_terms terms(pgmend::config::duration delay, pgmend::config::duration repeat = 0s) {
    alert_terms made;
    made.delay = delay;
    made.repeat = repeat;
    return made;
}

}  // namespace

TEST_CASE("alert book: what lasts is told once, and its end", "[alerts]") {
    alert_book book;
    const auto all = terms(10s);
    CHECK(told(book.look({matter("pools")}, all, start)).empty());
    CHECK(told(book.look({matter("pools")}, all, start + 9s)).empty());
    CHECK(book.firing() == 0);
    const auto first = book.look({matter("pools")}, all, start + 10s);
    CHECK(told(first) == "firing pools warning");
    CHECK(first.front().since == start);
    CHECK(book.firing() == 1);
    CHECK(told(book.look({matter("pools")}, all, start + 24h)).empty());
    CHECK(told(book.look({}, all, start + 25h)).empty());
    CHECK(told(book.look({}, all, start + 25h + 9s)).empty());
    CHECK(told(book.look({}, all, start + 25h + 10s)) == "over pools warning");
    CHECK(book.firing() == 0);
    CHECK(told(book.look({}, all, start + 30h)).empty());
}

TEST_CASE("alert book: what comes and goes within the delay is not told, either way", "[alerts]") {
    alert_book book;
    const auto all = terms(10s);
    for (int turn = 0; turn < 20; ++turn) {
        const auto now = start + turn * 16s;
        CHECK(told(book.look({matter("pools")}, all, now)).empty());
        CHECK(told(book.look({}, all, now + 8s)).empty());
    }
    book.look({matter("pools")}, all, start + 1h);
    CHECK(told(book.look({matter("pools")}, all, start + 1h + 10s)) == "firing pools warning");
    for (int turn = 0; turn < 20; ++turn) {
        const auto now = start + 2h + turn * 16s;
        CHECK(told(book.look({}, all, now)).empty());
        CHECK(told(book.look({matter("pools")}, all, now + 8s)).empty());
    }
    CHECK(book.firing() == 1);
}

TEST_CASE("alert book: worse is told at once, better is not, and a repeat when it is due", "[alerts]") {
    alert_book book;
    const auto all = terms(0s, 1h);
    CHECK(told(book.look({matter("pools")}, all, start)) == "firing pools warning");
    CHECK(
        told(book.look({matter("pools", alert_level::critical)}, all, start + 1s)) == "firing pools critical"
    );
    CHECK(told(book.look({matter("pools")}, all, start + 2s)).empty());
    CHECK(told(book.look({matter("pools", alert_level::critical)}, all, start + 3s)).empty());
    CHECK(told(book.look({matter("pools")}, all, start + 1h)).empty());
    CHECK(told(book.look({matter("pools")}, all, start + 1h + 1s)) == "lasting pools warning");
    CHECK(told(book.look({matter("pools")}, all, start + 2h)).empty());
    CHECK(told(book.look({}, all, start + 3h)) == "over pools warning");
}

TEST_CASE("alert book: below the level that is wanted nothing is the matter", "[alerts]") {
    alert_book book;
    auto critical = terms(0s);
    critical.least = alert_level::critical;
    CHECK(
        told(book.look({matter("pools"), matter("memory", alert_level::critical)}, critical, start)) ==
        "firing memory critical"
    );
    CHECK(
        told(book.look({matter("pools"), matter("memory")}, critical, start + 1s)) == "over memory critical"
    );
    // What is wanted may change while something lasts.
    CHECK(told(book.look({matter("pools")}, terms(0s), start + 2s)) == "firing pools warning");
    CHECK(told(book.look({matter("pools")}, critical, start + 3s)) == "over pools warning");
}
