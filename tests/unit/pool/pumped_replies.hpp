#pragma once
// What the reply pump makes of a server's bytes, in one piece and cut in every way.

#include <catch2/catch.hpp>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pool/reply_pump.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/test_server.hpp"

namespace pgmend::test {

using namespace pool;
using protocol::client_statement;
using protocol::owed_reply;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::statement_ref;
using protocol::statement_traits;
using protocol::transaction_status;

/// Writes down what it is told, one word a call.
class recorder final : public reply_sink {
public:
    std::vector<std::string> calls;
    std::string told_instead;  ///< for application_name

    bool no_news = false;
    bool takes_farewells = false;
    bool plans_again = false;

    std::optional<std::string> reported(std::string_view name, std::string_view value) override {
        note("reported " + std::string{name} + "=" + std::string{value});
        if (no_news) return std::nullopt;
        return name == "application_name" && !told_instead.empty() ? told_instead : std::string{value};
    }
    void own_row(protocol::byte_view body) override { note("own_row " + std::to_string(body.size())); }
    void error(std::string_view sqlstate, std::string_view message, bool fatal, bool own) override {
        note(
            std::string{own ? "own " : ""} + (fatal ? "fatal " : "error ") + std::string{sqlstate} + " " +
            std::string{message}
        );
    }
    bool farewell(std::string_view sqlstate, std::string_view, bool is_error) override {
        if (takes_farewells) note("farewell " + std::string{sqlstate} + (is_error ? " error" : " notice"));
        return takes_farewells;
    }
    bool stale_plan(const protocol::statement_ref& statement, bool untold) override {
        note("stale " + statement->text + (untold ? "" : " told"));
        return plans_again;
    }
    void command_complete(std::string_view tag) override { note("complete " + std::string{tag}); }
    void ready() override { note("ready"); }
    void undone(owed_reply& reply) override {
        note("undone " + word(reply) + (reply.failed ? " failed" : ""));
    }

    static std::string word(const owed_reply& reply) {
        constexpr std::string_view words[]{"parse", "bind",  "describe",      "execute", "close",
                                           "sync",  "query", "function_call", "copy_end"};
        return std::string{words[static_cast<std::size_t>(reply.kind)]};
    }

private:
    void note(std::string what) { calls.push_back(std::move(what)); }
};

using calls = std::vector<std::string>;

struct outcome {
    std::string to_client;
    calls told;
    pump_result result = pump_result::drained;
    transaction_status status = transaction_status::idle;
    bool settled = false;
    bool in_doubt = false;
    std::size_t owed = 0;
    bool operator==(const outcome&) const = default;
};

inline owed_reply reply(reply_kind kind, reply_action action = reply_action::forward) {
    owed_reply made;
    made.kind = kind;
    made.action = action;
    return made;
}

using preparation = std::function<void(test_worker&, server_connection&)>;

/// What becomes of `pieces`, read one by one.
inline outcome pump_pieces(
    const std::vector<std::string>& pieces, const preparation& prepare, std::size_t held = 1 << 20,
    bool takes_farewells = false
) {
    test_worker worker;
    const auto server = worker.server();
    prepare(worker, *server);
    recorder sink;
    sink.takes_farewells = takes_farewells;
    outcome what;
    byte_source source;
    std::size_t want = 0;
    for (const std::string& piece : pieces) {
        source.bytes += piece;
        while (!source.bytes.empty() && what.result != pump_result::violation) {
            REQUIRE(server->in.fill(source, want).status == io_status::ok);
            for (bool more = true; more;) {
                const pump_step step = pump_replies(*server, sink, worker.flight, worker.parameters, {held});
                take_flight(worker.flight, what.to_client);
                server->in.consume(step.consumed);
                want = step.want;
                what.result = step.result;
                more = step.result == pump_result::flight_full;
            }
            server->in.keep();
        }
    }
    what.told = sink.calls;
    what.status = server->status;
    what.settled = server->owed.settled() && server->body_left == 0;
    what.in_doubt = server->owed.in_doubt();
    what.owed = server->owed.size();
    return what;
}

/// The same, whatever way the bytes are cut: the outcome of each must be that of the whole.
inline outcome pump(
    const std::string& bytes, const preparation& prepare, std::size_t held = 1 << 20,
    bool takes_farewells = false
) {
    const outcome whole = pump_pieces({bytes}, prepare, held, takes_farewells);
    split_every_way(bytes, [&](const std::vector<std::string>& pieces) {
        const outcome cut = pump_pieces(pieces, prepare, held, takes_farewells);
        if (cut == whole) return;
        CAPTURE(pieces.front().size(), pieces.size());
        CHECK(cut.to_client == whole.to_client);
        CHECK(cut.told == whole.told);
        REQUIRE(cut == whole);
    });
    return whole;
}

inline preparation owing(std::vector<std::pair<reply_kind, reply_action>> replies) {
    return [replies](test_worker&, server_connection& server) {
        for (const auto& [kind, action] : replies) {
            push(server, reply(kind, action));
        }
    };
}

inline constexpr auto forward = reply_action::forward;
inline constexpr auto swallow = reply_action::swallow;
inline constexpr auto own = reply_action::own;
inline constexpr auto synthesize = reply_action::synthesize;
inline constexpr auto substitute = reply_action::substitute;
inline constexpr auto drop = reply_action::drop;

struct known_statements {
    protocol::statement_store store{10};
    statement_ref make(std::string_view text) {
        return store.intern(text, {}, {}, [](std::string_view) {
            statement_traits traits;
            traits.effects = protocol::session_effect::none;
            return traits;
        });
    }
};

}  // namespace pgmend::test
