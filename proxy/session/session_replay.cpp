// The part of client_session that runs a lost transaction again (HEALING section 6, class C): the client's
// bytes are read once more from the beginning of its request, by another server, and what comes of it is
// swallowed as long as it has been shown before. Where all of that comes out the same, byte for byte, the
// client goes on behind it and has noticed nothing.

#include "config/log.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace sqlstate = protocol::sqlstate;
using config::metrics::replay_outcome;
using lost_block = request_relay::lost_block;
using protocol::transaction_status;

namespace {

constexpr std::uint8_t most_evictions = 20;  // of one old backend, each waits for a second at most

/// The bytes of the whole messages at the front.
std::size_t whole_messages(protocol::byte_view bytes) noexcept {
    std::size_t at = 0;
    while (bytes.size() - at >= protocol::frame_header_size) {
        const std::size_t size = protocol::load_u32(bytes.data() + at + 1) + std::size_t{1};
        if (size > bytes.size() - at) break;
        at += size;
    }
    return at;
}

}  // namespace

replay_facts client_session::replay_facts_now() const {
    const auto& settings = worker_.settings().replay;
    replay_facts facts;
    facts.wanted = replays_;
    facts.whole_record = server_->request.whole();
    facts.whole_digest = server_->shown.whole();
    facts.entered_failed = entered_failed_;
    const bool its_own = phase_ == session_phase::active || phase_ == session_phase::refused_write;
    facts.state_kept =
        !its_own || !taken_for_request_ || session_changed_ || facts_.pins.has(pin_reason::session_mode);
    facts.commit_sent = requests_.commit_sent();
    facts.wrote_outside = requests_.wrote_outside();
    facts.hazard = requests_.hazard();
    facts.bytes = server_->request.bytes().size();
    facts.most_bytes = settings.max_bytes().bytes;
    facts.statements = requests_.statements_sent();
    facts.most_statements = settings.max_statements();
    facts.age = worker_.env().now() - request_began_;
    facts.most_age = settings.max_age();
    return facts;
}

