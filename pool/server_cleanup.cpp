// What becomes of a server whose client left it in the middle of something, and how a running statement is
// cancelled: the parts of server_pool that wait for a server.

#include "config/log.hpp"
#include "pool/leftover_query.hpp"
#include "pool/reply_pump.hpp"
#include "pool/server_pool.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/startup.hpp"

namespace pgmend::pool {

namespace metrics = config::metrics;
using protocol::owed_reply;

namespace {

constexpr event_mask readable = 1;
constexpr event_mask writable = 2;
constexpr event_mask timed_out = 4;
constexpr event_mask cancel_over = 8;
constexpr config::duration cancel_timeout = std::chrono::seconds{10};

/// Nobody is left to hear anything; only failures of our own queries matter.
class silent_sink final : public reply_sink {
public:
    bool failed = false;
    std::string left;  ///< by our question about leftovers
    std::optional<std::string> reported(std::string_view, std::string_view) override { return std::nullopt; }
    void own_row(protocol::byte_view body) override {
        protocol::byte_reader reader{body};
        if (reader.u16() != leftover_words.size()) return;
        for (const std::string_view word : leftover_words) {
            const std::int32_t size = reader.i32();
            if (size < 0) continue;
            const auto value = reader.bytes(static_cast<std::size_t>(size));
            if (value.empty() || value[0] != std::byte{'t'}) continue;
            left += left.empty() ? "" : ", ";
            left += word;
        }
    }
    void error(std::string_view, std::string_view, bool fatal, bool own) override {
        failed = failed || fatal || own;
    }
    bool farewell(std::string_view, std::string_view, bool) override { return false; }
    bool stale_plan(const protocol::statement_ref&, bool) override { return false; }
    void command_complete(std::string_view) override {}
    void ready() override {}
    void undone(owed_reply&) override {}
};

}  // namespace

/// One server being made as new.
struct server_pool::cleaning {
    cleaning(server_pool& owner, server_connection& target)
        : pool(owner),
          server(target),
          gate(owner.context_.env),
          deadline(owner.context_.env, gate, timed_out) {
        server.io->watch(gate, {readable, writable});
        server.cancel_listener = &gate;
        server.on_cancel_over = cancel_over;
    }
    ~cleaning() { server.cancel_listener = nullptr; }

    bool send(const std::vector<std::byte>& bytes) {
        gather& flight = pool.context_.flight;
        flight.add(bytes);
        return server.out.send(*server.io, flight);
    }

    /// Reads what there is and forgets it. False when the server is of no more use.
    bool pump() {
        const io_result result = server.in.fill(*server.io, want);
        // Whoever had it may have left what had been read already.
        if (result.status == io_status::would_block && server.in.empty()) return true;
        if (result.status != io_status::ok && result.status != io_status::would_block) return false;
        gather& flight = pool.context_.flight;
        for (;;) {
            const pump_step step =
                pump_replies(server, sink, flight, pool.context_.parameters, {pool.options_.held_message});
            flight.clear();
            server.in.consume(step.consumed);
            want = step.want;
            if (step.result == pump_result::violation) return false;
            if (step.result == pump_result::drained) break;
        }
        server.in.keep();
        return !sink.failed;
    }

    bool settled() const noexcept { return server.owed.settled() && server.body_left == 0; }

    /// Ends what the client began: a copy, a group without its Sync. What is stuck on its way to the server
    /// is still sent: no message is cut in two.
    bool end_group() {
        std::vector<std::byte> ending;
        protocol::message_writer writer{ending};
        const auto owe = [this](protocol::reply_kind kind) {
            server.owed.push(kind, protocol::reply_action::drop);
        };
        if (server.owed.copying_in()) {
            writer.copy_fail("client connection lost");
            server.owed.push_copy_end();
        }
        if (server.owed.group_open()) {
            // Without the client's Sync its group must not be committed: outside a block it is made to fail.
            if (server.status == protocol::transaction_status::idle && !server.owed.skipping()) {
                writer.frame('D', {protocol::as_bytes("Spgmend_none"), protocol::as_bytes({"\0", 1})});
                owe(protocol::reply_kind::describe);
            }
            writer.sync();
            owe(protocol::reply_kind::sync);
        }
        return ending.empty() || send(ending);
    }

