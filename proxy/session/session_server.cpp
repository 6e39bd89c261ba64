// The part of client_session that deals with servers: getting one, setting it up for this client, asking it
// what a request left behind, giving it back, losing it.

#include <algorithm>

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/session/statement_shape.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace metrics = config::metrics;
using protocol::owed_reply;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {
/// What is shorter cannot be too old or too long to be run again, by any sensible setting.
constexpr auto worth_a_look = std::chrono::milliseconds{10};
}  // namespace

bool client_session::want_server() {
    if (reads_) return want_read_server();
    if (pool::server_connection* idle = pool_->take_idle(*this)) return take_server(*idle);
    // Opening one may read, and what this client sent is still in the worker's scratch.
    in_.keep();
    may_be_shed = mishap_ == nullptr;
    pool::server_connection* server = pool_->acquire(*this);
    if (server != nullptr) return take_server(*server);
    phase_ = session_phase::waiting;
    return false;
}

void client_session::granted(pool::server_connection& server) {
    server_ = &server;
    gate_.set(server_granted);
}

/// False when the client's request has to wait until the server is set up for it.
bool client_session::take_server(pool::server_connection& server) {
    server_ = &server;
    server_want_ = 0;
    server.muted = false;
    server.io->watch(gate_, {server_readable, server_writable});
    if (!std::exchange(counted_active_, true)) worker_.metrics().clients_active.add();
    server.cancel_listener = &gate_;
    server.on_cancel_over = cancel_over;
    const std::uint64_t user_before = std::exchange(server.last_user, id_);
    const bool foreign = user_before != 0 && user_before != id_;
    facts_.server_taken(foreign);
    if (listening_) {
        server.hold_ready = true;
        listening_->server_taken(server.key.pid, foreign);
    }
    const auto now = worker_.env().now();
    if (phase_ == session_phase::waiting) worker_.metrics().wait_seconds.record(now - since);
    request_began_ = now;
    since = {};  // from here on: when what it answers was sent
    phase_ = session_phase::active;
    begin_record(server);
    taken_for_request_ = true;
    shown_ = replaying();
    session_changed_ = entered_failed_ = false;
    prepared_ = setting_up_ = false;
    return !(listening_ && await_others()) && prepare_server();
}

/// What the client sends from here on is kept, so that it can be sent again.
void client_session::begin_record(pool::server_connection& server) {
    const auto& settings = worker_.settings();
    const std::size_t sent_again = settings.retry.max_bytes().bytes;
    server.begin_request(replays_ ? std::max(sent_again, settings.replay.max_bytes().bytes) : sent_again);
}

/// One step at a time: what the database hides is known before the client's statements are judged, its
/// settings hold before they run. False while something is asked.
bool client_session::prepare_server() {
    if (mishap_) {
        if (asks_of_lost() && server_->settings != wanted_settings()) {
            restore();
            return false;
        }
        if (mishap_->ghost && !evict_old_backend()) return false;
        if (resolving()) {
            outcome_asked();
            return false;
        }
    }
    // An old catalog is looked at here too: this client waits for its answer, so it will not leave meanwhile.
    if (const auto* catalog = requests_.catalog(); catalog != nullptr) {
        // What a standby tells of it may be old.
        if ((catalog->stale() || catalog->due(worker_.env().now())) && !server_->standby) {
            survey();
            return false;
        }
        taken_in_ = static_cast<std::uint32_t>(catalog->epoch());
    }
    using by = pool::server_connection::read_only_by;
    if (server_->read_only == by::not_asked) {
        ask_read_only_source();
        return false;
    }
    prepared_ = true;
    if (server_->settings != facts_.settings) {
        worker_.metrics().restores.add();
        setting_up_ = true;
        restore();
        return phase_ == session_phase::active;
    }
    return tell_parameters() && enter_lost_block();
}

void client_session::restore() {
    own_query(protocol::restore_script(*server_->settings, *wanted_settings()), session_phase::restoring);
}

void client_session::survey() {
    if (!survey_)
        survey_ = std::make_unique<catalog_survey>(
            *requests_.catalog(), worker_.env().now(), worker_.held_message()
        );
    const std::string* version = server_->reported->find("server_version");
    own_query(survey_->query(version != nullptr ? *version : ""), session_phase::surveying);
}

/// False when the session is over.
bool client_session::survey_over() {
    if (survey_->over(own_failed_, worker_.env().now(), worker_.metrics())) {
        survey();
        return true;
    }
    survey_.reset();
    phase_ = session_phase::active;
    if (!prepared_) {
        prepare_server();
        return true;
    }
    // What ran behind the change was judged by what was known before it.
    using change = request_relay::catalog_change;
    if (std::exchange(catalog_change_, change::none) == change::used_changed &&
        requests_.catalog()->current()->hides_anything()) {
        facts_.pins.add(pin_reason::unknown);
    }
    return true;
}

