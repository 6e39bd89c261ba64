#include "proxy/session/client_session.hpp"

#include <utility>

#include "config/log.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace metrics = config::metrics;
using pool::io_status;
using protocol::owed_reply;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {
constexpr std::size_t held_while_waiting = 64 * 1024;  // of further requests, while the first one waits
constexpr std::size_t held_without_memory = 4 * 1024;  // of a request without a server
}  // namespace

client_session::client_session(
    worker_core& worker, std::unique_ptr<pool::stream> io, std::string peer, bool local
)
    : worker_(worker),
      io_(std::move(io)),
      gate_(worker.env()),
      in_(worker.buffers()),
      out_(worker.buffers()),
      requests_(worker.relay(), facts_),
      peer_(std::move(peer)),
      id_(static_cast<std::uint32_t>(worker.next_id())),
      connected_s_(seconds_of(worker.env().now())),
      local_(local) {
    io_->watch(gate_, {client_readable, client_writable, client_broken});
    worker_.metrics().clients_connected.add();
}

client_session::~client_session() {
    worker_.limits().leave(std::move(limits_));
    worker_.metrics().clients_connected.sub();
}

void client_session::start() { run(); }

pool::detached client_session::run() {
    const login_end end = co_await log_in_client(*this);
    bool alive = end.what == login_end::kind::welcome;
    if (alive) {
        if (phase_ == session_phase::login) phase_ = session_phase::idle;
        if (draining_) gate_.set(drained);
        if (!in_.empty() || io_->buffered() != 0) gate_.set(client_readable);
    } else if (end.what == login_end::kind::console) {
        alive = out_.blocked();
    } else if (end.what == login_end::kind::refused) {
        close_when_sent();
        alive = out_.blocked();
    }
    while (alive) {
        alive = step(co_await gate_.wait());
    }
    give_back(true);
    worker_.finished(*this);
}

bool client_session::step(pool::event_mask bits) {
    if (progress(bits)) return true;
    // Over, but for last words that the client's socket has not taken yet.
    return phase_ == session_phase::closing && out_.blocked();
}

bool client_session::progress(pool::event_mask bits) {
    constexpr pool::event_mask usual = client_readable | server_readable;
    const bool unusual = (bits & ~usual) != 0;
    if (unusual && (bits & (killed | client_broken)) != 0) {
        out_.clear();
        if ((bits & killed) != 0) give_back(false);  // it did not leave its open block: it was made to
        return false;
    }
    if (phase_ == session_phase::closing) return step_closing(bits);
    if (phase_ == session_phase::blind) return step_blind(bits);
    if (unusual) [[unlikely]] {
        if ((bits & terminated) != 0) return terminated_by_order();
        // What a server that was replaced still says is no answer.
        if ((bits & server_unfit) != 0 && server_ != nullptr && must_leave_server() && !lost_server())
            return false;
        if (!unusual_progress(bits)) return false;
        if (listening_ && !hear(bits)) return false;
    }
    if ((bits & server_readable) != 0 && server_ != nullptr && !read_server()) return false;
    if ((bits & client_readable) != 0 && !read_client()) return false;
    const bool large = server_ == nullptr && in_.size() > held_without_memory;
    if (large && worker_.short_of_memory_to_wait() && !shed_request()) [[unlikely]]
        return false;
    if (!after_progress()) return false;
    if (unusual && (bits & drained) != 0) {
        draining_ = true;
        if (phase_ == session_phase::idle && (server_ == nullptr || at_safe_point()))
            return terminated_by_order();
    }
    const bool muted = server_ != nullptr && server_->muted;
    if (!reads_both_ || paused() || muted) {
        set_interest();
        return true;
    }
    // Nearly always: both are armed, and what a stream holds inside itself was left by this turn's read.
    if ((bits & client_readable) != 0 && io_->buffered() != 0) gate_.set(client_readable);
    if (server_ != nullptr && server_->io->buffered() != 0) gate_.set(server_readable);
    return true;
}

