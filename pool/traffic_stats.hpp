#pragma once
// What went through one pool, as PgBouncer's SHOW STATS counts it. Plain numbers of one worker thread: they
// are moved at points where the clock has been read anyway, and read by posting to the worker. Pure.

#include <array>
#include <cstdint>

#include "config/environment.hpp"
#include "config/metrics.hpp"

namespace pgmend::pool {

struct traffic_stats {
    std::uint64_t assignments = 0;   ///< times a client was given a server
    std::uint64_t transactions = 0;  ///< ended, or single statements
    std::uint64_t queries = 0;       ///< answered with ReadyForQuery
    std::uint64_t received = 0;      ///< bytes of clients
    std::uint64_t sent = 0;          ///< bytes to clients
    std::uint64_t client_parses = 0;
    std::uint64_t server_parses = 0;
    std::uint64_t binds = 0;
    std::uint64_t logins = 0;  ///< of clients that came in
    /// Transactions that could not have been run again if their server had been lost just before their end,
    /// by the first reason.
    std::array<std::uint64_t, config::label_count<config::metrics::replay_hindrance>> uncovered{};
    config::duration transaction_time{};  ///< with a server, for a request
    config::duration query_time{};        ///< from the first byte sent to ReadyForQuery
    config::duration wait_time{};         ///< for a server

    traffic_stats& operator+=(const traffic_stats& other) noexcept {
        assignments += other.assignments;
        transactions += other.transactions;
        queries += other.queries;
        received += other.received;
        sent += other.sent;
        client_parses += other.client_parses;
        server_parses += other.server_parses;
        binds += other.binds;
        logins += other.logins;
        for (std::size_t i = 0; i < uncovered.size(); ++i)
            uncovered[i] += other.uncovered[i];
        transaction_time += other.transaction_time;
        query_time += other.query_time;
        wait_time += other.wait_time;
        return *this;
    }
    bool operator==(const traffic_stats&) const = default;
};

}  // namespace pgmend::pool
