#pragma once
// How much clients may have, ask for and keep: limits of clients and requests, and of what is held for them.
// Part of settings.hpp.

#include <cstdint>

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct limit_settings : section {
    using section::section;
    setting<std::uint32_t> user_clients{
        this,
        "limits.user_clients",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Clients connected at one time for each user; one more is refused with 53300. 0: no limit."};
    setting<std::uint32_t> database_clients{
        this,
        "limits.database_clients",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Clients connected at one time for each database; one more is refused with 53300. 0: no limit."};
    setting<std::uint32_t> address_clients{
        this,
        "limits.address_clients",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Clients connected at one time for each address of clients (all Unix sockets are one); one more is "
        "refused with 53300. 0: no limit."};
    setting<std::uint32_t> application_clients{
        this,
        "limits.application_clients",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Clients connected at one time for each application_name that clients log in with; one more is "
        "refused with 53300. 0: no limit."};
    setting<request_rate> user_requests{
        this,
        "limits.user_requests",
        {},
        reload_class::live,
        "Requests of each user; one more is refused with 53400, and its client stays. A request is a simple "
        "Query, or what is sent up to a Sync; a transaction block counts once."};
    setting<request_rate> database_requests{
        this,
        "limits.database_requests",
        {},
        reload_class::live,
        "Requests of each database; one more is refused with 53400, and its client stays. See "
        "limits.user_requests."};
    setting<request_rate> address_requests{
        this,
        "limits.address_requests",
        {},
        reload_class::live,
        "Requests of each address of clients (all Unix sockets are one); one more is refused with 53400, and "
        "its client stays. See limits.user_requests."};
    setting<request_rate> application_requests{
        this,
        "limits.application_requests",
        {},
        reload_class::live,
        "Requests of each application_name that clients log in with; one more is refused with 53400, and its "
        "client stays. See limits.user_requests."};
    setting<std::uint32_t> waiting_clients{
        this,
        "limits.waiting_clients",
        0,
        between(0, 1'000'000),
        reload_class::live,
        "Clients of one database and user that may wait for a server connection; the request of one more is "
        "refused with 53300 at once. 0: no limit. While no server can be reached, hold.max_waiters counts "
        "instead."};
    setting<milliseconds> queue_delay{
        this,
        "limits.queue_delay",
        0ms,
        between(0ms, 1h),
        reload_class::live,
        "How long a request may wait for a server connection while the pool is overloaded, which it is once "
        "somebody has waited at every moment for ten times as long; those who have waited longest are then "
        "refused with 53300, and their clients stay. Who logs in, or has lost a server, waits for "
        "pool.wait_timeout. 0: all do."};
    setting<milliseconds> query_timeout{
        this,
        "limits.query_timeout",
        0ms,
        between(0ms, 24h),
        reload_class::live,
        "How long what a client has sent (a simple Query, or all up to a Sync) may run on its server; then "
        "it is "
        "cancelled there, and ends with 57014. A COMMIT is let finish. 0: no limit."};
    setting<milliseconds> idle_transaction_timeout{
        this,
        "limits.idle_transaction_timeout",
        0ms,
        between(0ms, 24h),
        reload_class::live,
        "How long a client with an open transaction may ask for nothing; then its connection ends with "
        "25P03, "
        "as by PostgreSQL's idle_in_transaction_session_timeout, and its server is free. 0: no limit."};
    setting<milliseconds> transaction_timeout{
        this,
        "limits.transaction_timeout",
        0ms,
        between(0ms, 24h),
        reload_class::live,
        "How long a transaction may last; then what runs is cancelled, and the connection ends with 25P04, "
        "as by "
        "PostgreSQL's transaction_timeout. A COMMIT is let finish. 0: no limit."};
    setting<byte_size> result_size{
        this,
        "limits.result_size",
        byte_size{0},
        between(byte_size{0}, gib(1024)),
        reload_class::live,
        "How much the answer to one request (a simple Query, or all up to a Sync) may be; then it is "
        "cancelled, and "
        "ends with 53400. It is looked at as often as the server is read, so some more may come through: "
        "what is "
        "complete by then is no error. 0: no limit."};
    setting<limit_rule_list> rules{
        this,
        "limits.rules",
        {},
        reload_class::live,
        "Other limits for certain users, databases, addresses (also as 10.0.0.0/8, or local) and "
        "application_names. For each kind of limit, and for each `per`, the first rule that fits and speaks "
        "of "
        "it decides; then the settings above. `per` says what is counted by itself (together: all that the "
        "rule "
        "fits); left out, it is the one name that the rule gives. query_timeout, idle_transaction_timeout, "
        "transaction_timeout and result_size hold for each client by itself. 0 is no limit."};
    setting<std::uint32_t> table_size{
        this,
        "limits.table_size",
        10'000,
        between(16, 1'000'000),
        reload_class::live,
        "Users, databases, addresses and application_names that are counted one by one. When there are more "
        "at "
        "one time, the further ones of a limit are counted together, as one."};
    setting<std::uint32_t> client_prepared_statements{
        this,
        "limits.client_prepared_statements",
        10'000,
        between(1, 1'000'000),
        reload_class::live,
        "Named prepared statements of one client; one more is refused with 54000."};
    setting<byte_size> held_message{
        this,
        "limits.held_message",
        mib(1),
        between(kib(16), gib(1)),
        reload_class::live,
        "Longest message that is held whole, where one has to be. Others are streamed and may be of any "
        "size."};
    setting<std::uint32_t> owed_replies{
        this,
        "limits.owed_replies",
        65'536,
        between(16, 16'777'216),
        reload_class::live,
        "Replies one client's pipeline may be waiting for; beyond it, the client is not read any further."};
    setting<std::uint32_t> statement_cache{
        this,
        "limits.statement_cache",
        10'000,
        between(16, 10'000'000),
        reload_class::restart,
        "Texts of statements whose properties are remembered by a worker."};
    setting<byte_size> classify_text{
        this,
        "limits.classify_text",
        kib(64),
        between(kib(1), mib(16)),
        reload_class::live,
        "Longest statement whose text is looked at; a longer one is treated with all caution."};
};

}  // namespace pgmend::config