/// What is in the flight to the client is shown now: it is remembered, or proven to be what was shown before
/// and taken out of the flight.
void client_session::show() {
    pool::gather& flight = worker_.flight_to_client();
    if (replaying()) return prove(flight);
    if (flight.empty() || !replays_ || requests_.hazard()) return;
    for (const iovec& piece : flight.pieces()) {
        server_->shown.take({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
    }
}

void client_session::prove(pool::gather& flight) {
    replay_attempt& attempt = *mishap_->replay;
    // While it is asked what became of a COMMIT, nothing is run again that could prove anything; without
    // replay.mode nothing was shown either, and that would be proven by no answer at all.
    if (attempt.differs || resolving()) return flight.clear();
    std::size_t proven = 0;
    for (const iovec& piece : flight.pieces()) {
        const std::size_t taken = server_->shown.take(
            {static_cast<const std::byte*>(piece.iov_base), piece.iov_len}, attempt.shown_bytes
        );
        proven += taken;
        if (taken < piece.iov_len) break;
    }
    flight.drop_front(proven);
    if (server_->shown.counted() < attempt.shown_bytes) return flight.clear();
    attempt.differs = server_->shown.value() != attempt.shown;
    // Between the two halves of a message nothing can be said about parameters that are not what they were.
    attempt.differs = attempt.differs || (attempt.inside_message && facts_.told != attempt.told);
    if (attempt.differs) return flight.clear();
    replayed();
    show();
}

/// All that was shown has come out the same: from here on the request goes on as if nothing had happened.
void client_session::replayed() {
    const std::unique_ptr<replay_attempt> attempt = std::move(mishap_->replay);
    shown_ = true;
    note_replay(replay_outcome::continued, server_->where.to_string());
    if (attempt->told == facts_.told) return;
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    for (const auto& [name, value] : protocol::difference(*attempt->told, *facts_.told).set) {
        writer.parameter_status(name, value);
    }
    pool::gather first;
    first.add(frames);
    if (!out_.send(*io_, first)) gate_.set(client_broken);
}

void client_session::note_replay(replay_outcome outcome, const std::string& server) {
    // What waits for a server that takes writes comes here with every attempt.
    if (mishap_->writes && outcome == replay_outcome::continued) return;
    worker_.metrics().replays.add(outcome);
    healing_event act;
    act.at = worker_.env().now();
    act.kind = healing_kind::replay;
    act.outcome = label_word(outcome);
    act.client = peer_;
    act.database = pool_->login().database;
    act.user = pool_->login().user;
    act.server = server;
    if (server_ != nullptr) act.shape = shape_of_request();
    act.attempt = mishap_->again->attempts();
    act.took = std::chrono::duration_cast<std::chrono::milliseconds>(act.at - mishap_->again->first_loss());
    log::info(
        "transaction_replayed", {{"client", act.client},
                                 {"request", request_name()},
                                 {"server", act.server},
                                 {"outcome", act.outcome},
                                 {"attempt", act.attempt},
                                 {"took_ms", act.took.count()}}
    );
    worker_.ledger().add(std::move(act));
}

/// Where the old backend may still live, with its locks.
void client_session::remember_ghost(const pool::server_connection& server) {
    auto ghost = std::make_unique<old_backend>();
    ghost->where = server.where.to_string();
    ghost->pid = server.key.pid;
    ghost->logged_in_at = server.logged_in_at;
    mishap_->ghost = std::move(ghost);
}

/// False when the session is over.
bool client_session::replay(const loss& facts) {
    pool::server_connection& server = *server_;
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    remember_ghost(server);
    if (server.shown.counted() == 0 && !resolving()) return send_again(server);
    auto attempt = std::make_unique<replay_attempt>();
    attempt->shown_bytes = server.shown.counted();
    attempt->shown = server.shown.value();
    attempt->told = facts_.told;
    // A COMMIT that fails ends its block.
    attempt->in_block = facts.block_open || (facts.status != transaction_status::idle && !facts.lone_commit);
    attempt->failed = request_failed_ || facts.status == transaction_status::failed;
    attempt->inside_message = facts.inside_message;
    attempt->unanswered = requests_.lose(server, *this, request_failed_);
    // A refusal that was kept back.
    if (phase_ == session_phase::refused_write && attempt->unanswered.ends.empty())
        attempt->unanswered.ends.push_back(true);
    attempt->belief = requests_.begin_again();
    const std::vector<std::byte> request = server.request.take();
    attempt->record_bytes = request.size();
    attempt->request_bytes = attempt->unread = whole_messages(request);
    attempt->begun = attempt->request_bytes != request.size();
    mishap_->replay = std::move(attempt);
    return start_over(request);
}

/// The server is lost before everything was proven. Nothing has been shown since, so it begins once more.
bool client_session::lost_in_replay() {
    const auto& again = *mishap_->again;
    bool may = server_->request.whole() && again.may_retry(worker_.env().now()) &&
               mishap_->replay->request_bytes != 0;
    if (may) {
        worker_.retries().scale(worker_.sessions());
        may = worker_.retries().take();
    }
    recovery_step step{recovery::replay, recovery_reason::replayable, true};
    if (!may) step = {recovery::fail_block, recovery_reason::retries_exhausted, true};
    note_recovery(step);
    if (!may) return give_up_replay(replay_outcome::given_up, lost_words());
    if (!resolving()) remember_ghost(*server_);  // this one has done nothing of it
    requests_.lose(*server_, *this, false);
    requests_.begin_again();
    mishap_->replay->unread = mishap_->replay->request_bytes;
    mishap_->replay->group_left = 0;
    return start_over(server_->request.take());
}

/// After every turn; false when the session is over.
bool client_session::replay_progress() {
    replay_attempt& attempt = *mishap_->replay;
    const bool all_read = attempt.unread == 0 || withholds_commit();
    if (phase_ == session_phase::active && server_ != nullptr && all_read) {
        // Nothing more will come of it, and something is missing.
        attempt.differs = attempt.differs || server_->owed.empty() || server_->owed.copying_in();
    }
    if (refusal_ && phase_ == session_phase::active) {
        const auto why = std::move(refusal_);
        return give_up_replay(replay_outcome::given_up, *why);
    }
    if (!attempt.differs) return true;
    return give_up_replay(replay_outcome::different, changed_words());
}

/// Whether a Sync or an Execute is next that would commit what is not proven yet to have come out as it was
/// shown.
bool client_session::withholds_commit() noexcept {
    const replay_attempt& attempt = *mishap_->replay;
    if (attempt.group_left != 0 || attempt.unread == 0 || server_ == nullptr || !server_->owed.group_open())
        return false;
    const char next = static_cast<char>(in_.bytes()[0]);
    return (next == 'S' && requests_.write_open()) || (next == 'E' && requests_.commits_next());
}

/// What of the client's bytes may be read now. Group by group: if a BEGIN failed this time, what stood in its
/// block would be carried out without it. An Execute or Sync begins anew, as it may commit.
std::span<std::byte> client_session::offered_again() noexcept {
    replay_attempt& attempt = *mishap_->replay;
    if (attempt.differs) return {};
    const auto may_commit = [](char type) { return type == 'S' || type == 'E'; };
    const bool answered = server_ != nullptr && (server_->owed.empty() || server_->owed.copying_in());
    const bool ends_group = server_ != nullptr && server_->owed.group_open() && attempt.unread != 0 &&
                            may_commit(static_cast<char>(in_.bytes()[0]));
    if (attempt.group_left == 0 && (answered || ends_group) && !withholds_commit()) {
        const auto rest = in_.bytes().first(attempt.unread);
        while (attempt.group_left < rest.size()) {
            const std::byte* message = rest.data() + attempt.group_left;
            const char type = static_cast<char>(*message);
            if (may_commit(type) && attempt.group_left != 0) break;
            attempt.group_left += protocol::load_u32(message + 1) + std::size_t{1};
            if (type == 'Q' || type == 'S' || type == 'F' || type == 'c' || type == 'f') break;
        }
    }
    return in_.bytes().first(attempt.group_left);
}

/// What the client has sent has been read once more. An answer may have been shown before its Sync came.
void client_session::replay_read(std::size_t bytes, bool sent) {
    mishap_->replay->unread -= bytes;
    mishap_->replay->group_left -= bytes;
    const bool all_read = mishap_->replay->unread == 0 || withholds_commit();
    if (!sent || !all_read || !server_->owed.group_open()) return;
    static constexpr std::array<std::byte, 5> flush{std::byte{'H'}, {}, {}, {}, std::byte{4}};
    worker_.flight_to_server().add(flush);
    if (!to_server()) gate_.set(server_readable);
}

client_session::refusal client_session::lost_words() {
    refusal why;
    why.sqlstate = sqlstate::statement_completion_unknown;
    why.message = "the server connection was lost, and the transaction with it";
    why.detail = "The transaction has been rolled back; nothing of it took effect.";
    return why;
}

client_session::refusal client_session::cancelled_words() {
    refusal why;
    why.sqlstate = sqlstate::query_canceled;
    why.message = "canceling statement due to user request";
    return why;
}

client_session::refusal client_session::changed_words() const {
    refusal why;
    why.sqlstate = sqlstate::serialization_failure;
    why.message = mishap_ && mishap_->writes
                      ? "the server took no writes, and the transaction could not be repeated elsewhere"
                      : "the server connection was lost, and the transaction could not be repeated";
    why.detail =
        "It was run again, and an answer that was shown before came out otherwise. Nothing of it "
        "took effect.";
    return why;
}

/// The client is told that its transaction is gone, as if nothing had been tried. False when the session is
/// over.
bool client_session::give_up_replay(replay_outcome outcome, const refusal& reason) {
    const bool unknown = resolving();
    const refusal why = unknown ? outcome_words() : reason;
    if (unknown) {
        note_outcome(mishap_->commit->why);
    } else {
        note_replay(outcome, server_ != nullptr ? server_->where.to_string() : std::string{});
    }
    const std::unique_ptr<replay_attempt> attempt = std::move(mishap_->replay);
    in_.keep();
    pool_->withdraw(*this);
    if (server_ != nullptr) {
        server_->broken = true;
        requests_.lose(*server_, *this, false);
        requests_.begin_again();
        forget_server();
    }
    survey_.reset();
    consume(attempt->unread);
    consume(requests_.stand_by(std::move(attempt->belief), in_.bytes(), attempt->begun));
    want_ = 0;
    facts_.rewound();
    facts_.told = attempt->told;
    requests_.request_over();
    mishap_.reset();
    request_failed_ = own_over_ = setting_up_ = false;
    forget_answers();
    phase_ = session_phase::idle;
    if (attempt->inside_message) return false;
    if (attempt->in_block) {
        requests_.set_block(
            attempt->failed                        ? lost_block::failed_untold
            : outcome == replay_outcome::different ? lost_block::changed_untold
                                                   : lost_block::untold
        );
    }
    if (!tell_lost(attempt->unanswered, attempt->in_block, why)) return false;
    return consume_requests();
}

/// Whether the backend that was lost may live on where the session's server is.
bool client_session::may_haunt(const old_backend& old) const {
    return old.pid != 0 && old.where == server_->where.to_string();
}

/// Whether the session's server is asked of a lost one before it is set up for the client.
bool client_session::asks_of_lost() const {
    return mishap_ && (mishap_->commit || (mishap_->ghost && may_haunt(*mishap_->ghost)));
}

/// What the session's server is to be set to next. Before it is asked of a lost one: to nothing, as the
/// settings of whoever had it last are not to be in the way.
const protocol::parameter_set* client_session::wanted_settings() const {
    return asks_of_lost() ? worker_.parameters().empty() : facts_.settings;
}

/// Before anything is run again, the backend that ran it must be gone, with its locks.
bool client_session::evict_old_backend() {
    const old_backend& old = *mishap_->ghost;
    if (!may_haunt(old)) {
        mishap_->ghost.reset();
        return true;
    }
    const std::string* version = server_->reported->find("server_version");
    const std::string_view known = version != nullptr ? std::string_view{*version} : std::string_view{};
    own_query(eviction_query(old, worker_.env().now(), known, resolving()), session_phase::evicting);
    return false;
}

/// False when the session is over.
bool client_session::old_backend_evicted() {
    const bool there = row_ && !row_->empty() && row_->front() != "t";
    row_.reset();
    if (there && !own_failed_ && (waits_for_old_backend() || ++own_repeats_ < most_evictions)) {
        evict_old_backend();
        return true;
    }
    own_repeats_ = 0;
    mishap_->ghost.reset();
    phase_ = session_phase::active;
    if (there && resolving()) mishap_->commit->why = outcome_reason::still_running;
    if ((there || own_failed_) && replaying()) return give_up_replay(replay_outcome::given_up, lost_words());
    prepare_server();
    return true;
}

}  // namespace pgmend::proxy
