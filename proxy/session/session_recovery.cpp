// The part of client_session that deals with the loss of its server: what recovery_plan decides is carried
// out here. The client's connection stays wherever the truth can be told on it.

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/statement_shape.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace sqlstate = protocol::sqlstate;
using lost_block = request_relay::lost_block;
using protocol::transaction_status;

bool client_session::farewell(std::string_view code, std::string_view message, bool is_error) {
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    mishap_->leaving = true;
    if (is_error) {
        mishap_->goodbye = std::make_unique<refusal>();
        mishap_->goodbye->sqlstate = code;
        mishap_->goodbye->message = message;
    }
    return true;
}

/// A server that ends in the middle of a request sends what it had collected of the answer with its last
/// words. None of that has gone to the client: unsaid, the request may be sent again.
void client_session::drop_beginning_of_answer() {
    if (may_be_unsaid(worker_.flight_to_client(), server_->request)) worker_.flight_to_client().clear();
}

/// What the server took its leave with, if it did; told once.
std::unique_ptr<client_session::refusal> client_session::last_words() {
    if (!mishap_) return nullptr;
    mishap_->leaving = mishap_->undone = false;
    return std::move(mishap_->goodbye);
}

loss client_session::loss_facts() const {
    loss facts;
    // What only this request has made of the session is undone with it, unless it was shown or committed.
    facts.pinned =
        taken_for_request_ ? session_changed_ || (shown_ && !facts_.pins.empty()) : !facts_.pins.empty();
    facts.inside_message = server_->body_left != 0 && server_->body_forward;
    facts.in_flight = !server_->owed.empty() || server_->owed.group_open() || requests_.mid_message();
    facts.refused = mishap_ && (mishap_->goodbye || mishap_->undone);
    facts.shown = shown_;
    facts.recorded = taken_for_request_ && server_->request.whole() &&
                     server_->request.bytes().size() <= worker_.settings().retry.max_bytes().bytes;
    facts.status = server_->status;
    facts.may_have_written = requests_.may_have_written();
    facts.commit_sent = requests_.commit_sent();
    facts.committed = committed_;
    facts.wrote_outside = requests_.wrote_outside();
    facts.went_back = requests_.went_back();
    facts.block_open = requests_.block_open(*server_, request_failed_);
    facts.may_survive = requests_.may_survive();
    facts.outside_effects = requests_.outside_effects();
    // What a stale plan has kept from running was undone by its error.
    if (phase_ == session_phase::replanning || phase_ == session_phase::refused_write) {
        facts.may_have_written = facts.commit_sent = facts.wrote_outside = facts.block_open = false;
    }
    // Whose Sync is not there yet has not committed; one that was asked about ahead of it is like a COMMIT.
    facts.not_ended = !committed_ && facts.wrote_outside && requests_.write_not_ended();
    const bool lone_write =
        !committed_ && !request_failed_ && facts.wrote_outside && requests_.lone_write(*server_);
    if (lone_write) {
        facts.wrote_outside = false;
        facts.commit_sent = true;
    }
    facts.lone_commit = lone_write || (!committed_ && requests_.lone_commit(*server_));
    const pool::commit_evidence* evidence = server_->evidence.get();
    facts.nothing_written = evidence != nullptr && evidence->nothing_written() && !requests_.hazard();
    // What the session is like now was to be asked of the server that is lost.
    facts.outcome_askable = evidence != nullptr && !evidence->xid.empty() && !facts_.unverified() &&
                            !facts.pinned && server_->key.pid != 0 && facts.lone_commit &&
                            (!listening_ || listening_->sent_unlistens.empty()) &&
                            !requests_.commit_answer(*server_).empty();
    replay_facts journal = replay_facts_now();
    const bool in_doubt = !facts.outcome_askable && committed_perhaps(facts);
    journal.commit_sent = journal.commit_sent && !(facts.lone_commit && !in_doubt);
    journal.wrote_outside = journal.wrote_outside && !facts.not_ended && !(lone_write && !in_doubt);
    facts.hindrance = what_hinders(journal);
    const health::retry_schedule fresh{worker_.retry_limits(), {}};
    const health::retry_schedule& again = mishap_ && mishap_->again ? *mishap_->again : fresh;
    facts.attempts = again.attempts();
    facts.may_retry = again.may_retry(worker_.env().now());
    return facts;
}