void client_session::own_query(std::string_view text, session_phase phase) {
    own_over_ = own_failed_ = own_ran_out_of_time_ = false;
    row_.reset();
    phase_ = phase;
    server_->owed.push(reply_kind::query, protocol::reply_action::own);
    server_->statements.drop_unnamed();
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.query(text);
    worker_.flight_to_server().add(frame);
    // A failed send is met again, with the server's words, when it is read.
    if (!to_server()) gate_.set(server_readable);
}

/// The client hears what its server reports, where that is news. False: it has to wait for another server.
bool client_session::tell_parameters() {
    if (replaying()) {
        facts_.told = server_->reported;  // what is not so any more is told when all is proven
        return true;
    }
    if (server_->reported == facts_.told) return true;
    if (server_->standby) return standby_speaks_alike() || leave_standby();
    const auto change = protocol::difference(*facts_.told, *server_->reported);
    facts_.told = server_->reported;
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    for (const auto& [name, value] : change.set) {
        writer.parameter_status(name, value);
    }
    send_made(frames);
    return true;
}

/// A request is over that could not have been run again if its server had been lost just before its end.
void client_session::count_uncovered(replay_hindrance why) noexcept {
    worker_.metrics().uncovered.add(why);
    ++pool_->traffic().uncovered[static_cast<std::size_t>(why)];
}

/// A request is over that was long, or is not to be run again: counts it where nothing in it was to blame
/// before (`request_relay::blame`). The end itself, which is told to be unknown or found out, is left out.
void client_session::look_closer() noexcept {
    if (requests_.statements_sent() == 0 || requests_.unprotected() || requests_.commit_unguarded() ||
        !counted_pins_.empty()) {
        return;
    }
    // A plain read is sent again, whatever replay.mode says.
    if (requests_.statements_sent() == 1 && !requests_.may_have_written()) return;
    replay_facts facts = replay_facts_now();
    facts.state_kept = facts.commit_sent = false;
    facts.whole_digest = true;
    if (const auto why = what_hinders(facts)) count_uncovered(*why);
}

/// The request is over and everything of it has been answered.
bool client_session::request_done() {
    setups_lost_ = 0;
    const auto took = worker_.env().now() - request_began_;
    if (took > worth_a_look || !replays_) [[unlikely]]
        look_closer();
    if (reads_) [[unlikely]]
        note_read_over(requests_.may_have_written());
    requests_.request_over();
    facts_.request_over();
    requests_.statements().prune();
    using change = request_relay::catalog_change;
    if (const auto changed = requests_.take_catalog_change(); changed != change::none) {
        catalog_change_ = changed;
        requests_.catalog()->change_seen();  // now it is carried out
    }
    if (facts_.in_doubt()) {
        own_query(facts_.review_query(pool_->login().user), session_phase::reviewing);
        return true;
    }
    const bool pinned = !facts_.pins.empty();
    const bool old =
        pinned && requests_.catalog() != nullptr && requests_.catalog()->due(worker_.env().now());
    if (catalog_change_ != change::none || old) {
        survey();
        return true;
    }
    if (pinned && server_->settings != facts_.settings) {
        // A reset went to the server's defaults, which are not all this client's.
        restore();
        return true;
    }
    if (listening_ && listening_->lost) return end_listening();
    if ((listening_ || facts_.pins.has(pin_reason::listen)) && hand_channels_over()) return true;
    parameters = facts_.settings;
    if (facts_.pins != counted_pins_) count_pins();
    worker_.metrics().request_seconds.record(took);
    pool_->traffic().transaction_time += took;
    phase_ = session_phase::idle;
    taken_for_request_ = false;
    if (server_->served != nullptr) ++*server_->served;
    worker_.retries().succeeded();
    if (mishap_) recovered();
    if (draining_ || half_closed_) [[unlikely]] {
        if (draining_) return terminated_by_order();
        gate_.set(client_readable);  // a turn in which it is seen whether that was all
    }
    if (!pinned) {
        give_back(false);
    } else if (std::exchange(server_->pinned_by, 0) != freshly_pinned) {
        count_uncovered(replay_hindrance::pinned);
    }
    return !listening_ || hear(0);
}

/// A limit that the server itself imposes may be too short for the first statement of ours, which takes it
/// out of force, when the server is busy: at another time it is not. Restoring and reviewing only.
bool client_session::ask_again() {
    constexpr std::uint8_t most = 20;
    if (!own_failed_ || !own_ran_out_of_time_ || own_repeats_ >= most) {
        own_repeats_ = 0;
        return false;
    }
    ++own_repeats_;
    own_query(
        phase_ == session_phase::reviewing ? facts_.review_query(pool_->login().user)
                                           : protocol::restore_script(*server_->settings, *wanted_settings()),
        phase_
    );
    return true;
}