/// What comes before reading; may find that the server is to be read.
bool client_session::unusual_progress(pool::event_mask& bits) {
    if ((bits & server_refused) != 0 && !request_refused()) return false;
    if (reads_) standby_offered();
    if ((bits & retry_due) != 0 && phase_ == session_phase::pausing) phase_ = session_phase::idle;
    const bool asks_again = phase_ == session_phase::resolving && server_ != nullptr && server_->owed.empty();
    if ((bits & retry_due) != 0 && asks_again) outcome_asked();
    if ((bits & server_granted) != 0 && server_ != nullptr && phase_ == session_phase::waiting)
        take_granted();
    if ((bits & server_writable) != 0 && server_ != nullptr && !server_->out.drain(*server_->io)) {
        server_->out.clear();     // nobody takes it any more
        bits |= server_readable;  // the server's last words say more than the failed send
    }
    if ((bits & client_writable) != 0) {
        if (!out_.drain(*io_)) return false;
        if (server_ != nullptr && !out_.blocked()) {
            if (!pump_server()) return false;
        }
    }
    if ((bits & cancel_over) != 0) too_many_owed_ = false;
    if ((bits & limit_due) != 0) return keep_limits();
    return true;
}

bool client_session::read_client() {
    // What is read while nothing else is armed was not paused at the end of the last turn.
    if (!reads_both_ && paused())
        return half_closed_ || phase_ != session_phase::waiting || half_close(false);
    const pool::io_result result = in_.fill(*io_, want_);
    if (result.status == io_status::would_block) return true;
    if (result.status != io_status::ok) return result.status == io_status::eof && half_close(true);
    worker_.metrics().client_bytes_received.add(result.bytes);
    pool_->traffic().received += result.bytes;
    return consume_requests();
}

/// Whether the client is not read now: what it sent cannot go on, or it does not take what it is sent.
bool client_session::paused() const noexcept {
    return too_many_owed_ || half_closed_ || out_.blocked() ||
           (server_ != nullptr && server_->out.blocked()) ||
           (!in_.empty() && (on_standby() || (in_.size() >= held_while_waiting && (holding() || replaying())))
           );
}

bool client_session::consume_requests() {
    if (holding() || out_.blocked() ||
        (server_ != nullptr && (server_->out.blocked() || (server_->standby && standby_has_request())))) {
        in_.keep();
        return true;
    }
    if (refusal_ != nullptr && phase_ == session_phase::active && server_ != nullptr)
        return refuse_cancelled();
    // What was answered without a server when it was read first is not in the record.
    const bool needs_server =
        server_ == nullptr && (replaying() || (!limits_ && requests_.begins_request(in_.bytes())));
    bool more = !needs_server || want_server();
    while (more && !offered().empty()) {
        std::span<std::byte> bytes = offered();
        // One request of several, or a group that is run again, without its Sync.
        bool offered_a_part = false;
        if (limits_) [[unlikely]] {
            if (!next_request(bytes)) return false;
            if (bytes.empty()) break;
            offered_a_part = true;
        }
        const request_step step =
            requests_.read(bytes, server_, worker_.flight_to_server(), worker_.flight_to_client());
        if (!to_client()) return false;
        const bool sent = to_server();
        if (server_ != nullptr) server_->request.add(in_.bytes().first(step.consumed));
        if (limits_) limits_->gate.passed(in_.bytes().first(step.consumed));
        in_.consume(step.consumed);
        if (replaying()) {
            replay_read(step.consumed, sent);
            offered_a_part = true;
        }
        want_ = static_cast<std::uint32_t>(step.want);
        if (!sent) {
            in_.keep();
            return read_server();  // the server's last words say more than the failed send
        }
        switch (step.result) {
            case request_result::need_more:
                more = offered_a_part && step.consumed == bytes.size();
                break;
            case request_result::flight_full:
                more = !out_.blocked() && (server_ == nullptr || !server_->out.blocked());
                break;
            case request_result::need_server:
                if (must_tell_lost_block()) {
                    if (!tell_lost_block()) return false;
                    break;
                }
                more = want_server();
                break;
            case request_result::too_many:
                // What is ours to answer needs no server to go on; what the server keeps back it is asked
                // for.
                if (const bool owed = !server_->owed.empty(); !answer_ahead(true)) {
                    return false;
                } else if (owed && server_->owed.empty()) {
                    too_many_owed_ = false;  // what it waited for was said just now: no server will wake it
                } else {
                    too_many_owed_ = !requests_.may_go_on(*server_) || requests_.waits_for_answers();
                }
                more = !too_many_owed_ && !out_.blocked();
                break;
            case request_result::terminate:
                return false;
            case request_result::violation:
                in_.keep();
                return fail(protocol::sqlstate::protocol_violation, requests_.violation());
        }
    }
    in_.keep();
    if (!requests_.take_flush() || server_ == nullptr) return true;
    // Nothing of ours may stand inside a message; behind it the server is asked when the next one finds no
    // room.
    return answer_ahead(server_->owed.full() && !requests_.mid_message());
}