/// The server is gone from this session; nothing is said to it any more.
void client_session::forget_server() {
    pool::server_connection& server = *std::exchange(server_, nullptr);
    server.cancel_listener = nullptr;
    if (std::exchange(counted_active_, false)) worker_.metrics().clients_active.sub();
    if (listening_) listening_->server_gone();
    // What was under way may take effect, or has.
    if (reads_ && !server.standby) note_read_over(true);
    server.pool.discard(server, config::metrics::server_close::lost_in_use);
    too_many_owed_ = false;
    server_want_ = 0;
    if (limits_) limits_->clock.stop();
    // It may have answered a question of ours in the same breath: nobody is there any more to be told of it.
    own_over_ = false;
    row_.reset();
}

/// Of what the request began with, in words without constants.
std::string client_session::shape_of_request() {
    std::string_view text = first_statement(server_->request.bytes());
    for (std::size_t i = 0; text.empty() && i < server_->owed.size(); ++i) {
        const auto& statement = server_->owed.at(i).statement;
        if (statement) text = statement->text;
    }
    return statement_shape(text, {facts_.told->standard_conforming_strings, facts_.told->ambiguous_encoding});
}

/// The id of SHOW CLIENTS, and the number of the entry that the ledger has it from.
std::string client_session::request_name() {
    std::uint64_t number = worker_.ledger().total() + 1;
    if (mishap_) number = mishap_->number = mishap_->number == 0 ? number : mishap_->number;
    return std::to_string(id()) + '.' + std::to_string(number);
}

void client_session::note_recovery(const recovery_step& step, std::optional<replay_hindrance> hindrance) {
    worker_.metrics().recoveries.add(step.why);
    const auto tally = requests_.awaited_tally(*server_);
    if (tally == 0) {
        // Between two statements: none is to blame.
    } else if (step.what == recovery::send_again || step.what == recovery::replay) {
        worker_.tallies().sent_again(tally);
    } else {
        worker_.tallies().failed(tally);
    }
    if (hindrance) worker_.metrics().unprotected.add(*hindrance);
    healing_event act;
    act.at = worker_.env().now();
    act.kind = healing_kind::server_lost;
    act.outcome = config::label_word(step.what);
    act.reason = label_word(step.why);
    act.client = peer_;
    act.database = pool_->login().database;
    act.user = pool_->login().user;
    act.server = server_->where.to_string();
    act.shape = shape_of_request();
    act.cause = "the connection broke";
    if (mishap_ && mishap_->goodbye) act.cause = mishap_->goodbye->sqlstate + " " + mishap_->goodbye->message;
    if (hindrance) act.cause.append("; not run again: ").append(label_word(*hindrance));
    act.attempt = mishap_ && mishap_->again ? mishap_->again->attempts() : 0;
    log::warning(
        "server_lost", {{"server", act.server},
                        {"client", act.client},
                        {"request", request_name()},
                        {"outcome", act.outcome},
                        {"reason", act.reason},
                        {"statement", act.shape},
                        {"cause", act.cause},
                        {"attempt", act.attempt}}
    );
    worker_.ledger().add(std::move(act));
}

bool client_session::lost_server() {
    server_->broken = true;
    if (std::exchange(server_said_goodbye_, false)) {
        // The client has the server's own FATAL; what follows it is the end of the connection.
        forget_server();
        close_when_sent();
        return false;
    }
    const bool ours_alone = phase_ == session_phase::evicting || phase_ == session_phase::resolving ||
                            phase_ == session_phase::sourcing || phase_ == session_phase::surveying ||
                            phase_ == session_phase::restoring || phase_ == session_phase::failing;
    survey_.reset();
    if (answered_end_ != protocol::transaction_end::unknown && !settle_commit()) return false;
    if (ours_alone && taken_for_request_ && facts_.pins.empty() && server_->owed.size() <= 1 &&
        setups_lost_ < most_setups_lost) {
        ++setups_lost_;
        // Nothing of the client's has reached this server: another one will do.
        note_recovery({recovery::send_again, recovery_reason::nothing_sent});
        last_words();
        forget_server();
        phase_ = session_phase::idle;
        return refusal_ != nullptr ? refuse_cancelled() : consume_requests();
    }
    if (replaying()) return lost_in_replay();
    loss facts = loss_facts();
    // What a review would have told is lost with the server: the session's settings are not known.
    facts.pinned = facts.pinned || ours_alone || phase_ == session_phase::reviewing;
    // The first attempt is free: one crash hits every client at once.
    if (facts.may_retry && facts.attempts != 0) {
        worker_.retries().scale(worker_.sessions());
        facts.may_retry = worker_.retries().take();
    }
    const recovery_step step = plan_recovery(facts);
    if (!asks_for_replay(facts)) facts.hindrance.reset();
    note_recovery(step, facts.hindrance);
    const bool unknown =
        step.why == recovery_reason::commit_in_flight || step.why == recovery_reason::write_in_flight;
    if (unknown && facts.commit_sent)
        worker_.metrics().commit_outcomes.add(
            facts.pinned ? outcome_reason::own_session : outcome_reason::no_evidence
        );
    if (step.what == recovery::cut) {
        forget_server();
        return false;
    }
    if (step.what == recovery::end_session) return end_lost_session(step);
    if (step.what == recovery::replay && facts.lone_commit && facts.nothing_written)
        worker_.metrics().commit_outcomes.add(outcome_reason::nothing_written);
    if (step.what == recovery::ask_outcome) return ask_outcome(facts);
    if (step.what == recovery::replay) return replay(facts);
    if (step.what == recovery::send_again) return send_again(*server_);
    if (step.block_left) {
        const bool failed = request_failed_ || facts.status == transaction_status::failed;
        requests_.set_block(failed ? lost_block::failed_untold : lost_block::untold);
    }
    auto left = requests_.lose(*server_, *this, request_failed_);
    // Its answer and its end were kept back while the statement was planned anew.
    const bool kept_back = phase_ == session_phase::replanning || phase_ == session_phase::refused_write;
    if (kept_back && left.ends.empty()) left.ends.push_back(true);
    return answer_lost(left, step);
}

