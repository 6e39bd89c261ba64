#include "proxy/session/replay_journal.hpp"

#include <catch2/catch.hpp>
#include <string_view>
#include <vector>

#include "protocol/statement_classifier.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
using pgmend::protocol::statement_ref;
using why = replay_hindrance;

TEST_CASE("replay journal: what reaches beyond its transaction is not run again, each for its reason") {
    struct example {
        std::string_view text;
        std::optional<why> wanted;
    };
    const std::vector<example> examples{
        {"SELECT * FROM a FOR UPDATE", std::nullopt},
        {"INSERT INTO a VALUES (1) RETURNING id", std::nullopt},
        {"UPDATE a SET b = b + 1", std::nullopt},
        {"CREATE TABLE a (b int)", std::nullopt},
        {"LOCK TABLE a", std::nullopt},
        {"SAVEPOINT a", std::nullopt},
        {"SET work_mem = '1MB'", std::nullopt},
        {"NOTIFY a, 'b'", std::nullopt},
        {"SELECT nextval('a')", std::nullopt},
        {"DECLARE a CURSOR FOR SELECT 1", std::nullopt},
        {"COPY a FROM STDIN", std::nullopt},
        {"COPY a TO PROGRAM 'cat'", why::outside_effects},
        {"SELECT pg_terminate_backend(1)", why::outside_effects},
        {"SELECT pg_advisory_lock(1)", why::advisory_lock},
        {"SELECT pg_advisory_xact_lock(1)", why::advisory_lock},
        {"SELECT pg_advisory_unlock(1)", why::advisory_lock},
        {"SELECT somebodys_function()", why::unknown_function},
        {"CALL a()", why::procedure},
        {"DO $$ BEGIN END $$", why::procedure},
        {"PREPARE TRANSACTION 'a'", why::two_phase},
        {"COMMIT PREPARED 'a'", why::two_phase},
        {"PREPARE a AS SELECT 1", why::sql_statements},
        {"EXECUTE a", why::sql_statements},
        {"DEALLOCATE a", why::sql_statements},
        {"LISTEN a", why::listening},
        {"UNLISTEN *", why::listening},
        {"VACUUM", why::not_in_block},
        {"no sql at all", why::unknown_statement},
    };
    pgmend::protocol::statement_classifier classifier{{}};
    for (const auto& [text, wanted] : examples) {
        CAPTURE(text);
        const auto found = hazard_of(classifier.classify(text, {}));
        CHECK((found ? label_word(*found) : "") == (wanted ? label_word(*wanted) : ""));
    }
}

TEST_CASE("replay journal: a request is run again only where all of it is known and none of it can stand") {
    replay_facts good;
    good.wanted = good.whole_record = good.whole_digest = true;
    good.bytes = good.most_bytes = 100;
    good.statements = good.most_statements = 10;
    good.age = good.most_age = 1s;
    REQUIRE_FALSE(what_hinders(good));
    const auto changed = [&](auto change) {
        replay_facts facts = good;
        change(facts);
        return label_word(what_hinders(facts).value());
    };
    CHECK(changed([](auto& f) { f.wanted = false; }) == "switched_off");
    CHECK(changed([](auto& f) { f.whole_record = false; }) == "not_recorded");
    CHECK(changed([](auto& f) { f.bytes = 101; }) == "not_recorded");
    CHECK(changed([](auto& f) { f.whole_digest = false; }) == "pipelined");
    CHECK(changed([](auto& f) { f.statements = 11; }) == "too_many");
    CHECK(changed([](auto& f) { f.age = 1001ms; }) == "too_old");
    CHECK(changed([](auto& f) { f.entered_failed = true; }) == "entered_failed");
    CHECK(changed([](auto& f) { f.state_kept = true; }) == "pinned");
    CHECK(changed([](auto& f) { f.commit_sent = true; }) == "commit_sent");
    CHECK(changed([](auto& f) { f.wrote_outside = true; }) == "wrote_outside");
    CHECK(changed([](auto& f) { f.hazard = why::advisory_lock; }) == "advisory_lock");
}

TEST_CASE("replay journal: names go back to what they stood for, and forth again where it is given up") {
    pgmend::protocol::statement_store store{100};
    const auto judge = [](std::string_view) { return pgmend::protocol::statement_traits{}; };
    const auto statement = [&](std::string_view text) { return store.intern(text, {}, {}, judge); };
    client_statements names;
    auto& a = names.entry("a");
    auto& b = names.entry("b");
    a.statement = statement("first");
    names.unnamed = statement("unnamed");
    name_journal journal;
    const auto change = [&](auto* entry, std::string_view text) {
        statement_ref& now = entry == nullptr ? names.unnamed : entry->statement;
        journal.note(entry, now);
        now = text.empty() ? statement_ref{} : statement(text);
    };
    change(&a, "");
    change(&a, "second");
    change(&b, "other");
    change(static_cast<pgmend::protocol::client_statement*>(nullptr), "one");
    change(static_cast<pgmend::protocol::client_statement*>(nullptr), "");
    auto beliefs = journal.rewind(names);
    CHECK(a.statement->text == "first");
    CHECK_FALSE(b.statement);
    CHECK(names.unnamed->text == "unnamed");
    // Run again half way, then given up.
    change(&a, "");
    believe(names, std::move(beliefs));
    CHECK(a.statement->text == "second");
    CHECK(b.statement->text == "other");
    CHECK_FALSE(names.unnamed);
}
