// The part of client_session that finds out what became of a COMMIT whose answer was lost (HEALING section
// 7): it takes what the server says of the transaction before the commit begins, and asks another connection
// of the same server about it when the old backend is gone.

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace sqlstate = protocol::sqlstate;
using config::metrics::replay_outcome;
using protocol::transaction_status;

namespace {

constexpr std::uint8_t most_timeouts =
    20;  // of the client's own limit, which is lifted by the first statement

outcome_row read_row(protocol::byte_view body) {
    outcome_row row;
    protocol::byte_reader reader{body};
    for (std::uint16_t left = reader.u16(); left != 0 && !reader.failed(); --left) {
        const std::int32_t length = reader.i32();
        if (length < 0) {
            row.emplace_back();
        } else {
            row.emplace_back(protocol::as_text(reader.bytes(static_cast<std::size_t>(length))));
        }
    }
    return reader.done() ? row : outcome_row{};
}

/// Whether a question failed by chance, and not because it cannot be asked there.
bool by_chance(std::string_view code) noexcept {
    return code.starts_with("57") || code.starts_with("40") || code.starts_with("53") ||
           code == sqlstate::invalid_sql_statement_name;
}

}  // namespace

/// A row of our own: whether it is what was asked for as evidence.
bool client_session::evidence_row(protocol::byte_view body) {
    pool::commit_evidence* evidence = server_->evidence.get();
    if (evidence == nullptr || !evidence->asked || server_->owed.front().group != evidence->group)
        return false;
    const outcome_row row = read_row(body);
    if (evidence->asked_life) {
        std::string missing;
        evidence->life_known = take_life(row, evidence->life, missing);
        if (commit_guard* const guard = worker_.relay().guard; guard != nullptr)
            guard->told(*server_, std::move(missing), {});
    } else if (evidence->still_meant() && row.size() == 3) {
        evidence->none_yet = !row[0];
        if (row[0] && row[1] && row[2]) {
            evidence->xid = *row[0];
            evidence->lsn = *row[1];
            evidence->token = *row[2];
        }
    }
    return true;
}

bool client_session::evidence_failed(std::string_view code) {
    pool::commit_evidence* evidence = server_->evidence.get();
    if (evidence == nullptr || !evidence->asked || server_->owed.front().group != evidence->group)
        return false;
    if (!evidence->asked_life && code == sqlstate::in_failed_transaction) {
        evidence->due = true;  // it may be gone back to a savepoint, and go on
        return true;
    }
    commit_guard* const guard = worker_.relay().guard;  // none any more, when it was switched off meanwhile
    if (guard != nullptr && !by_chance(code) && guard->refused(*server_)) {
        log::warning("commit_evidence_refused", {{"server", server_->where.to_string()}, {"sqlstate", code}});
    }
    if (evidence->asked_life) {
        if (guard != nullptr && !by_chance(code)) guard->told(*server_, {}, code);
        return true;
    }
    // The client's transaction has failed, and not by its own doing: it is lost, as it would be with its
    // server.
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    mishap_->leaving = true;
    mishap_->undone = evidence->in_group;
    return true;
}

/// ReadyForQuery came while evidence was asked for: whether it was the end of that.
bool client_session::evidence_answered() {
    pool::commit_evidence& evidence = *server_->evidence;
    if (!server_->owed.empty()) {
        const auto behind = static_cast<std::int32_t>(server_->owed.front().group - evidence.group);
        if (behind <= 0) return false;
    } else if (!evidence.in_group) {
        since = {};  // nobody waits
    }
    if (evidence.in_group) {
        evidence.group_over();
        return false;  // the client waits for it
    }
    evidence.asked = false;
    const bool in_block = server_->status == transaction_status::in_block;
    if (!evidence.asked_life && evidence.still_meant() && !in_block) evidence.answer_is_void();
    return true;
}

/// The server owes nothing of the client's.
bool client_session::only_evidence_owed() const noexcept {
    if (server_ == nullptr || !server_->evidence || !server_->evidence->asked || server_->owed.empty())
        return false;
    if (server_->evidence->in_group) return false;
    const std::uint32_t group = server_->evidence->group;
    return server_->owed.front().group == group && server_->owed.at(server_->owed.size() - 1).group == group;
}

