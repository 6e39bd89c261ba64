#include "pool/reset_plan.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::pool;
using pgmend::protocol::transaction_status;

namespace {
using queries = std::vector<std::string_view>;
}

TEST_CASE("reset plan: a clean server needs nothing") {
    const reset_plan plan = plan_reset({});
    CHECK_FALSE(plan.close);
    CHECK(plan.queries.empty());
    CHECK_FALSE(plan.forgets_session);
    CHECK(plan.reason == reset_reason::clean);
}

TEST_CASE("reset plan: an open transaction is rolled back, and committed only where that is the policy") {
    CHECK(plan_reset({.status = transaction_status::in_block}).queries == queries{"ROLLBACK"});
    CHECK(plan_reset({.status = transaction_status::failed}).queries == queries{"ROLLBACK"});
    const reset_plan commit = plan_reset({.status = transaction_status::in_block, .commit_abandoned = true});
    CHECK(commit.queries == queries{"COMMIT"});
    CHECK(commit.reason == reset_reason::open_transaction);
    // A failed one cannot be committed, and nothing is to be committed where nothing is open.
    CHECK(
        plan_reset({.status = transaction_status::failed, .commit_abandoned = true}).queries ==
        queries{"ROLLBACK"}
    );
    CHECK(plan_reset({.commit_abandoned = true}).queries.empty());
}

TEST_CASE("reset plan: a touched session is discarded, after its transaction has ended") {
    const reset_plan plan = plan_reset({.session_touched = true});
    CHECK(plan.queries == queries{"DISCARD ALL"});
    CHECK(plan.forgets_session);
    // DISCARD ALL is refused inside a transaction block, so it is a query of its own behind the end of it.
    const reset_plan both = plan_reset({.status = transaction_status::failed, .session_touched = true});
    CHECK(both.queries == queries{"ROLLBACK", "DISCARD ALL"});
    CHECK(both.forgets_session);
    CHECK_FALSE(plan_reset({.status = transaction_status::in_block}).forgets_session);
}

TEST_CASE("reset plan: temporary objects and doubt close, whatever else is known") {
    for (const auto status :
         {transaction_status::idle, transaction_status::in_block, transaction_status::failed}) {
        for (const bool touched : {false, true}) {
            const reset_plan temporary =
                plan_reset({.status = status, .session_touched = touched, .had_temporary_objects = true});
            CHECK(temporary.close);
            CHECK(temporary.reason == reset_reason::temporary_objects);
            const reset_plan doubt =
                plan_reset({.status = status, .session_touched = touched, .in_doubt = true});
            CHECK(doubt.close);
            CHECK(doubt.queries.empty());
            CHECK(doubt.reason == reset_reason::in_doubt);
        }
    }
}