void client_session::consume(std::size_t count) {
    if (limits_) limits_->gate.passed(in_.bytes().first(count));
    in_.consume(count);
}

/// The request has to be carried out again, from the beginning.
void client_session::read_again(const std::vector<std::byte>& request) {
    in_.put_back(request);
    if (limits_) limits_->gate.again(replaying() ? mishap_->replay->record_bytes : request.size());
    want_ = 0;
}

/// Sends the answers that are ours to give and whose turn has come. With `awaited`, nothing more can be sent
/// before the server has answered: without a Sync it keeps its answers back until it is asked for them.
bool client_session::answer_ahead(bool awaited) {
    for (bool more = true; more;) {
        more = !pool::emit_synthesized(*server_, worker_.flight_to_client());
        show();
        shown_ = shown_ || !worker_.flight_to_client().empty();
        if (!to_client()) return false;
    }
    if (!awaited || !server_->owed.group_open()) return true;
    static constexpr std::array<std::byte, 5> flush{std::byte{'H'}, {}, {}, {}, std::byte{4}};
    worker_.flight_to_server().add(flush);
    if (!to_server()) gate_.set(server_readable);
    return true;
}

bool client_session::to_client() {
    pool::gather& flight = worker_.flight_to_client();
    if (flight.empty()) return true;
    worker_.metrics().client_bytes_sent.add(flight.bytes());
    if (pool_ != nullptr) pool_->traffic().sent += flight.bytes();
    return out_.send(*io_, flight);
}

bool client_session::to_server() {
    pool::gather& flight = worker_.flight_to_server();
    if (flight.empty()) return true;
    if (phase_ == session_phase::idle) {
        phase_ = session_phase::active;
        request_began_ = worker_.env().now();
        shown_ = false;
        begin_record(*server_);
    }
    if (since == config::time_point{} && !holding()) since = worker_.env().now();
    if (limits_) [[unlikely]]
        note_sent();
    worker_.metrics().server_bytes_sent.add(flight.bytes());
    return server_->out.send(*server_->io, flight);
}

bool client_session::read_server() {
    if (out_.blocked()) return true;
    if (server_->muted) return true;
    const pool::io_result result = server_->in.fill(*server_->io, server_want_);
    if (result.status == io_status::would_block) return true;
    if (result.status != io_status::ok) {
        // An end of the request that has been read already is still true; and what comes behind it may have
        // told of the loss itself.
        const pool::server_connection* server = server_;
        if (listening_ && !release_ready()) return false;
        return server_ != server || lost_server();
    }
    if (server_->heard != nullptr) {
        server_->heard->store(worker_.env().now().time_since_epoch().count(), std::memory_order_relaxed);
    }
    worker_.metrics().server_bytes_received.add(result.bytes);
    return pump_server();
}