    server_pool& pool;
    server_connection& server;
    event_gate gate;
    gate_timer deadline;
    silent_sink sink;
    std::size_t want = 0;
};

detached server_pool::clean(server_connection& server, bool touched, bool left) {
    ++tasks_;
    move(server, server_state::cleaning);
    bool good = true;
    {
        cleaning work{*this, server};
        server.owed.orphan();
        good = work.end_group();
        // When pgmend ends, nobody waits for a statement whose client is gone.
        work.deadline.after(closing_ ? config::duration::zero() : options_.cleanup_timeout);
        work.gate.set(readable);
        bool cancelled = false;
        bool planned = false;
        reset_plan plan;
        while (good) {
            server.io->arm(server.out.blocked() ? interest::read_write : interest::read);
            if (work.settled() && !planned) {
                planned = true;
                plan = plan_reset(
                    {server.status, left && options_.commit_abandoned, touched, server.close_when_free,
                     server.owed.in_doubt()}
                );
                if (plan.close) break;
                std::vector<std::byte> queries;
                protocol::message_writer out{queries};
                for (const std::string_view query : plan.queries) {
                    out.query(query);
                    server.owed.push(protocol::reply_kind::query, protocol::reply_action::own);
                    context_.metrics.cleanups.add(
                        query == "DISCARD ALL" ? metrics::cleanup_action::discard
                                               : metrics::cleanup_action::rollback
                    );
                }
                server.statements.drop_unnamed();
                if (!queries.empty()) good = work.send(queries);
                if (good && queries.empty() && server.cancels_under_way == 0) break;
                work.deadline.after(options_.cleanup_timeout);
                continue;
            }
            if (planned && work.settled() && server.cancels_under_way == 0) break;
            const event_mask bits = co_await work.gate.wait();
            if ((bits & timed_out) != 0) {
                if (planned || cancelled || !cancel(server)) {
                    good = false;
                    break;
                }
                cancelled = true;
                context_.metrics.cleanups.add(metrics::cleanup_action::cancel);
                work.deadline.after(options_.cleanup_timeout);
            }
            if ((bits & writable) != 0) good = server.out.drain(*server.io);
            if (good && (bits & readable) != 0) good = work.pump() && work.end_group();
        }
        good = good && !plan.close && server.status == protocol::transaction_status::idle;
        if (good && plan.forgets_session) server.settings = context_.parameters.empty();
    }
    if (good) {
        back_to_ledger(server);
    } else {
        context_.metrics.cleanups.add(metrics::cleanup_action::close);
        server.broken = true;
        discard(server, metrics::server_close::unclean);
    }
    --tasks_;
}

/// When the server is to be asked whether something was left in it: each once after it was used.
config::time_point server_pool::check_due(const server_connection& server) const noexcept {
    if (options_.leak_check <= config::duration::zero() || !server.used_since_check)
        return config::time_point::max();
    return server.checked_at + options_.leak_check;
}

/// What a client left in a server that nobody has wanted since is found as well.
void server_pool::inspect_idle() {
    if (closing_ || ledger_.paused()) return;
    const auto now = context_.env.now();
    std::vector<server_connection*> due;
    auto earliest = config::time_point::max();
    for (const auto& server : servers_) {
        if (server->state != server_state::idle) continue;
        const auto when_due = check_due(*server);
        if (when_due <= now) {
            due.push_back(server.get());
        } else {
            earliest = std::min(earliest, when_due);
        }
    }
    for (server_connection* server : due) {
        ledger_.borrow_idle(*server);
        inspect(*server);
    }
    if (earliest < config::time_point::max() && (!scheduled() || earliest < when))
        context_.env.schedule(*this, earliest);
}

/// Asks a server that goes back as clean whether it is (HEALING section 4, "leak sentinel").
detached server_pool::inspect(server_connection& server) {
    ++tasks_;
    move(server, server_state::cleaning);
    server.checked_at = context_.env.now();
    server.used_since_check = false;
    context_.metrics.leak_checks.add();
    bool good = true;
    std::string left;
    {
        cleaning work{*this, server};
        std::vector<std::byte> question;
        const std::string* role = server.settings->find("role");
        protocol::message_writer{question}.query(leftover_query(login_.user, role ? *role : no_role));
        server.owed.push(protocol::reply_kind::query, protocol::reply_action::own);
        server.statements.drop_unnamed();
        good = work.send(question);
        work.deadline.after(options_.cleanup_timeout);
        while (good && !work.settled()) {
            server.io->arm(server.out.blocked() ? interest::read_write : interest::read);
            const event_mask bits = co_await work.gate.wait();
            good = (bits & timed_out) == 0;
            if (good && (bits & writable) != 0) good = server.out.drain(*server.io);
            if (good && (bits & readable) != 0) good = work.pump();
        }
        left = work.sink.left;
    }
    if (!left.empty()) {
        if (context_.suspects != nullptr) context_.suspects->accuse(server.ran);
        context_.metrics.leaks.add();
        log::error(
            "session_leak", {{"server", server.where.to_string()},
                             {"pool", login_.user + "@" + login_.database},
                             {"left", left}}
        );
    }
    server.ran.clear();
    if (good && left.empty() && server.at_safe_point() && !server.close_when_free) {
        back_to_ledger(server);
    } else {
        context_.metrics.cleanups.add(metrics::cleanup_action::close);
        server.broken = server.broken || !good;
        discard(server, metrics::server_close::unclean);
    }
    --tasks_;
}

bool server_pool::cancel(server_connection& server) {
    if (server.key.pid == 0) return false;
    if (server.cancels_under_way != 0) {
        server.cancel_again = true;
        return true;
    }
    send_cancel(server);
    return true;
}

detached server_pool::send_cancel(server_connection& server) {
    ++tasks_;
    ++server.cancels_under_way;
    bool reached = false;
    bool seen_through = false;
    {
        event_gate gate{context_.env};
        gate_timer deadline{context_.env, gate, timed_out};
        deadline.after(cancel_timeout);
        const auto io = context_.net.connect_beside(*server.io, server.where);
        io->watch(gate, {readable, writable});
        io->arm(interest::write);
        event_mask bits = 0;
        io_result result = io->connected();
        while (result.status == io_status::would_block && (bits & timed_out) == 0) {
            bits = co_await gate.wait();
            result = io->connected();
        }
        if (result.status == io_status::ok) {
            std::vector<std::byte> request;
            protocol::append_cancel_request(request, server.key.pid, server.key.secret);
            const iovec piece{request.data(), request.size()};
            reached = io->write_some({&piece, 1}).status == io_status::ok;
        }
        // The server closes the socket when it has signalled the backend: only then is the cancel seen
        // through.
        io->arm(interest::read);
        std::byte ignored[64];
        while (reached && (bits & timed_out) == 0) {
            const io_status status = io->read_some(ignored).status;
            seen_through = status == io_status::eof || status == io_status::error;
            if (seen_through) break;
            bits = co_await gate.wait();
        }
    }
    // The postmaster may yet deliver a cancel that was sent and not seen through: nobody else may meet it.
    if (reached && !seen_through) server.close_when_free = true;
    if (!reached) log::warning("cancel_failed", {{"server", server.where.to_string()}});
    context_.metrics.cancels.add(
        reached ? metrics::cancel_result::forwarded : metrics::cancel_result::failed
    );
    --server.cancels_under_way;
    // Until now the server could not change hands: whoever asked again is still the one it works for.
    const bool again = std::exchange(server.cancel_again, false);
    if (again && server.state == server_state::active && !server.owed.empty()) send_cancel(server);
    if (server.cancel_listener != nullptr) server.cancel_listener->notify(server.on_cancel_over);
    if (server.state == server_state::closed) context_.env.defer(*this);
    --tasks_;
}

void server_pool::idle_ready(server_connection& server) noexcept {
    // Between hand-outs a server says nothing but notices, parameters, and good-bye.
    if (server.state != server_state::idle) return;
    silent_sink sink;
    std::size_t want = 0;
    bool alive = true;
    const io_result result = server.in.fill(*server.io, want);
    if (result.status == io_status::would_block) return;
    if (result.status == io_status::ok) {
        gather& flight = context_.flight;
        const pump_step step =
            pump_replies(server, sink, flight, context_.parameters, {options_.held_message});
        flight.clear();
        server.in.consume(step.consumed);
        server.in.keep();
        alive = step.result == pump_result::drained && !sink.failed;
        // What the next client is greeted with, unless it is what the last client made of this connection.
        if (server.settings == context_.parameters.empty())
            partitions_[server.partition].welcome = server.reported;
    } else {
        alive = false;
    }
    if (alive) return;
    ledger_.lost_idle(server);
    context_.endpoints.broke(server);
    server.broken = true;
    close_server(server, metrics::server_close::lost_idle);
    plan_tick();
}

}  // namespace pgmend::pool