/// The transaction's end was answered, and then the server went: in the extended protocol it may take its
/// leave between that and ReadyForQuery. What was done stays done, so the client gets what is missing of the
/// answer. What comes now is a loss between two requests. False when the session is over.
bool client_session::settle_commit() {
    bool ready_owed = false;
    // What a server says that was replaced is not shown as success.
    if (worker_.cluster().must_leave(server_->where)) return true;
    if (server_->body_left != 0 || !requests_.end_answered_group(*server_, ready_owed)) return true;
    const bool chained = answered_end_ == protocol::transaction_end::chained;
    server_->status = chained ? transaction_status::in_block : transaction_status::idle;
    if (!ready_owed) {
        request_failed_ = false;
        forget_answers();
        note_committed();
        return true;
    }
    ready();
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.ready_for_query(server_->status);
    shown_ = true;
    return send_made(frame);
}

bool client_session::send_again(pool::server_connection& server) {
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    requests_.rewind(server, *this);
    return start_over(server.request.take());
}

/// The client's request is at the front again of what is to be read, and no server has it.
bool client_session::start_over(const std::vector<std::byte>& request) {
    mishap_->stale.reset();
    auto& again = mishap_->again;
    if (!again) again.emplace(worker_.retry_limits(), worker_.env().now());
    const auto pause = again->next(again->attempts() == 0 ? 0 : worker_.env().random());
    if (!resolving()) facts_.rewound();
    last_words();
    request_failed_ = false;
    forget_answers();
    forget_server();
    read_again(request);
    phase_ = session_phase::idle;
    if (pause > pause.zero()) {
        phase_ = session_phase::pausing;
        since = worker_.env().now();
        worker_.metrics().retry_pause_seconds.record(pause);
        mishap_->timer = std::make_unique<pool::gate_timer>(worker_.env(), gate_, retry_due);
        mishap_->timer->after(pause);
    }
    return consume_requests();
}

/// The request is over, and if it was sent again it has gone well.
void client_session::recovered() {
    if (mishap_->writes) worker_.writes_taken();
    if (mishap_->again) {
        const auto took = worker_.env().now() - mishap_->again->first_loss();
        worker_.metrics().recovery_seconds.record(took);
        healing_event act;
        act.at = worker_.env().now();
        act.kind = healing_kind::request_done;
        act.outcome = "healed";
        act.client = peer_;
        act.database = pool_->login().database;
        act.user = pool_->login().user;
        if (server_ != nullptr) {
            act.server = server_->where.to_string();
            act.shape = shape_of_request();
        }
        act.attempt = mishap_->again->attempts() + (mishap_->writes ? mishap_->writes->attempts : 0);
        act.took = std::chrono::duration_cast<std::chrono::milliseconds>(took);
        log::info(
            "request_healed", {{"client", peer_},
                               {"request", request_name()},
                               {"server", act.server},
                               {"attempts", act.attempt},
                               {"took_ms", act.took.count()}}
        );
        worker_.ledger().add(std::move(act));
    }
    mishap_.reset();
}