/// A cancel, while the client's next message waits for the evidence: nothing of that message is done. It gets
/// its error, and its block has failed where it is in one. False where no message waits.
bool client_session::take_back_message() {
    if (!too_many_owed_ || requests_.materialized() || loss_facts().pinned) return false;
    const bool in_block = !server_->evidence->asked_life;
    server_->pool.cancel(*server_);
    if (listening_) listening_->sent_unlistens.clear();
    if (reads_) note_read_over(true);
    give_back(false);
    facts_.failed();
    facts_.rewound();
    requests_.request_over();
    mishap_.reset();
    forget_answers();
    request_failed_ = taken_for_request_ = false;
    since = {};
    phase_ = session_phase::idle;
    if (in_block) {
        requests_.set_block(request_relay::lost_block::cancelled_untold);
        gate_.set(client_readable);
        return true;
    }
    refusal_ = std::make_unique<refusal>(cancelled_words());
    refusal_->keeps_client = true;
    phase_ = session_phase::pausing;
    gate_.set(server_refused);
    return true;
}

/// False when the session is over.
bool client_session::ask_outcome(const loss& facts) {
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    auto commit = std::make_unique<lost_commit>();
    commit->evidence = *server_->evidence;
    commit->where = server_->where.to_string();
    commit->answer = requests_.commit_answer(*server_);
    commit->names = requests_.names_now();
    commit->hindrance = facts.hindrance;
    commit->shape = shape_of_request();
    commit->in_group = commit->evidence.in_group;
    commit->began = request_began_;
    commit->since = worker_.env().now();
    mishap_->commit = std::move(commit);
    return replay(facts);
}

/// One that waits for a standby commits when it is ended: it is left to end by itself, for a while.
bool client_session::waits_for_old_backend() {
    return resolving() && worker_.env().now() - mishap_->commit->since < worker_.settings().hold.timeout();
}

void client_session::outcome_asked() {
    own_query(outcome_query(mishap_->commit->evidence.xid), session_phase::resolving);
}

/// The old backend has not ended, and nothing is known before it has. False when it is waited for no longer.
bool client_session::ask_outcome_later() {
    lost_commit& commit = *mishap_->commit;
    if (!waits_for_old_backend()) return false;
    mishap_->timer = std::make_unique<pool::gate_timer>(worker_.env(), gate_, retry_due);
    mishap_->timer->after(commit.pauses.next(worker_.env().random()));
    phase_ = session_phase::resolving;
    return true;
}

/// The number may be another transaction's by now: the server's WAL knows. False when it was asked, and does
/// not tell, or not in time.
bool client_session::ask_wal(const health::wal_question& question) {
    lost_commit& commit = *mishap_->commit;
    if (!commit.wal.is_of(question)) {
        auto ticket = std::make_shared<wal_ticket>(worker_.options().index, gate_, retry_due);
        commit.wal = wal_claim{question, ticket};
        worker_.options().wal(server_->where, question, std::move(ticket));
    } else if (commit.wal.answered()) {
        return false;
    }
    return ask_outcome_later();
}

/// False when the session is over.
bool client_session::outcome_answered() {
    lost_commit& commit = *mishap_->commit;
    if (own_failed_ && own_ran_out_of_time_ && ++own_repeats_ < most_timeouts) {
        outcome_asked();
        return true;
    }
    own_repeats_ = 0;
    phase_ = session_phase::active;
    outcome_facts facts;
    bool waits_for_standbys = false;
    const bool answered = !own_failed_ && row_ && take_outcome(*row_, facts, waits_for_standbys);
    row_.reset();
    if (!answered) return give_up_replay(replay_outcome::given_up, lost_words());
    facts.then = commit.evidence.life;
    facts.lsn = commit.evidence.lsn;
    facts.same_place = commit.where == server_->where.to_string();
    facts.older_session = server_->logged_in_at <= commit.began;
    const auto question = wal_question_of(facts, commit.evidence.token);
    if (commit.wal.is_of(question)) facts.wal = commit.wal.what();
    commit.why = decide_outcome(facts);
    const bool could_be_read =
        facts.status == xact_status::committed && question.end != 0 && worker_.options().wal;
    if (commit.why == outcome_reason::recovery_between && could_be_read && ask_wal(question)) return true;
    switch (outcome_of(commit.why)) {
        case commit_outcome::unknown:
            if (commit.why == outcome_reason::still_running && ask_outcome_later()) return true;
            return give_up_replay(replay_outcome::given_up, lost_words());
        case commit_outcome::committed:
            note_outcome(commit.why);
            return tell_committed(waits_for_standbys);
        case commit_outcome::not_committed:
            break;
    }
    note_outcome(commit.why);
    const auto hindrance = commit.hindrance;
    mishap_->commit.reset();
    facts_.rewound();
    if (hindrance) {
        worker_.metrics().unprotected.add(*hindrance);
        return give_up_replay(replay_outcome::given_up, lost_words());
    }
    prepare_server();
    return true;
}

