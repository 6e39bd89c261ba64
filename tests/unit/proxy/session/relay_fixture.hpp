#pragma once
// A request_relay with the client in front of it and a server behind it, both made of strings.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/session/request_relay.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/test_server.hpp"

namespace pgmend::test {

/// What several clients of one worker share.
struct relay_world {
    test_worker worker;
    protocol::statement_store store{100};
    protocol::statement_classifier classifier{{}};
    std::uint64_t epoch = 0;
    std::uint64_t doubts = 0;
    proxy::sequence_habits habits;
    pool::leak_suspects suspects;
    proxy::statement_tallies tallies{64};
    std::size_t held = 1 << 20;
    std::size_t limit = 1000;
    proxy::relay_context context() {
        return {
            .statements = store,
            .classifier = classifier,
            .parameters = worker.parameters,
            .metrics = worker.metrics,
            .schema_epoch = epoch,
            .doubts = doubts,
            .held_message = held,
            .client_statements = limit,
            .habits = habits,
            .suspects = suspects,
            .tallies = tallies};
    }
};

/// One client, and the server it has now, if any.
struct relay_client {
    explicit relay_client(relay_world& shared)
        : world(shared), context(shared.context()), relay(context, facts) {
        facts.startup = facts.settings = facts.told = world.worker.parameters.empty();
    }
    relay_client(const relay_client&) = delete;
    relay_client& operator=(const relay_client&) = delete;

    relay_world& world;
    proxy::relay_context context;
    proxy::session_facts facts;
    proxy::request_relay relay;
    pool::server_connection* server = nullptr;
    std::string unread;
    std::string to_server;
    std::string to_client;
    proxy::request_step last{proxy::request_result::need_more};
    int flights = 0;

    /// Reads what came, sending flights as they fill; stops where a session would have to do something.
    proxy::request_result say(std::string_view bytes) {
        unread += bytes;
        for (;;) {
            // Bytes of their own, so that a read beyond them is one the sanitizer sees.
            std::vector<std::byte> data(unread.size());
            std::copy_n(reinterpret_cast<const std::byte*>(unread.data()), unread.size(), data.begin());
            pool::gather flight_to_server;
            pool::gather flight_to_client;
            const bool sure = server == nullptr && relay.begins_request(data);
            last = relay.read(data, server, flight_to_server, flight_to_client);
            if (sure) REQUIRE(last.result == proxy::request_result::need_server);
            take_flight(flight_to_server, to_server);
            take_flight(flight_to_client, to_client);
            REQUIRE(last.consumed <= unread.size());
            unread.erase(0, last.consumed);
            ++flights;
            if (last.result != proxy::request_result::flight_full) return last.result;
            REQUIRE(flights < 100'000);
        }
    }
    /// What went to the server since the last call.
    std::string sent() { return std::exchange(to_server, {}); }
    std::string told() { return std::exchange(to_client, {}); }
    proxy::pin_set& pins() { return facts.pins; }
};

/// The server answers everything that it owes, without an error.
inline void answer_all(pool::server_connection& server) {
    while (!server.owed.empty()) {
        protocol::owed_reply& reply = server.owed.front();
        if (reply.kind == protocol::reply_kind::parse && reply.statement) {
            reply.statement.prove();
            if (reply.named_on_server) {
                server.statements.confirm(reply.statement->id);
            } else {
                server.statements.confirm_unnamed(reply.statement->id);
            }
        }
        if (reply.evicted != 0) server.statements.closed(reply.evicted);
        if (!server.owed.ready()) server.owed.pop();
    }
}

/// "p<b d" for the queue: one letter an entry, then how: nothing for forwarded, '-' swallowed, '!' own, '+'
/// invented,
/// '~' bound to fail.
inline std::string owed(pool::server_connection& server) {
    std::string all;
    for (std::size_t i = 0; i < server.owed.size(); ++i) {
        const protocol::owed_reply& reply = server.owed.at(i);
        all += "pbdecsqf."[static_cast<std::size_t>(reply.kind)];
        constexpr std::string_view marks[]{"", "-", "!", "+", "~", "x"};
        all += marks[static_cast<std::size_t>(reply.action)];
    }
    return all;
}

}  // namespace pgmend::test