bool client_session::end_lost_session(const recovery_step& step) {
    const auto words = last_words();
    forget_server();
    if (step.why == recovery_reason::write_in_flight) {
        return fail(
            sqlstate::transaction_resolution_unknown, "the server connection was lost",
            "Whether the last statement or commit took effect is not known."
        );
    }
    if (words) return fail(words->sqlstate, words->message);
    return fail(
        sqlstate::admin_shutdown, "the server connection that held this session was lost",
        "The session had state that cannot be moved to another server."
    );
}

/// The truth about what was in flight, and a ReadyForQuery for each that is owed.
bool client_session::answer_lost(const request_relay::unanswered& left, const recovery_step& step) {
    const auto words = last_words();
    const bool in_block = step.block_left;
    const bool unknown = step.what == recovery::outcome_unknown;
    const std::string where = server_->where.to_string();
    forget_server();
    refusal why = lost_words();
    if (unknown) {
        why.sqlstate = sqlstate::transaction_resolution_unknown;
        why.message = "the server connection was lost";
        why.detail = "Whether the last statement or commit took effect on " + where + " is not known.";
    } else if (!in_block && step.why != recovery_reason::block_lost) {
        why.sqlstate = words ? words->sqlstate : std::string{sqlstate::connection_failure};
        why.message = words ? words->message : "the server connection was lost";
        why.detail = "Nothing was written by this request.";
    }
    if (!unknown && step.why == recovery_reason::already_shown) {
        why.detail = "What was answered up to the last ReadyForQuery stands; nothing after it was written.";
    }
    facts_.rewound();
    requests_.request_over();
    mishap_.reset();
    request_failed_ = false;
    forget_answers();
    phase_ = session_phase::idle;
    if (!tell_lost(left, in_block, why)) return false;
    return consume_requests();
}

/// An error, and ReadyForQuery for each that is owed. False when the session is over.
bool client_session::tell_lost(const request_relay::unanswered& left, bool in_block, const refusal& why) {
    const auto status = in_block ? transaction_status::failed : transaction_status::idle;
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    bool told = false;
    const auto tell = [&] {
        if (told && in_block) {
            writer.error(
                {.sqlstate = sqlstate::in_failed_transaction,
                 .message = "current transaction is aborted, commands ignored until end of transaction block"}
            );
        } else {
            writer.error(
                {.sqlstate = why.sqlstate, .message = why.message, .detail = why.detail, .hint = why.hint}
            );
        }
        told = true;
    };
    for (const bool error : left.ends) {
        if (error) tell();
        writer.ready_for_query(status);
    }
    if (left.open_group) tell();
    if (told) {
        if (in_block) requests_.set_block(lost_block::told);
        worker_.metrics().errors.add();
        facts_.failed();
    }
    return send_made(frames);
}

/// Whether the client's next message, after its block was lost between two statements, must fail with the
/// truth. An end of the block that takes nothing for granted is no error.
bool client_session::must_tell_lost_block() {
    const lost_block block = requests_.block();
    if (block == lost_block::none || block == lost_block::told) return false;
    const auto kind = requests_.kind_in_front(in_.bytes());
    const bool ends = kind == protocol::statement_kind::rollback ||
                      (kind == protocol::statement_kind::commit && block == lost_block::failed_untold);
    if (ends) requests_.set_block(lost_block::told);
    return !ends;
}

/// False when the session is over.
bool client_session::tell_lost_block() {
    // A COMMIT that has failed ends the block.
    const bool over = requests_.kind_in_front(in_.bytes()) == protocol::statement_kind::commit;
    refusal why = lost_words();
    if (requests_.block() == lost_block::changed_untold) why = changed_words();
    if (requests_.block() == lost_block::cancelled_untold) why = cancelled_words();
    requests_.set_block(over ? lost_block::none : lost_block::told);
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.error({.sqlstate = why.sqlstate, .message = why.message, .detail = why.detail});
    bool needs_ready = false;
    const std::size_t consumed = requests_.refuse_front(in_.bytes(), needs_ready);
    if (needs_ready) {
        writer.ready_for_query(over ? transaction_status::idle : transaction_status::failed);
    }
    consume(consumed);
    worker_.metrics().errors.add();
    return send_made(frames);
}

/// False when the server has to be put into the client's failed block first.
bool client_session::enter_lost_block() {
    if (requests_.block() == lost_block::none) return true;
    own_query(request_relay::failing_block, session_phase::failing);
    return phase_ == session_phase::active;
}

bool client_session::lost_block_entered() {
    if (server_->status != transaction_status::failed) {
        return fail(
            sqlstate::admin_shutdown, "the failed transaction could not be continued on another server"
        );
    }
    requests_.set_block(lost_block::none);
    entered_failed_ = true;
    phase_ = session_phase::active;
    return true;
}

}  // namespace pgmend::proxy