/// The client gets the answer that was lost, and its request is over. False when the session is over.
bool client_session::tell_committed(bool waits_for_standbys) {
    const std::unique_ptr<lost_commit> commit = std::move(mishap_->commit);
    const std::unique_ptr<replay_attempt> attempt = std::move(mishap_->replay);
    in_.keep();
    consume(attempt->unread);
    requests_.stand_by({commit->names, false}, in_.bytes(), false);
    if (reads_) note_read_over(true);
    requests_.request_over();
    facts_.ready();
    facts_.request_over();
    requests_.statements().prune();
    if (requests_.take_catalog_change() != request_relay::catalog_change::none)
        requests_.catalog()->change_seen();
    want_ = 0;
    request_failed_ = false;
    forget_answers();
    worker_.metrics().transactions.add();
    recovered();
    phase_ = session_phase::idle;
    taken_for_request_ = false;
    give_back(false);
    std::vector<std::byte> frames;
    if (waits_for_standbys) {
        // Whether the standbys have it is not known: PostgreSQL warns of that with the same code.
        protocol::message_writer{frames}.notice(
            {.severity = "WARNING",
             .sqlstate = sqlstate::warning,
             .message = "the server connection was lost while the transaction was committed",
             .detail =
                 "The transaction has already committed locally, but might not have been replicated to the "
                 "standby."}
        );
    }
    frames.insert(frames.end(), commit->answer.begin(), commit->answer.end());
    if (!send_made(frames)) return false;
    if (draining_) return terminated_by_order();
    return consume_requests();
}

void client_session::note_outcome(outcome_reason why) {
    const lost_commit& commit = *mishap_->commit;
    worker_.metrics().commit_outcomes.add(why);
    healing_event act;
    act.at = worker_.env().now();
    act.kind = healing_kind::commit;
    act.outcome = config::label_word(outcome_of(why));
    act.reason = config::label_word(why);
    act.client = peer_;
    act.database = pool_->login().database;
    act.user = pool_->login().user;
    act.server = commit.where;
    act.shape = commit.shape;
    act.cause = "transaction " + commit.evidence.xid + ", WAL " + commit.evidence.lsn;
    act.attempt = mishap_->again ? mishap_->again->attempts() : 0;
    act.took = std::chrono::duration_cast<std::chrono::milliseconds>(act.at - commit.since);
    log::warning(
        "commit_outcome", {{"server", act.server},
                           {"client", act.client},
                           {"request", request_name()},
                           {"outcome", act.outcome},
                           {"reason", act.reason},
                           {"evidence", act.cause},
                           {"took_ms", act.took.count()}}
    );
    worker_.ledger().add(std::move(act));
}

client_session::refusal client_session::outcome_words() const {
    const lost_commit& commit = *mishap_->commit;
    refusal why;
    why.sqlstate = sqlstate::transaction_resolution_unknown;
    why.message = commit.in_group ? "the server connection was lost, and with it the end of the transaction"
                                  : "the server connection was lost, and with it the answer to COMMIT";
    why.detail = "Whether transaction " + commit.evidence.xid + " (WAL " + commit.evidence.lsn +
                 ") took effect on " + commit.where +
                 " is not known: " + std::string{config::label_word(commit.why)} + ".";
    why.hint = "Look whether its changes are there before it is repeated.";
    return why;
}

}  // namespace pgmend::proxy
