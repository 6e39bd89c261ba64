// The part of client_session that deals with servers that take no writes (HEALING section 6, class G): a
// primary that was demoted, or one whose configuration says that transactions read only. What the server
// refused has been undone by its error, so the request waits without a server, and is sent again until it is
// carried out, or has waited for hold.timeout. Of a block that was begun all that was shown is proven first,
// as after the loss of a server.

#include "config/log.hpp"
#include "protocol/error_response.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

using config::metrics::replay_outcome;
using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {

constexpr std::string_view read_only_default = "default_transaction_read_only";

/// In the role or the database, or by the client, it is somebody's wish.
constexpr std::string_view read_only_source =
    "SELECT source FROM pg_catalog.pg_settings WHERE name='default_transaction_read_only'";

/// Whether what is owed is one group, or one Query, and its end has been asked for.
bool owes_one_end(protocol::reply_queue& owed) noexcept {
    if (owed.empty() || owed.group_open() || owed.copying_in() || owed.in_doubt()) return false;
    const auto is_end = [](const owed_reply& reply) {
        return reply.kind == reply_kind::sync || reply.kind == reply_kind::query ||
               reply.kind == reply_kind::function_call;
    };
    for (std::size_t i = 0; i + 1 < owed.size(); ++i) {
        if (is_end(owed.at(i))) return false;
    }
    const owed_reply& last = owed.at(owed.size() - 1);
    return is_end(last) && last.action == reply_action::forward;
}

}  // namespace

/// Before a server that was read-only at its login is used for the first time.
void client_session::ask_read_only_source() { own_query(read_only_source, session_phase::sourcing); }

void client_session::read_only_source_told() {
    using by = pool::server_connection::read_only_by;
    const std::string source = !own_failed_ && row_ && !row_->empty() ? row_->front().value_or("") : "";
    const bool servers = source == "configuration file" || source == "command line" ||
                         source == "environment variable" || source == "global";
    server_->read_only = servers ? by::server : by::login;
    row_.reset();
    phase_ = session_phase::active;
    prepare_server();
}

/// Whether what was refused can be carried out from its beginning. Asked when the error has come: it has
/// undone its transaction.
bool client_session::refused_is_repeatable() {
    const std::size_t most = worker_.settings().retry.max_bytes().bytes;
    if (replaying()) return true;
    if (shown_) return !what_hinders(replay_facts_now());
    return server_->request.bytes().size() <= most && !committed_ &&
           (!session_changed_ || !taken_for_request_) && !requests_.may_survive();
}

bool client_session::refused_write(protocol::byte_view error) {
    if (server_->standby) {
        const auto said = protocol::read_error(error.subspan(protocol::frame_header_size));
        return owes_one_end(server_->owed) && standby_refused(said.sqlstate);
    }
    if (phase_ != session_phase::active || !server_->request.whole() || requests_.mid_message()) return false;
    // Before PostgreSQL 14 a server does not say what it is.
    if (!owes_one_end(server_->owed) || server_->reported->find(read_only_default) == nullptr) return false;
    if (requests_.speaks_of_read_only(server_->request.bytes())) {
        worker_.metrics().writes_refused.add(write_refusal::own_wish);
        return false;
    }
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    auto& wait = mishap_->writes;
    const auto now = worker_.env().now();
    if (!wait) wait = std::make_unique<write_wait>(now, worker_.writes_waiting(), worker_.metrics());
    wait->answer.clear();
    pool::gather& flight = worker_.flight_to_client();
    if (!shown_ && may_be_unsaid(flight, server_->request)) {
        for (const iovec& piece : flight.pieces()) {
            const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
            wait->answer.insert(wait->answer.end(), bytes, bytes + piece.iov_len);
        }
        flight.clear();
    }
    wait->error_at = wait->answer.size();
    wait->answer.insert(wait->answer.end(), error.begin(), error.end());
    shown_ = shown_ || !flight.empty();
    wait->repeatable = refused_is_repeatable();
    phase_ = session_phase::refused_write;
    return true;
}

/// ReadyForQuery has come, and what the server says of itself now in front of it.
write_refusal client_session::judge_write() {
    using by = pool::server_connection::read_only_by;
    const write_wait& wait = *mishap_->writes;
    const auto& hold = worker_.settings().hold;
    // Of what a session that keeps its server has set, not all is followed.
    const bool followed = taken_for_request_ || facts_.follows_settings();
    write_facts facts;
    facts.in_recovery = server_->reports_on("in_hot_standby");
    // A transaction is what the server was when it began.
    facts.read_only = server_->reports_on(read_only_default) || facts_.server_turned();
    facts.by_session = !followed || facts_.settings->find(read_only_default) != nullptr;
    facts.by_login = server_->read_only == by::login || server_->read_only == by::not_asked;
    facts.primary_wanted = worker_.cluster().wants_primary();
    facts.primary_known = worker_.cluster().knew_primary();
    // A server that is kept has to be where it was before the request.
    facts.repeatable = wait.repeatable && (taken_for_request_ || server_->status == transaction_status::idle);
    facts.waited = worker_.env().now() - wait.since;
    facts.most = hold.timeout();
    facts.waiting = wait.attempts == 0 ? wait.waiting - 1 : 0;
    facts.most_waiting = hold.max_waiters();
    return judge_refusal(facts);
}

