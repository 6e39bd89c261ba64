// The reply side of the relay: whatever a server sends against whatever it owes, what goes to the client are
// frames, the same ones however the bytes were cut, and a broken protocol is a violation and no crash.

#include <algorithm>

#include "pool/reply_pump.hpp"
#include "tests/fuzz/reply_input.hpp"
#include "tests/support/test_server.hpp"

namespace pgmend::fuzz {

namespace {

using namespace pool;

/// What it was told, as a hash would be, but readable.
class recorder final : public reply_sink {
public:
    std::string calls;

    std::optional<std::string> reported(std::string_view name, std::string_view value) override {
        note('s', name);
        if (value.starts_with("same")) return std::nullopt;
        return value.starts_with("other") ? std::string("instead") : std::string(value);
    }
    void own_row(protocol::byte_view body) override { note('r', protocol::as_text(body)); }
    void error(std::string_view sqlstate, std::string_view message, bool fatal, bool own) override {
        note(fatal ? 'F' : 'e', sqlstate);
        note(own ? 'o' : 'm', message);
    }
    bool farewell(std::string_view sqlstate, std::string_view message, bool is_error) override {
        note(is_error ? 'W' : 'w', sqlstate);
        return message.size() % 2 != 0;
    }
    bool stale_plan(const protocol::statement_ref&, bool untold) override {
        note('p', {});
        return untold;
    }
    void command_complete(std::string_view tag) override { note('c', tag); }
    void ready() override { note('z', {}); }
    void undone(protocol::owed_reply&) override { note('u', {}); }

private:
    void note(char what, std::string_view text) {
        calls += what;
        calls += text;
        calls += '\n';
    }
};

struct pumped {
    std::string to_client;
    std::string calls;
    pump_result result = pump_result::drained;
    std::size_t owed = 0;
    bool operator==(const pumped&) const = default;
};

/// What the request side may have made of a message.
protocol::reply_action drawn_action(protocol::reply_kind kind, dice& from) {
    using protocol::reply_action;
    static constexpr reply_action of_names[] = {reply_action::forward, reply_action::swallow,
                                                reply_action::own,     reply_action::synthesize,
                                                reply_action::drop,    reply_action::substitute};
    static constexpr reply_action of_portals[] = {
        reply_action::forward, reply_action::substitute, reply_action::drop};
    static constexpr reply_action of_ends[] = {reply_action::forward, reply_action::own, reply_action::drop};
    switch (kind) {
        case protocol::reply_kind::parse:
        case protocol::reply_kind::close:
            return of_names[from.below(std::size(of_names))];
        case protocol::reply_kind::bind:
        case protocol::reply_kind::describe:
        case protocol::reply_kind::execute:
            return of_portals[from.below(std::size(of_portals))];
        case protocol::reply_kind::sync:
        case protocol::reply_kind::query:
            return of_ends[from.below(std::size(of_ends))];
        case protocol::reply_kind::function_call:
        case protocol::reply_kind::copy_end:
            break;
    }
    return reply_action::forward;
}

void owe(dice from, server_connection& server, protocol::statement_store& store) {
    const std::size_t count = from.u8() & 15U;
    for (std::size_t made = 0; made < count; ++made) {
        protocol::owed_reply reply;
        reply.kind = static_cast<protocol::reply_kind>(from.below(9));
        reply.action = drawn_action(reply.kind, from);
        if (reply.action == protocol::reply_action::substitute)
            reply.error = static_cast<protocol::substitute_error>(1 + from.below(5));
        if (reply.kind == protocol::reply_kind::parse) {
            reply.named_on_server = from.coin();
            reply.statement =
                store.intern(from.coin() ? "SELECT 1" : "SELECT 2", {}, {}, [](std::string_view) {
                    protocol::statement_traits traits;
                    traits.effects = protocol::session_effect::none;
                    return traits;
                });
        }
        test::push(server, std::move(reply));
    }
    if (from.coin() && !server.owed.empty()) server.owed.begin_copy_in();
}

pumped pump(dice debts, std::string_view bytes, dice cuts, bool cut) {
    // Made once, being large: nothing of it changes what an input does.
    static test::test_worker worker;
    worker.parameters.sweep({});
    protocol::statement_store store(10);
    const auto server = worker.server(64, 8);
    owe(debts, *server, store);
    recorder sink;
    pumped what;
    test::byte_source source;
    std::size_t want = 0;
    while (!bytes.empty() && what.result != pump_result::violation) {
        const std::size_t piece =
            cut ? std::min<std::size_t>(bytes.size(), 1 + cuts.u8() * std::size_t{3}) : bytes.size();
        source.bytes += bytes.substr(0, piece);
        bytes.remove_prefix(piece);
        while (!source.bytes.empty() && what.result != pump_result::violation) {
            require(server->in.fill(source, want).status == io_status::ok, "what is there can be read");
            for (bool more = true; more;) {
                const auto step = pump_replies(*server, sink, worker.flight, worker.parameters, {8192});
                require(step.consumed <= server->in.size(), "no more is consumed than there is");
                require(
                    step.result != pump_result::flight_full || step.consumed > 0 || worker.flight.bytes() > 0,
                    "a full flight has something in it"
                );
                test::take_flight(worker.flight, what.to_client);
                server->in.consume(step.consumed);
                want = step.want;
                what.result = step.result;
                more = step.result == pump_result::flight_full;
            }
            server->in.keep();
        }
    }
    what.calls = std::move(sink.calls);
    what.owed = server->owed.size();
    server->in.clear();
    return what;
}

}  // namespace

void replies(byte_view input) {
    dice from(input);
    const dice cuts(protocol::as_bytes(from.text(8)));
    const dice debts(protocol::as_bytes(from.text(1 + from.below(40))));
    std::string all;
    if (from.coin()) {
        for (std::size_t count = 0; count < 200 && !from.done(); ++count)
            all += drawn_reply(from);
    } else {
        all = std::string(from.rest_text());
    }
    const pumped whole = pump(debts, all, cuts, false);
    require(
        whole.to_client.size() <= all.size() + 16 * 512, "the client is sent what came, and our own few words"
    );
    require(whole == pump(debts, all, cuts, true), "the same replies mean the same however they are cut");
}

}  // namespace pgmend::fuzz
