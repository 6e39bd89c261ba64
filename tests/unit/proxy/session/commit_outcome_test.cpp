#include "proxy/session/commit_outcome.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "proxy/session/old_backend.hpp"

using namespace pgmend::proxy;
using pgmend::health::wal_finding;
using pgmend::pool::server_life;
using why = outcome_reason;

namespace {

outcome_facts asked(xact_status status) {
    outcome_facts facts;
    facts.then = facts.now = server_life{"7000", "1000000", "00000001", "0/1000", "0/0F00"};
    facts.same_place = true;
    facts.status = status;
    return facts;
}
outcome_facts elsewhere(outcome_facts facts) {
    facts.same_place = false;
    return facts;
}
outcome_facts checkpointed(outcome_facts facts) {
    facts.now.checkpoint = "0/2000";
    facts.now.redo = "0/1F00";
    return facts;
}
outcome_facts restarted(outcome_facts facts) {
    facts = checkpointed(facts);
    facts.now.start = "2000000";
    return facts;
}
outcome_facts by_older_session(outcome_facts facts) {
    facts.older_session = true;
    return facts;
}
outcome_facts promoted(outcome_facts facts) {
    facts.now.timeline = "00000002";
    return facts;
}
outcome_facts stale(outcome_facts facts) {
    facts.then.timeline = "00000002";
    return facts;
}
outcome_facts written_up_to(const char* lsn, outcome_facts facts) {
    facts.lsn = lsn;
    return facts;
}
outcome_facts whose_wal(wal_finding what, outcome_facts facts) {
    facts.wal = what;
    return facts;
}
outcome_facts foreign(outcome_facts facts) {
    facts.now.system = "8000";
    return facts;
}

}  // namespace

TEST_CASE("commit outcome: a status is believed as far as the number is certain to be the transaction's own"
) {
    const outcome_facts committed = asked(xact_status::committed);
    const outcome_facts aborted = asked(xact_status::aborted);
    const outcome_facts running = asked(xact_status::in_progress);
    const outcome_facts unused = asked(xact_status::not_assigned);
    struct example {
        const char* what;
        outcome_facts facts;
        outcome_reason wanted;
    };
    const std::vector<example> examples{
        {"committed, no checkpoint since", committed, why::status_committed},
        {"committed, a checkpoint since, by a session that has lived through it",
         by_older_session(checkpointed(committed)), why::status_committed},
        {"committed, a checkpoint since, by a new session", checkpointed(committed), why::recovery_between},
        {"committed after a restart: the number may have been given again", restarted(committed),
         why::recovery_between},
        {"committed after a restart, whatever the session's age", by_older_session(restarted(committed)),
         why::recovery_between},
        {"aborted", aborted, why::status_aborted},
        {"aborted after a restart: whoever aborted, it was not carried out", restarted(aborted),
         why::status_aborted},
        {"never given, after a restart", restarted(unused), why::not_assigned},
        {"never given to anybody that has ended: the old backend may be at its commit", unused,
         why::still_running},
        {"the same, by a session that is older", by_older_session(checkpointed(unused)), why::still_running},
        {"the same, and a checkpoint since", checkpointed(unused), why::recovery_between},
        {"at work still", running, why::still_running},
        {"at work, and a checkpoint since: it may be the old backend", checkpointed(running),
         why::still_running},
        {"at work after a restart: it is somebody else", restarted(running), why::given_again},
        {"forgotten", asked(xact_status::forgotten), why::forgotten},
        {"committed after a restart whose recovery ended before it",
         written_up_to("0/2000", restarted(committed)), why::wal_lost},
        {"committed after a restart whose recovery ended behind it, or a checkpoint later",
         written_up_to("0/1FFF", restarted(committed)), why::recovery_between},
        {"committed, a checkpoint since, and it lies before: none need have followed a recovery",
         written_up_to("0/2000", checkpointed(committed)), why::recovery_between},
        {"committed after a promotion: where the last checkpoint lies says nothing",
         written_up_to("0/2000", promoted(committed)), why::recovery_between},
        {"committed after a restart, and its record is there",
         whose_wal(wal_finding::there, restarted(committed)), why::wal_survived},
        {"committed after a restart, and another record is there",
         whose_wal(wal_finding::gone, restarted(committed)), why::wal_lost},
        {"committed after a promotion, and its record is there",
         whose_wal(wal_finding::there, elsewhere(promoted(committed))), why::wal_survived},
        {"committed after a promotion before it",
         whose_wal(wal_finding::gone, elsewhere(promoted(committed))), why::wal_lost},
        {"committed, a checkpoint since, and its record is there",
         whose_wal(wal_finding::there, checkpointed(committed)), why::wal_survived},
        {"its record is there, and it is at work still", whose_wal(wal_finding::there, running),
         why::still_running},
        {"its record is there, and it is aborted", whose_wal(wal_finding::there, restarted(aborted)),
         why::status_aborted},
        {"committed on another timeline", elsewhere(promoted(committed)), why::recovery_between},
        {"aborted on a newer timeline", elsewhere(promoted(aborted)), why::status_aborted},
        {"never given on a newer timeline", elsewhere(promoted(unused)), why::not_assigned},
        {"at work on a newer timeline: it is somebody else", elsewhere(promoted(running)), why::given_again},
        {"committed on an older timeline", stale(committed), why::other_server},
        {"aborted on an older timeline, at another address", elsewhere(stale(aborted)), why::other_server},
        {"its record is there, on an older timeline", whose_wal(wal_finding::there, stale(committed)),
         why::other_server},
        {"aborted at another address, where the old backend may live on", elsewhere(aborted),
         why::other_server},
        {"committed in another cluster", foreign(committed), why::foreign_server},
        {"never given in another cluster", foreign(unused), why::foreign_server},
    };
    for (const auto& [what, facts, wanted] : examples) {
        CAPTURE(what);
        CHECK(decide_outcome(facts) == wanted);
    }
}

