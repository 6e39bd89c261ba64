// Goal: nothing a client can send crashes, stalls or misleads the classifier; the cache stays bounded and
// never gives one text the traits of another.

#include "protocol/builtin_functions.hpp"
#include "protocol/session_change.hpp"
#include "protocol/statement_classifier.hpp"

#include <pthread.h>

#include <catch2/catch.hpp>
#include <functional>
#include <random>
#include <string>

using namespace pgmend::protocol;
using kind = statement_kind;
using effect = session_effect;

namespace {

/// Runs `work` on a stack of 256 KiB, as a worker of a small container may have.
void on_small_stack(std::function<void()> work) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    pthread_t thread;
    const auto run = [](void* argument) -> void* {
        (*static_cast<std::function<void()>*>(argument))();
        return nullptr;
    };
    REQUIRE(pthread_create(&thread, &attributes, run, &work) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

std::string repeated(
    std::string_view head, std::string_view piece, std::size_t bytes, std::string_view tail = ""
) {
    std::string text(head);
    while (text.size() < bytes)
        text += piece;
    text += tail;
    return text;
}

constexpr classifier_limits roomy{4 << 20, 1024, 0};

}  // namespace

TEST_CASE("statement_classifier: what cannot be understood is unknown, and writes", "[protocol]") {
    statement_classifier classifier({});
    for (const std::string_view text :
         {"selec 1", "select 'a", "select \"a", "/*", "$$", "1", "select 1 +", "(", "select 1 from", "with x",
          "\\d", "foo bar", "select 0x1f", "merge into t using u on a when matched then delete returning 1",
          "select json_table(a, '$' columns (b int path '$'))"}) {
        CAPTURE(text);
        const statement_traits traits = classifier.classify(text);
        CHECK(has(traits.effects, effect::unknown));
        CHECK_FALSE(traits.known());
        CHECK_FALSE(traits.read_only);
        CHECK(traits.cannot_run_in_block);
        CHECK(has(traits.control, transaction_control::hidden));
    }
    CHECK(classifier.counters().unknown == 15);
    CHECK(classifier.counters().hits == 0);
}

TEST_CASE(
    "statement_classifier: the first word tells the kind of one unreadable statement only", "[protocol]"
) {
    statement_classifier classifier({});
    CHECK(classifier.classify("Select 1 newer syntax here").kind == kind::select);
    CHECK_FALSE(classifier.classify("Select 1 newer syntax here;").multiple);
    CHECK(classifier.classify("/* x */ merge into t returning").kind == kind::merge);
    CHECK(has(classifier.classify("begin newer syntax").control, transaction_control::begin));
    CHECK(classifier.classify("with x newer syntax").kind == kind::unknown);
    const statement_traits two = classifier.classify("select 1 newer syntax; commit");
    CHECK(two.kind == kind::unknown);
    CHECK(two.multiple);
    CHECK(classifier.classify("select 'unterminated").kind == kind::unknown);
}

TEST_CASE("statement_classifier: texts the server may read otherwise are unknown", "[protocol]") {
    statement_classifier classifier({});
    CHECK(classifier.classify("select 1", {true, false}).known());
    CHECK_FALSE(classifier.classify("select 1", {false, false}).known());
    CHECK_FALSE(classifier.classify("select 1", {true, true}).known());
    CHECK_FALSE(classifier.classify("begin", {false, false}).known());
    CHECK_FALSE(classifier.classify(std::string_view("select 1\0", 9)).known());
    CHECK_FALSE(classifier.classify(std::string_view("select 1 -- \0", 13)).known());
    CHECK(classifier.counters().hits == 0);
    CHECK(classifier.classify("select 1").known());
}

TEST_CASE(
    "statement_classifier: encodings with treacherous second bytes are known by every name", "[protocol]"
) {
    for (const auto* name :
         {"SJIS", "Shift_JIS", "shift-jis", "mskanji", "WIN932", "SHIFT_JIS_2004", "BIG5", "win950", "GBK",
          "WIN936", "Windows936", "UHC", "WIN949", "gb18030", "JOHAB"}) {
        CAPTURE(name);
        CHECK(is_ambiguous_encoding(name));
    }
    for (const auto* name :
         {"", "UTF8", "utf-8", "LATIN1", "EUC_JP", "EUC_CN", "SQL_ASCII", "WIN1252", "MULE_INTERNAL",
          "a very long name that is no encoding at all"}) {
        CAPTURE(name);
        CHECK_FALSE(is_ambiguous_encoding(name));
    }
}

TEST_CASE("statement_classifier: a text over the limit is unknown without being read", "[protocol]") {
    statement_classifier classifier({.max_text_bytes = 20, .cache_entries = 16});
    CHECK(classifier.classify("select 1 as abcdefgh").known());
    CHECK(classifier.classify("select 1 as abcdefghi") == statement_traits{});
}

TEST_CASE(
    "statement_classifier: constants that matter are never merged with those that do not", "[protocol]"
) {
    const std::pair<const char*, const char*> pairs[] = {
        {"select 'x'::timestamp", "select 'now'::timestamp"},
        {"select $$x$$", "select $$today$$"},
        {"select E'x'", "select E'\\x6eow'"},
        {"set search_path to 'x'", "set search_path to 'pg_temp'"},
        {"select set_config('a', 'x', true)", "select set_config('a', 'pg_temp', true)"},
        {"select set_config('a', 'x', true)", "select set_config('a', 'x', false)"},
        {"select \"a\"()", "select \"A\"()"},
        {"select lower('x')", "select \"Lower\"('x')"},
        {"select 1", "select $1"},
        {"create table a.b (c int)", "create table pg_temp.b (c int)"},
        {"select 1 -- ; commit", "select 1 ; commit"},
        {"select 'a; commit'", "select 'a'; commit"},
        {"select a.b", "select a . b . c"},
        {"select a", "select \"a\", b"},
    };
    for (const auto& [plain, special] : pairs) {
        CAPTURE(plain, special);
        statement_classifier alone({}), forth({}), back({});
        const auto of_special = alone.classify(special);
        const auto of_plain = statement_classifier({}).classify(plain);
        forth.classify(plain);
        CHECK(forth.classify(special) == of_special);
        back.classify(special);
        CHECK(back.classify(plain) == of_plain);
        CHECK(forth.counters().misses == 2);
    }
    statement_classifier classifier({});
    CHECK_FALSE(has(classifier.classify("select 'x'::date").effects, effect::special_literal));
    CHECK(has(classifier.classify("select 'TODAY'::date").effects, effect::special_literal));
    CHECK_FALSE(has(classifier.classify("select 'y'::date").effects, effect::special_literal));
    CHECK(has(classifier.classify("select ' tomorrow '::date").effects, effect::special_literal));
}

TEST_CASE("statement_classifier: a bad constant does not spoil the shape of good ones", "[protocol]") {
    statement_classifier classifier({});
    CHECK_FALSE(classifier.classify("select E'\\u0000'").known());
    CHECK(classifier.classify("select 'now'").known());
    CHECK(classifier.classify("select E'\\u0041'").known());
}

TEST_CASE("statement_classifier: the cache is bounded and forgets the oldest", "[protocol]") {
    statement_classifier classifier({.max_text_bytes = 1000, .cache_entries = 64});
    for (int i = 0; i < 1000; ++i)
        classifier.classify("select column_" + std::to_string(i));
    CHECK(classifier.counters().misses == 1000);
    CHECK(classifier.counters().evictions >= 1000 - 64);
    CHECK(classifier.counters().evictions < 1000);
    // Something used all the time stays, whatever else comes by.
    const auto before = classifier.counters().misses;
    classifier.classify("select kept");
    for (int i = 0; i < 1000; ++i) {
        classifier.classify("select other_" + std::to_string(i));
        classifier.classify("select kept");
    }
    CHECK(classifier.counters().misses == before + 1001);
    // Every answer is right, evicted or not.
    CHECK(classifier.classify("select f(1)").effects == effect::unknown_function);
    CHECK(classifier.classify("select column_1").read_only);
}

TEST_CASE(
    "statement_classifier: a hit is a hit whatever the constants, and the seed changes no answer",
    "[protocol]"
) {
    statement_classifier one({1000, 64, 1}), other({1000, 64, 2});
    for (auto* classifier : {&one, &other}) {
        classifier->classify("select a from t where b = 1 and c = 'x'");
        CHECK(classifier->classify("SELECT a FROM t WHERE b = 22 AND c = E'y\\n' ;").read_only);
        CHECK(classifier->counters().misses == 1);
        CHECK(classifier->counters().hits == 1);
    }
}

TEST_CASE(
    "statement_classifier: deep and huge texts neither crash nor stall on a small stack", "[protocol]"
) {
    const std::size_t deep = 800'000;  // what libpg_query's other outputs cannot bear
    const std::size_t size = 200'000;
    const std::string texts[] = {
        repeated("select 1", "+1", deep),
        repeated("select 1", "||'x'", size),
        repeated("select f(1)", "+f(1)", deep),
        repeated("select a", "[1]", deep),
        repeated("select 1", "::int", size),
        repeated("select 1", " union all select 1", deep),
        repeated("select ", "- ", size, "1"),
        repeated("select ", "not ", size, "true"),
        repeated("select ", "(", size, "1"),
        repeated("select ", "case when ", size, "1"),
        repeated("select ", "f(", size, "1"),
        repeated("select * from ", "(select * from ", size, "x"),
        repeated("select a", " and a", size),
        repeated("select a", " collate b", size),
        repeated("select 1", ";select 1", size),
        repeated("insert into t values (1)", ",(1)", size),
        repeated("select a in (1", ",2", size, ")"),
        repeated("select a from t", " join t on a", size),
        repeated("explain ", "explain ", size, "select 1"),
        repeated("set search_path to a", ",a", size),
        repeated("select '", "now ", size, "'"),
        repeated("", "/*", size),
        repeated(repeated("select 1 ", "/*", size), "*/", 2 * size),
        repeated("select 1 /*", "/**/", size, "*/"),
        repeated("select ", "+", size, "1"),
        repeated("select 1", "+-", size, "1"),
        repeated("select 1 ", "'a' -- b\n", size),
        repeated("select 1", "$", size),
        repeated("select ", "array[", size, "]"),
    };
    on_small_stack([&] {
        statement_classifier classifier(roomy);
        for (const auto& text : texts) {
            const auto traits = classifier.classify(text);
            const auto again = classifier.classify(text);
            if (!(traits == again)) throw std::logic_error("the second answer differs");
            session_changes(text, text.size());
        }
    });
    statement_classifier classifier(roomy);
    CHECK(classifier.classify(texts[0]).read_only);
    CHECK(classifier.classify(texts[2]).effects == effect::unknown_function);
    CHECK(classifier.classify(texts[5]).read_only);
    CHECK(classifier.classify(texts[14]).kind == kind::multiple);
    CHECK_FALSE(classifier.classify(texts[8]).known());
}

TEST_CASE("statement_classifier: bytes at random are answered, twice the same", "[protocol]") {
    std::mt19937 random(3);
    const char* words[] = {"select", "from",   "(",    ")",     ",",       "set",     "'a'",    "1",  ";",
                           "begin",  "into",   "temp", "table", "create",  "f",       "x",      "=",  "with",
                           "as",     "update", "*",    "$1",    "\"q\"",   "explain", "copy",   "to", "local",
                           "role",   "on",     "all",  "null",  "analyze", "\xff",    "values", "-"};
    statement_classifier classifier({});
    for (int round = 0; round < 20000; ++round) {
        std::string text;
        for (unsigned i = 0; i < 1 + random() % 10; ++i) {
            if (random() % 8 == 0) text += static_cast<char>(random());
            text += words[random() % std::size(words)];
            text += ' ';
        }
        const auto traits = classifier.classify(text);
        REQUIRE(traits == classifier.classify(text));
        session_changes(text);
    }
}

TEST_CASE("builtin_functions: every generated name is found, and nothing between them", "[protocol]") {
    std::size_t names = 0;
    for (const auto list : {builtin_calm_names, builtin_volatile_names}) {
        std::string previous;
        for (std::size_t at = 1; at < list.size();) {
            const auto end = list.find(' ', at);
            const std::string name(list.substr(at, end - at));
            CAPTURE(name);
            CHECK(previous < name);
            if (!name.starts_with("binary_upgrade_")) {
                const auto found = find_builtin_function("", name);
                const bool plain = found.effects != effect::unknown_function;
                const bool runs_text = name.find("xml") != std::string::npos || name.starts_with("ts_");
                CHECK((plain || runs_text));
                CHECK(find_builtin_function("public", name).effects != effect::none);
            }
            CHECK(
                has(find_builtin_function("", name + "_").effects, effect::unknown_function) ==
                (list.find(" " + name + "_ ") == std::string::npos)
            );
            previous = name;
            at = end + 1;
            ++names;
        }
    }
    CHECK(names > 2000);
    CHECK(find_builtin_function("", "").effects == effect::unknown_function);
    CHECK(find_builtin_function("", "abs acos").effects == effect::unknown_function);
    CHECK(find_builtin_function("pg_catalog", "abs").read_only);
    CHECK_FALSE(find_builtin_function("pg_catalog", "nextval").read_only);
    CHECK_FALSE(find_builtin_function("", "pg_switch_wal").read_only);
    CHECK_FALSE(find_builtin_function("", "txid_current").read_only);
}
