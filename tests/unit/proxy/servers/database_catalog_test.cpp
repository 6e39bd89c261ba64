#include <catch2/catch.hpp>

#include "protocol/statement_classifier.hpp"
#include "proxy/servers/database_catalog.hpp"

using namespace pgmend;
using namespace std::chrono_literals;
using config::metrics::catalog_result;
using proxy::catalog_survey;

namespace {

struct fixture {
    proxy::catalog_epoch epoch{7};
    proxy::database_catalog catalog{"app", {60s, 100'000}, epoch};
    config::metrics::cells metrics;
    config::time_point now{1000s};

    std::uint64_t count(catalog_result result) const { return metrics.catalog_surveys.value(result); }
    /// The whole survey; true when it takes two questions.
    bool ask(std::string_view version, std::string_view table = "accounts", bool failed = false) {
        catalog_survey survey{catalog, now, 1 << 20};
        survey.row({"version", version, "", ""});
        bool two = false;
        if (survey.over(failed, now, metrics)) {
            two = true;
            survey.row({"version", version, "", ""});
            answer(survey, table);
            CHECK_FALSE(survey.over(false, now, metrics));
        }
        return two;
    }
    static void answer(catalog_survey& survey, std::string_view table) {
        survey.row({"function", "audit", "v-plpgsql", "BEGIN PERFORM set_config('a', 'b', false); END"});
        survey.row({"link", "audit", "", table});
    }
    void load(std::string_view version = "1", std::string_view table = "accounts") {
        catalog_survey survey{catalog, now, 1 << 20};
        survey.row({"version", version, "", ""});
        answer(survey, table);
        CHECK_FALSE(survey.over(false, now, metrics));
    }
};

}  // namespace

TEST_CASE_METHOD(fixture, "database catalog: nothing is judged before the first survey") {
    CHECK(catalog.stale());
    CHECK(catalog.current() == nullptr);
    load();
    CHECK_FALSE(catalog.stale());
    REQUIRE(catalog.current() != nullptr);
    CHECK(catalog.current()->hides_anything());
    CHECK(count(catalog_result::loaded) == 1);
}

TEST_CASE_METHOD(
    fixture, "database catalog: the first question is the long one, later the short one comes first"
) {
    CHECK(catalog_survey{catalog, now, 1 << 20}.query("15.4").find("pg_trigger t") != std::string::npos);
    load();
    now += 61s;
    CHECK(catalog_survey{catalog, now, 1 << 20}.query("15.4").find("pg_trigger t") == std::string::npos);
    catalog.change_seen();
    CHECK(catalog_survey{catalog, now, 1 << 20}.query("15.4").find("pg_trigger t") != std::string::npos);
}

TEST_CASE_METHOD(
    fixture, "database catalog: grown old it is asked for its version, and read when that has moved"
) {
    load("5");
    CHECK_FALSE(catalog.due(now + 59s));
    now += 60s;
    CHECK(catalog.due(now));
    CHECK_FALSE(catalog.stale());
    CHECK_FALSE(ask("5"));
    CHECK(count(catalog_result::unchanged) == 1);
    CHECK_FALSE(catalog.due(now));
    const auto before = catalog.current()->id();
    now += 60s;
    CHECK(ask("6", "orders"));
    CHECK(count(catalog_result::loaded) == 2);
    CHECK(catalog.current()->id() != before);
}

TEST_CASE_METHOD(fixture, "database catalog: while one session asks because of age, the others need not") {
    load();
    now += 60s;
    catalog_survey survey{catalog, now, 1 << 20};
    CHECK_FALSE(catalog.due(now));
    CHECK_FALSE(catalog.stale());
}

TEST_CASE_METHOD(
    fixture, "database catalog: DDL seen by any worker makes it stale, also when it came during the survey"
) {
    load();
    epoch.fetch_add(1);  // another worker's
    CHECK(catalog.stale());
    catalog_survey survey{catalog, now, 1 << 20};
    catalog.change_seen();
    survey.row({"version", "2", "", ""});
    CHECK_FALSE(survey.over(false, now, metrics));
    CHECK(catalog.stale());
    load("2");
    CHECK_FALSE(catalog.stale());
}

TEST_CASE_METHOD(
    fixture, "database catalog: a server that refuses, or says too much, makes everything suspect"
) {
    const bool refused = GENERATE(true, false);
    {
        catalog_survey survey{catalog, now, 1 << 20};
        for (int i = 0; !refused && i < 10'000; ++i) {
            survey.row({"link", "a", "", "b"});
        }
        CHECK_FALSE(survey.over(refused, now, metrics));
    }
    CHECK(count(refused ? catalog_result::failed : catalog_result::too_large) == 1);
    CHECK_FALSE(catalog.stale());
    protocol::statement_classifier classifier{{}};
    CHECK(protocol::has(
        classifier.classify("SELECT 1", {}, catalog.current()).effects,
        protocol::session_effect::unknown_function
    ));
    // It is tried again.
    now += 60s;
    CHECK(catalog.due(now));
    CHECK(ask("3"));
    CHECK_FALSE(protocol::has(
        classifier.classify("SELECT 1", {}, catalog.current()).effects,
        protocol::session_effect::unknown_function
    ));
}