TEST_CASE("commit outcome: every reason stands for one outcome") {
    std::size_t known[3]{};
    for (std::size_t i = 0; i < pgmend::config::metrics::outcome_reason_words.size(); ++i) {
        ++known[static_cast<std::size_t>(outcome_of(static_cast<outcome_reason>(i)))];
    }
    CHECK(known[0] == 2);
    CHECK(known[1] == 5);
    CHECK(known[2] == 8);
    CHECK(outcome_of(why::recovery_between) == commit_outcome::unknown);
    CHECK(outcome_of(why::status_committed) == commit_outcome::committed);
    CHECK(outcome_of(why::not_assigned) == commit_outcome::not_committed);
}

TEST_CASE("commit outcome: the server is asked with nothing in the way of whoever had the connection before"
) {
    CHECK(outcome_query("773").starts_with(as_ourselves));
    CHECK(life_query().starts_with("SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"));
}

TEST_CASE("commit outcome: a row is read whole or not at all") {
    server_life life;
    std::string missing;
    CHECK(take_life({"7000", "1", "00000001", "0/1", "0/0", ""}, life, missing));
    CHECK(life.timeline == "00000001");
    CHECK(missing.empty());
    CHECK_FALSE(take_life({"7000", "1", "00000001", "0/1", "0/0", "pg_xact_status"}, life, missing));
    CHECK(missing == "pg_xact_status");
    // Without these it is known what to ask, and then it cannot be answered.
    CHECK(take_life(
        {"7000", "1", "00000001", "0/1", "0/0", "pg_stat_get_activity pg_terminate_backend"}, life, missing
    ));
    CHECK_FALSE(take_life(
        {"7000", "1", "00000001", "0/1", "0/0", "pg_terminate_backend gen_random_uuid"}, life, missing
    ));
    // There is a number already.
    CHECK_FALSE(take_life({"7000", "1", "00000001", "0/1", "0/0", std::nullopt}, life, missing));
    CHECK_FALSE(take_life({"7000", "1", "00000001", "0/1", std::nullopt, ""}, life, missing));
    CHECK_FALSE(take_life({}, life, missing));
    outcome_facts facts;
    bool standbys = false;
    CHECK(take_outcome({"in progress", "7000", "1", "00000001", "0/1", "0/0", "t"}, facts, standbys));
    CHECK(facts.status == xact_status::in_progress);
    CHECK(standbys);
    CHECK(take_outcome({std::nullopt, "7000", "1", "00000001", "0/1", "0/0", "f"}, facts, standbys));
    CHECK(facts.status == xact_status::forgotten);
    CHECK_FALSE(standbys);
    CHECK_FALSE(take_outcome({"committed", std::nullopt, "1", "00000001", "0/1", "0/0", "f"}, facts, standbys)
    );
    CHECK_FALSE(take_outcome({"committed"}, facts, standbys));
}