bool client_session::pump_server() {
    for (bool more = !server_->in.empty() || server_->owed.ours_is_next(); more;) {
        const pool::pump_step step = pool::pump_replies(
            *server_, *this, worker_.flight_to_client(), worker_.parameters(), {worker_.held_message()}
        );
        hold_back_unsaid();
        if (mishap_ || server_->status != transaction_status::idle || !server_->owed.empty() ||
            server_->owed.group_open()) {
            show();
            shown_ = shown_ || !worker_.flight_to_client().empty();
        } else if (!worker_.flight_to_client().empty()) {
            server_->shown.leave_gap();  // in nearly all cases this was the end of the request
            shown_ = true;
        }
        if (limits_) [[unlikely]]
            note_answers();
        const bool sent = to_client();
        server_->in.consume(step.consumed);
        server_want_ = static_cast<std::uint32_t>(step.want);
        if (step.result == pool::pump_result::violation) {
            server_->broken = true;
            log::warning("server_out_of_step", {{"server", server_->where.to_string()}, {"client", peer_}});
            return fail(protocol::sqlstate::protocol_violation, "the server sent an unexpected message");
        }
        if (!sent) {
            server_->in.keep();
            return false;
        }
        more = step.result == pool::pump_result::flight_full && !out_.blocked();
    }
    server_->in.keep();
    if (server_leaves()) return lost_server();
    if (too_many_owed_ && requests_.may_go_on(*server_)) too_many_owed_ = false;
    return true;
}

bool client_session::at_safe_point() const noexcept {
    // In doubt about a further ReadyForQuery the server is of no more use, but this client is not bound to
    // it.
    return (server_->at_safe_point() || server_->settled_in_doubt()) && !server_->out.blocked() &&
           !requests_.mid_message();
}

bool client_session::after_progress() {
    if (own_over_ && !own_query_over()) return false;
    if (mishap_ && mishap_->replay && !replay_progress()) return false;
    // A request that has changed its session ends before the next one begins: what is lost with that one is
    // not the change. With pool.session_state: off, what it has left is gone by then.
    const bool left =
        !in_.empty() && phase_ == session_phase::active && server_ != nullptr &&
        (session_changed_ || facts_.leaves_something() || (on_standby() && standby_has_request())) &&
        at_safe_point() && !replaying();
    if ((phase_ == session_phase::idle || phase_ == session_phase::active) && !in_.empty() &&
        !too_many_owed_ && !left) {
        if (!consume_requests()) return false;
    }
    if (left) gate_.set(client_readable);
    if (phase_ == session_phase::active && server_ != nullptr && at_safe_point() && !replaying())
        return request_done();
    if (!draining_ && !half_closed_ && !listening_) return true;
    // A request that ended with its server, or without one, ends the client's stay as any other does.
    const bool free =
        phase_ == session_phase::idle && server_ == nullptr && in_.empty() && !requests_.mid_request();
    if (free && listening_ && listening_->lost) return end_listening();
    if (draining_ && free) return terminated_by_order();
    return !half_closed_ || left || goes_on_half_closed();
}

/// Of each reason once: some clients are pinned with every other transaction.
void client_session::tell_of_pin(pin_reason reason) noexcept {
    const bool by_policy = reason == pin_reason::session_mode || reason == pin_reason::replication;
    if (by_policy || told_pins_.has(reason)) return;
    told_pins_.add(reason);
    log::info("client_pinned", {{"client", peer_}, {"reason", label_word(reason)}});
}

void client_session::count_pins() noexcept {
    if (facts_.pins == counted_pins_) return;
    for (const auto reason : all_pin_reasons) {
        if (facts_.pins.has(reason) && !counted_pins_.has(reason)) {
            worker_.metrics().pins.add(reason);
            worker_.metrics().pins_made.add(reason);
            if (server_ != nullptr)
                worker_.tallies().pinned(server_->pinned_by != 0 ? server_->pinned_by : server_->tally);
            tell_of_pin(reason);
        } else if (!facts_.pins.has(reason) && counted_pins_.has(reason)) {
            worker_.metrics().pins.sub(reason);
            log::debug("client_unpinned", {{"client", peer_}, {"reason", label_word(reason)}});
        }
    }
    counted_pins_ = facts_.pins;
    if (server_ != nullptr) server_->pinned_by = facts_.pins.empty() ? 0 : freshly_pinned;
}