bool client_session::own_query_over() {
    own_over_ = false;
    if (phase_ == session_phase::handing_over) {
        handing_over_goes_on();
        return true;
    }
    if (phase_ == session_phase::surveying) return survey_over();
    if (phase_ == session_phase::evicting) return old_backend_evicted();
    if (phase_ == session_phase::resolving) return outcome_answered();
    if (phase_ == session_phase::refused_write) return write_refused();
    if (phase_ == session_phase::sourcing) {
        read_only_source_told();
        return true;
    }
    if (ask_again()) return true;
    if (phase_ == session_phase::restoring) {
        if (own_failed_ && resolving())
            return give_up_replay(metrics::replay_outcome::given_up, lost_words());
        if (own_failed_) {
            // What the server is set to now is not known, and the client must not run under somebody else's
            // settings.
            return fail(
                protocol::sqlstate::admin_shutdown, "the session's settings could not be restored",
                refusal_ ? refusal_->message : std::string{}
            );
        }
        server_->settings = wanted_settings();
        if (asks_of_lost()) {
            phase_ = session_phase::active;
            prepare_server();
            return true;
        }
        if (setting_up_) worker_.metrics().restore_seconds.record(worker_.env().now() - request_began_);
        phase_ = session_phase::active;
        setting_up_ = false;
        if (tell_parameters()) enter_lost_block();
        return true;
    }
    if (phase_ == session_phase::failing) return lost_block_entered();
    if (phase_ == session_phase::replanning) return plan_again();
    if (own_failed_ || !row_) {
        facts_.review_failed();
    } else {
        facts_.reviewed(*row_, {server_->settings, server_->reported_at_login}, worker_.parameters());
        worker_.sweep_parameters();
    }
    row_.reset();
    phase_ = session_phase::active;
    if (requests_.judge_suspect(*server_, !facts_.pins.empty())) tell_of_leak();
    return true;
}

/// It is told once: from now on the server is asked each time it has run.
void client_session::tell_of_leak() {
    const std::string_view text = first_statement(server_->request.bytes());
    log::warning(
        "leaking_statement",
        {{"client", peer_},
         {"statement",
          statement_shape(text, {facts_.told->standard_conforming_strings, facts_.told->ambiguous_encoding})}}
    );
}

void client_session::give_back(bool client_gone) {
    if (pool_waiter::linked()) pool_->withdraw(*this);
    if (dedicated_) {
        dedicated_.reset();
        pool_->dedicated_closed();
    }
    if (server_ != nullptr) {
        pool::server_connection& server = *std::exchange(server_, nullptr);
        server.cancel_listener = nullptr;
        server.hold_ready = false;
        if (listening_) listening_->server_left();
        if (std::exchange(counted_active_, false)) worker_.metrics().clients_active.sub();
        // What it kept from going on, a cancel under way, keeps nobody who has left it.
        if (too_many_owed_) {
            too_many_owed_ = false;
            if (!in_.empty()) gate_.set(client_readable);
        }
        const bool own_under_way = phase_ != session_phase::idle &&  // nearly always
                                   (phase_ == session_phase::surveying ||
                                    phase_ == session_phase::restoring || phase_ == session_phase::reviewing);
        const auto* catalog = requests_.catalog();
        const bool catalog_moved =
            catalog != nullptr && taken_in_ != static_cast<std::uint32_t>(catalog->epoch());
        const bool touched = facts_.unverified() || own_under_way || requests_.materialized() ||
                             server.settings != facts_.settings || catalog_moved;
        if (server.at_safe_point() && !server.out.blocked() && !requests_.mid_message()) {
            server.pool.release(server, touched);
        } else {
            server.tally = 0;
            server.pool.abandon(server, touched, requests_.mid_message(), client_gone);
        }
    }
    facts_.server_left();
    if (!client_gone) return;
    if (reads_) worker_.reads().remove(id_);
    reads_ = false;
    facts_.shared = nullptr;
    listening_.reset();
    facts_.pins.clear();
    count_pins();
}

void client_session::refused(const pool::pool_refusal& why) {
    refusal_ = std::make_unique<refusal>();
    refusal_->sqlstate = why.sqlstate;
    refusal_->message = why.message;
    refusal_->detail = why.detail;
    refusal_->hint = why.hint;
    refusal_->error_frame.assign(why.error_frame.begin(), why.error_frame.end());
    refusal_->keeps_client = why.timed_out;
    if (why.timed_out) worker_.metrics().clients_refused.add(why.counted_as);
    gate_.set(server_refused);
}