/// False when the session is over.
bool client_session::write_refused() {
    if (server_->standby) return read_elsewhere();
    write_wait& wait = *mishap_->writes;
    phase_ = session_phase::active;
    const write_refusal why = judge_write();
    worker_.metrics().writes_refused.add(why);
    if (why != write_refusal::sent_again) {
        if (why != write_refusal::own_wish) note_refused_write(why);
        return show_refused_write(why);
    }
    if (wait.attempts++ == 0) {
        note_refused_write(why);
        worker_.cluster().refused_write(server_->where);
    }
    return send_write_again();
}

void client_session::note_refused_write(write_refusal why) {
    const write_wait& wait = *mishap_->writes;
    const auto said = protocol::read_error(
        protocol::byte_view{wait.answer}.subspan(wait.error_at + protocol::frame_header_size)
    );
    healing_event act;
    act.at = worker_.env().now();
    act.kind = healing_kind::write_refused;
    act.outcome = label_word(why);
    act.client = peer_;
    act.database = pool_->login().database;
    act.user = pool_->login().user;
    act.server = server_->where.to_string();
    act.shape = shape_of_request();
    act.cause = std::string(said.sqlstate) + " " + std::string(said.message);
    act.cause += server_->reports_on("in_hot_standby") ? "; it is a standby"
                                                       : "; default_transaction_read_only is on there";
    act.attempt = wait.attempts;
    act.took = std::chrono::duration_cast<std::chrono::milliseconds>(act.at - wait.since);
    log::warning(
        "write_refused", {{"server", act.server},
                          {"client", act.client},
                          {"outcome", act.outcome},
                          {"statement", act.shape},
                          {"cause", act.cause},
                          {"attempt", act.attempt}}
    );
    worker_.ledger().add(std::move(act));
}

/// The client gets what was kept back, as if it had come now. False when the session is over.
bool client_session::show_refused_write(write_refusal why) {
    std::vector<std::byte> answer = std::move(mishap_->writes->answer);
    const std::size_t error_at = mishap_->writes->error_at;
    const auto body = protocol::byte_view{answer}.subspan(error_at + protocol::frame_header_size);
    if (replaying() && why != write_refusal::own_wish) {
        // What it was shown before has not been proven yet, and this is no part of it.
        const auto said = protocol::read_error(body);
        refusal told;
        told.sqlstate = said.sqlstate;
        told.message = said.message;
        told.detail = "The transaction has been rolled back; nothing of it took effect.";
        return give_up_replay(replay_outcome::given_up, told);
    }
    mishap_->writes.reset();
    if (mishap_->again && mishap_->again->attempts() == 0) mishap_->again.reset();
    error(protocol::sqlstate::read_only_transaction, {}, false, false);
    // What the end of its transaction took back was not told while it was not known what would be shown.
    if (!replaying()) tell_parameters();
    protocol::message_writer{answer}.ready_for_query(server_->status);
    ready();
    worker_.flight_to_client().add(answer);
    show();
    shown_ = true;
    return to_client();
}

/// The request is in front again of what the client has sent, and waits, without a server unless one holds
/// the client's session. False when the session is over.
bool client_session::send_write_again() {
    const std::vector<std::byte> request = take_refused_request();
    mishap_->writes->answer.clear();
    request_failed_ = false;
    forget_answers();
    row_.reset();
    own_over_ = false;
    server_want_ = 0;
    if (taken_for_request_) {
        // A standby is of no use to who was sent to it for a primary.
        if (server_->reports_on("in_hot_standby")) server_->close_when_free = true;
        give_back(false);
        facts_.rewound();
    } else {
        facts_.failed();
        shown_ = false;
    }
    read_again(request);
    const auto pause = mishap_->writes->next_pause(worker_.retry_limits().pauses, worker_.env().random());
    phase_ = session_phase::pausing;
    since = worker_.env().now();
    worker_.metrics().retry_pause_seconds.record(pause);
    mishap_->timer = std::make_unique<pool::gate_timer>(worker_.env(), gate_, retry_due);
    mishap_->timer->after(pause);
    return true;
}

/// Takes back what the request did to the client's names, and what was sent of it; of what was shown it is
/// remembered what has to come out the same.
std::vector<std::byte> client_session::take_refused_request() {
    pool::server_connection& server = *server_;
    if (requests_.materialized()) server.close_when_free = true;
    auto& again = mishap_->again;
    if (!again) again.emplace(worker_.retry_limits(), worker_.env().now());
    if (!shown_) {
        requests_.rewind(server, *this);
        return server.request.take();
    }
    if (!replaying()) {
        auto attempt = std::make_unique<replay_attempt>();
        attempt->shown_bytes = server.shown.counted();
        attempt->shown = server.shown.value();
        attempt->told = facts_.told;
        attempt->in_block = server.status != transaction_status::idle;
        attempt->unanswered.ends.push_back(true);  // its error and its end were kept back
        requests_.lose(server, *this, false);
        attempt->belief = requests_.begin_again();
        mishap_->replay = std::move(attempt);
    } else {
        requests_.lose(server, *this, false);
        requests_.begin_again();
    }
    replay_attempt& attempt = *mishap_->replay;
    std::vector<std::byte> request = server.request.take();
    if (attempt.record_bytes == 0) {
        attempt.record_bytes = request.size();
        attempt.request_bytes = request.size();  // all of it has been answered, so it is whole messages
    }
    attempt.unread = attempt.request_bytes;
    attempt.group_left = 0;
    return request;
}

/// Another client's write has gone through: there is a server that takes them.
void client_session::writes_taken() noexcept {
    if (phase_ == session_phase::pausing && mishap_ && mishap_->writes) gate_.set(retry_due);
}

}  // namespace pgmend::proxy
