#pragma once
// A ledger with its clock, and what it said last: for its tests.

#include <chrono>
#include <deque>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "pool/pool_ledger.hpp"

namespace pgmend::test {

using namespace pgmend::pool;
using config::duration;
using config::time_point;

/// A ledger, its clock, and the actions of the last call.
struct books {
    explicit books(pool_limits limits) : ledger(limits) {}

    pool_ledger ledger;
    time_point now = time_point{} + std::chrono::hours{1000};
    pool_ledger::actions actions;
    std::deque<ledger_server> servers;
    std::deque<ledger_waiter> waiters;

    ledger_waiter& waiter(partition_id partition = 0, const void* parameters = nullptr) {
        ledger_waiter& made = waiters.emplace_back();
        made.partition = partition;
        made.parameters = parameters;
        return made;
    }
    void acquire(ledger_waiter& who) {
        actions.clear();
        ledger.acquire(who, now, actions);
    }
    ledger_server& connected(partition_id partition = 0) {
        ledger_server& server = servers.emplace_back();
        server.partition = partition;
        actions.clear();
        ledger.connected(server, now, actions);
        return server;
    }
    void release(ledger_server& server) {
        actions.clear();
        if (!ledger.put_back(server, now)) ledger.release(server, now, actions);
    }
    void tick() {
        actions.clear();
        ledger.tick(now, actions);
    }
    void connect_failed(duration retry_after) {
        actions.clear();
        ledger.connect_failed(now, now + retry_after, actions);
    }
    /// What the last call decided: "hand_over", "connect 1", "close lifetime", "time_out", one after another.
    std::string said() const {
        std::string all;
        for (const pool_action& action : actions) {
            if (!all.empty()) all += ", ";
            switch (action.kind) {
                case pool_action_kind::hand_over:
                    all += "hand_over";
                    break;
                case pool_action_kind::connect:
                    all += "connect " + std::to_string(action.partition);
                    break;
                case pool_action_kind::close: {
                    constexpr std::string_view reasons[]{"none",        "idle_timeout", "lifetime",
                                                         "repartition", "pool_closed",  "paused",
                                                         "resized"};
                    all += "close " + std::string{reasons[static_cast<std::size_t>(action.reason)]};
                    break;
                }
                case pool_action_kind::time_out:
                    all += "time_out";
                    break;
            }
        }
        return all;
    }
    /// A server in the hands of a new waiter.
    ledger_server& busy(partition_id partition = 0) {
        acquire(waiter(partition));
        REQUIRE(said().starts_with("connect"));
        ledger_server& server = connected(partition);
        REQUIRE(said() == "hand_over");
        return server;
    }
};

inline pool_limits of_size(std::size_t size) {
    pool_limits limits;
    limits.size = size;
    return limits;
}

}  // namespace pgmend::test