bool client_session::request_refused() {
    const auto why = std::move(refusal_);
    const bool waits = phase_ == session_phase::waiting || phase_ == session_phase::pausing;
    if (why && waits && !why->keeps_client && resolving()) {
        const refusal unknown = outcome_words();
        note_outcome(outcome_reason::not_answered);
        return fail(unknown.sqlstate, unknown.message, unknown.detail);
    }
    if (why && waits && why->keeps_client && replaying())
        return give_up_replay(metrics::replay_outcome::given_up, *why);
    if (!why || !waits) {
        if (!resolving()) mishap_.reset();
        return true;
    }
    if (!why->keeps_client) {
        const bool half_sent = replaying() && mishap_->replay->inside_message;
        if (half_sent || why->error_frame.empty()) return fail(why->sqlstate, why->message, why->detail);
        send_made(why->error_frame);
        close_when_sent();
        return false;
    }
    mishap_.reset();
    phase_ = session_phase::idle;
    return refuse_front(*why);
}

/// The request in front fails, and the client goes on.
bool client_session::refuse_front(const refusal& why) {
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    writer.error({.sqlstate = why.sqlstate, .message = why.message, .detail = why.detail, .hint = why.hint});
    // What stands behind a BEGIN that could not be carried out was meant for its block, and must not run
    // outside it.
    if (requests_.begins_block(in_.bytes())) requests_.set_block(request_relay::lost_block::told);
    bool needs_ready = false;
    const std::size_t consumed = requests_.refuse_front(in_.bytes(), needs_ready);
    const bool in_block = requests_.block() != request_relay::lost_block::none;
    if (needs_ready) writer.ready_for_query(in_block ? transaction_status::failed : transaction_status::idle);
    consume(consumed);
    return send_made(frames);
}

/// The server has been set up for a request that is not wanted any more.
bool client_session::refuse_cancelled() {
    const auto why = std::move(refusal_);
    if (replaying()) return give_up_replay(metrics::replay_outcome::given_up, *why);
    in_.keep();
    // What is left of the client's bytes is looked at when the server has been given back.
    gate_.set(client_readable);
    return refuse_front(*why);
}

bool client_session::terminated_by_order() {
    // What runs is not wanted any more, and its cleaning would wait for it. A commit that waits for its
    // standby may be done by that.
    const bool unknown = resolving() || (server_ != nullptr && committed_perhaps(loss_facts()));
    if (server_ != nullptr && !server_->owed.empty()) server_->pool.cancel(*server_);
    if (unknown) {
        return fail(
            protocol::sqlstate::transaction_resolution_unknown,
            "terminating connection due to administrator command",
            "Whether the last statement or commit took effect is not known."
        );
    }
    return fail(protocol::sqlstate::admin_shutdown, "terminating connection due to administrator command");
}

void client_session::cancel() {
    if (phase_ == session_phase::console) {
        gate_.set(console_cancelled);
        return;
    }
    // What is asked of a lost COMMIT is ours to ask, and so is the number of a transaction.
    if (!replaying() && only_evidence_owed() && take_back_message()) return;
    const bool nothing_asked = replaying() ? mishap_->replay->asks_nothing(in_.size()) : only_evidence_owed();
    if (nothing_asked || resolving()) {
        worker_.metrics().cancels.add(metrics::cancel_result::idle);
        return;  // the client waits for no answer: what is run again is ours to finish
    }
    if (replaying() && phase_ == session_phase::active) {
        // The server's statement is one that was answered long ago.
        refusal_ = std::make_unique<refusal>();
        refusal_->sqlstate = protocol::sqlstate::query_canceled;
        refusal_->message = "canceling statement due to user request";
        refusal_->keeps_client = true;
        gate_.set(client_readable);
        return;
    }
    // What a lost block is set up for fails in a moment by itself.
    const bool first = phase_ == session_phase::surveying || phase_ == session_phase::restoring ||
                       phase_ == session_phase::handing_over;
    const bool set_up = (first && !prepared_) || setting_up_ || phase_ == session_phase::evicting ||
                        phase_ == session_phase::sourcing;
    const bool before_request = phase_ == session_phase::waiting || phase_ == session_phase::pausing ||
                                (set_up && requests_.block() == request_relay::lost_block::none);
    if (before_request) {
        pool_->withdraw(*this);
        refusal_ = std::make_unique<refusal>();
        refusal_->sqlstate = protocol::sqlstate::query_canceled;
        refusal_->message = "canceling statement due to user request";
        refusal_->keeps_client = true;
        if (server_ == nullptr || phase_ == session_phase::pausing) gate_.set(server_refused);
        return;
    }
    const bool busy = phase_ == session_phase::active && server_ != nullptr && !server_->owed.empty();
    if (!busy || !server_->pool.cancel(*server_)) worker_.metrics().cancels.add(metrics::cancel_result::idle);
}

}  // namespace pgmend::proxy
