#include "proxy/session/recovery_plan.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgmend::proxy;
using pgmend::protocol::transaction_status;
using why = recovery_reason;

namespace {

/// A request under way outside a transaction, recorded, of which nothing was shown.
loss under_way() {
    loss facts;
    facts.in_flight = facts.recorded = facts.may_retry = true;
    return facts;
}
loss with(loss facts, bool loss::*flag, bool value = true) {
    facts.*flag = value;
    return facts;
}
loss replayable(loss facts) {
    facts.hindrance.reset();
    return facts;
}
loss in_block(loss facts, transaction_status status = transaction_status::in_block) {
    facts.status = status;
    return facts;
}

}  // namespace

TEST_CASE("recovery plan: what becomes of a client whose server was lost") {
    const loss read = under_way();
    const loss write = with(under_way(), &loss::may_have_written);
    const loss commit = in_block(with(write, &loss::commit_sent));
    const loss outside = with(write, &loss::wrote_outside);
    struct example {
        const char* what;
        loss facts;
        recovery wanted;
        recovery_reason reason;
    };
    const std::vector<example> examples{
        {"a read", read, recovery::send_again, why::read_only},
        {"a read of which a part was shown", with(read, &loss::shown), recovery::fail_request,
         why::already_shown},
        {"a read too long to be kept", with(read, &loss::recorded, false), recovery::fail_request,
         why::not_recorded},
        {"a read sent often enough", with(read, &loss::may_retry, false), recovery::fail_request,
         why::retries_exhausted},
        {"a write", outside, recovery::outcome_unknown, why::write_in_flight},
        {"a write that was asked about ahead of its Sync",
         with(with(with(write, &loss::commit_sent), &loss::lone_commit), &loss::outcome_askable),
         recovery::ask_outcome, why::commit_asked},
        {"the same, and its number had not come", with(with(write, &loss::commit_sent), &loss::lone_commit),
         recovery::outcome_unknown, why::write_in_flight},
        {"a write whose Sync was not sent", replayable(with(outside, &loss::not_ended)), recovery::replay,
         why::replayable},
        {"the same, and it cannot be run again", with(outside, &loss::not_ended), recovery::fail_request,
         why::not_recorded},
        {"a write the server said no to", with(outside, &loss::refused), recovery::send_again,
         why::not_executed},
        {"the same, a part of it shown", with(with(outside, &loss::refused), &loss::shown),
         recovery::fail_request, why::already_shown},
        {"a write that commits by itself, and the server said no",
         with(with(outside, &loss::refused), &loss::may_survive), recovery::outcome_unknown,
         why::write_in_flight},
        {"a statement that may have ended the session itself",
         with(with(write, &loss::refused), &loss::outside_effects), recovery::end_session, why::own_wish},
        {"the same in a session that cannot move",
         with(with(with(write, &loss::refused), &loss::outside_effects), &loss::pinned),
         recovery::end_session, why::own_wish},
        {"between two statements of a block",
         in_block(with(with(write, &loss::in_flight, false), &loss::shown)), recovery::fail_block,
         why::block_lost},
        {"a write in a block", in_block(with(write, &loss::shown)), recovery::fail_block, why::block_lost},
        {"a commit", with(commit, &loss::shown), recovery::outcome_unknown, why::commit_in_flight},
        {"a commit alone, whose transaction's number is known",
         with(with(commit, &loss::lone_commit), &loss::outcome_askable), recovery::ask_outcome,
         why::commit_asked},
        {"the same, asked often enough",
         with(with(with(commit, &loss::lone_commit), &loss::outcome_askable), &loss::may_retry, false),
         recovery::outcome_unknown, why::commit_in_flight},
        {"the same, and a write beside the block",
         with(with(with(commit, &loss::lone_commit), &loss::outcome_askable), &loss::wrote_outside),
         recovery::outcome_unknown, why::commit_in_flight},
        {"a commit among others, whose number is known", with(commit, &loss::outcome_askable),
         recovery::outcome_unknown, why::commit_in_flight},
        {"a commit of a transaction that had no number",
         replayable(with(with(commit, &loss::lone_commit), &loss::nothing_written)), recovery::replay,
         why::replayable},
        {"a commit the server said no to, that can be run again",
         replayable(with(with(commit, &loss::lone_commit), &loss::refused)), recovery::replay,
         why::replayable},
        {"a commit the server said no to", with(with(commit, &loss::shown), &loss::refused),
         recovery::fail_request, why::block_lost},
        {"a commit that was answered, and more behind it, and the server said no",
         with(with(with(commit, &loss::shown), &loss::refused), &loss::committed), recovery::outcome_unknown,
         why::commit_in_flight},
        {"a commit of nothing", in_block(with(with(read, &loss::commit_sent), &loss::shown)),
         recovery::fail_request, why::block_lost},
        {"a failed block", in_block(with(write, &loss::shown), transaction_status::failed),
         recovery::fail_block, why::block_lost},
        {"a failed block that went back to a savepoint before its commit",
         in_block(
             with(with(with(write, &loss::commit_sent), &loss::went_back), &loss::shown),
             transaction_status::failed
         ),
         recovery::outcome_unknown, why::commit_in_flight},
        {"a write behind the end of a block", in_block(with(outside, &loss::shown)),
         recovery::outcome_unknown, why::commit_in_flight},
        {"a write in a block whose BEGIN is unanswered",
         with(with(write, &loss::block_open), &loss::recorded, false), recovery::fail_block, why::block_lost},
        {"a block begun behind a commit, and the server said no",
         with(with(with(commit, &loss::shown), &loss::refused), &loss::block_open), recovery::fail_block,
         why::block_lost},
        {"a session that cannot move", with(read, &loss::pinned), recovery::end_session, why::pinned},
        {"and that was writing", with(outside, &loss::pinned), recovery::end_session, why::write_in_flight},
        {"the middle of a message", with(write, &loss::inside_message), recovery::cut, why::inside_message},
        {"between two statements of a block that can be run again",
         replayable(in_block(with(with(write, &loss::in_flight, false), &loss::shown))), recovery::replay,
         why::replayable},
        {"a failed block that can",
         replayable(in_block(with(write, &loss::shown), transaction_status::failed)), recovery::replay,
         why::replayable},
        {"a read of which a part was shown that can", replayable(with(read, &loss::shown)), recovery::replay,
         why::replayable},
        {"the middle of a message of one that can", replayable(in_block(with(read, &loss::inside_message))),
         recovery::replay, why::replayable},
        {"a block that has made temporary tables, and can", replayable(in_block(with(read, &loss::pinned))),
         recovery::replay, why::replayable},
        {"a block that was run again often enough",
         replayable(with(in_block(with(write, &loss::shown)), &loss::may_retry, false)), recovery::fail_block,
         why::block_lost},
        {"a read of which nothing was shown, that could", replayable(read), recovery::send_again,
         why::read_only},
    };
    for (const auto& [what, facts, wanted, reason] : examples) {
        CAPTURE(what);
        const recovery_step step = plan_recovery(facts);
        CHECK(static_cast<int>(step.what) == static_cast<int>(wanted));
        CHECK(label_word(step.why) == label_word(reason));
    }
}

