#include "config/manual.hpp"

#include <catch2/catch.hpp>

#include "config/settings.hpp"

using namespace pgmend::config;

TEST_CASE("manual: what roff would take for its own is written out", "[config]") {
    CHECK(roff("a-b\\c") == "a\\-b\\ec");
    CHECK(roff(".TH") == "\\&.TH");
    CHECK(roff("x\n'y") == "x\n\\&'y");
    CHECK(roff("1.5") == "1.5");
}

TEST_CASE("manual: every setting is on the page, with its variable", "[config]") {
    const std::string page = settings_manual("9.9");
    CHECK(page.find(".TH PGMEND.YAML 5 \"\" \"pgmend 9.9\"") != page.npos);
    const settings all;
    for (const setting_base* each : all.all()) {
        CHECK(page.find(".TP\n.B " + roff(each->key()) + "\n") != page.npos);
        CHECK(page.find("Variable: " + roff(each->environment_name()) + ".") != page.npos);
    }
}