void client_session::collect_parameters(std::unordered_set<const protocol::parameter_set*>& live) const {
    for (const auto* set : {facts_.startup, facts_.settings, facts_.told}) {
        live.insert(set);
    }
    live.insert(static_cast<const protocol::parameter_set*>(parameters));
    if (replaying()) live.insert(mishap_->replay->told);
}

void client_session::reconsider() {
    if (server_ == nullptr) {
        if (reads_) rethink_read();
        return;
    }
    const bool silent = worker_.cluster().is_silent(server_->where);
    if (must_leave_server()) {
        gate_.set(server_unfit);
    } else if (silent != server_->muted) {
        // What was kept back meanwhile is met when it is armed for reading again.
        server_->muted = silent;
        gate_.set(server_unmuted);
    }
}

void client_session::drain() noexcept { gate_.set(drained); }
void client_session::kill() noexcept { gate_.set(killed); }

bool client_session::send_made(const std::vector<std::byte>& frames) {
    worker_.flight_to_client().add(frames);
    return to_client();
}

void client_session::set_interest() {
    using pool::interest;
    const auto combine = [](bool read, bool write) {
        return static_cast<interest>((read ? 1 : 0) | (write ? 2 : 0));
    };
    const bool read_client = !paused();  // nor is anything blocked then
    const bool muted = server_ != nullptr && server_->muted;
    const bool read_both = read_client && !muted;
    reads_both_ = read_both;
    const bool server_blocked = server_ != nullptr && server_->out.blocked();
    if (server_blocked) worker_.metrics().backpressure_pauses.add(metrics::side::server);
    if (out_.blocked()) worker_.metrics().backpressure_pauses.add(metrics::side::client);
    io_->arm(combine(read_client, out_.blocked()));
    // What a stream holds inside itself causes no readiness of its own.
    if (read_client && io_->buffered() != 0) gate_.set(client_readable);
    if (server_ == nullptr) return;
    const bool read_server = !out_.blocked() && !muted;
    server_->io->arm(combine(read_server, server_blocked));
    if (read_server && server_->io->buffered() != 0) gate_.set(server_readable);
}

bool client_session::step_blind(pool::event_mask bits) {
    pool::server_connection& server = *dedicated_;
    if ((bits & (drained | terminated)) != 0) return false;
    if ((bits & client_writable) != 0 && !out_.drain(*io_)) return false;
    if ((bits & server_writable) != 0 && !server.out.drain(*server.io)) return false;
    const auto move_bytes = [](pool::inbound& in, pool::stream& from, pool::outbound& out, pool::stream& to,
                               pool::gather& flight) {
        if (out.blocked()) return true;
        const pool::io_result result = in.fill(from, 0);
        if (result.status == io_status::would_block && in.empty()) return true;
        if (result.status != io_status::ok && result.status != io_status::would_block) return false;
        flight.add(in.bytes());
        const bool sent = out.send(to, flight);
        in.clear();
        return sent;
    };
    if ((bits & server_readable) != 0) {
        if (!move_bytes(server.in, *server.io, out_, *io_, worker_.flight_to_client())) return false;
        if (server.io->buffered() != 0) gate_.set(server_readable);
    }
    if ((bits & client_readable) != 0) {
        if (!move_bytes(in_, *io_, server.out, *server.io, worker_.flight_to_server())) return false;
        if (io_->buffered() != 0) gate_.set(client_readable);
    }
    const auto combine = [](bool read, bool write) {
        return static_cast<pool::interest>((read ? 1 : 0) | (write ? 2 : 0));
    };
    io_->arm(combine(!server.out.blocked(), out_.blocked()));
    server.io->arm(combine(!out_.blocked(), server.out.blocked()));
    return true;
}

}  // namespace pgmend::proxy