TEST_CASE("recovery plan: over all facts, nothing runs twice, and nothing is called certain that is not") {
    bool loss::*const flags[]{&loss::pinned,           &loss::inside_message, &loss::in_flight,
                              &loss::refused,          &loss::shown,          &loss::recorded,
                              &loss::may_have_written, &loss::commit_sent,    &loss::may_survive,
                              &loss::outside_effects,  &loss::may_retry,      &loss::committed,
                              &loss::wrote_outside,    &loss::went_back,      &loss::block_open};
    constexpr transaction_status states[]{
        transaction_status::idle, transaction_status::in_block, transaction_status::failed};
    for (unsigned bits = 0; bits < 1U << std::size(flags); ++bits) {
        for (const auto status : states) {
            loss facts;
            facts.status = status;
            for (std::size_t i = 0; i < std::size(flags); ++i) {
                facts.*flags[i] = (bits >> i & 1U) != 0;
            }
            CAPTURE(bits, static_cast<char>(status));
            const recovery_step step = plan_recovery(facts);
            const recovery_step again = plan_recovery(replayable(facts));
            if (again.what == recovery::replay) {
                // Nothing that may stand runs again, and nothing that was finished.
                REQUIRE_FALSE(committed_perhaps(facts));
                REQUIRE(facts.may_retry);
                REQUIRE((facts.in_flight || status != transaction_status::idle));
            } else {
                REQUIRE(again.what == step.what);
            }
            if (step.what == recovery::send_again) {
                // A part that was shown, a statement of an open transaction, and a write that may have been
                // carried out never run again.
                REQUIRE_FALSE(facts.shown);
                REQUIRE(status == transaction_status::idle);
                REQUIRE((!facts.may_have_written || (facts.refused && !facts.may_survive && !facts.committed))
                );
                REQUIRE((facts.recorded && facts.may_retry && !facts.pinned));
            }
            const bool commits =
                facts.commit_sent && (status != transaction_status::failed || facts.went_back);
            const bool perhaps = facts.in_flight && facts.may_have_written &&
                                 (facts.wrote_outside || commits) &&
                                 (!facts.refused || facts.may_survive || facts.committed);
            REQUIRE(committed_perhaps(facts) == perhaps);
            if (perhaps) {
                const bool admitted = step.what == recovery::outcome_unknown || step.what == recovery::cut ||
                                      step.what == recovery::end_session;
                REQUIRE(admitted);
            }
            if (step.what == recovery::outcome_unknown) REQUIRE(perhaps);
            // Who is in a block stays in one until he ends it; who is not gets none.
            const bool inside = status != transaction_status::idle || facts.block_open;
            if (step.what == recovery::fail_block) REQUIRE(step.block_left);
            if (step.block_left) REQUIRE(inside);
        }
    }
}
