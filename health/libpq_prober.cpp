#include "health/libpq_prober.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <string_view>

#include "health/standby_positions.hpp"

namespace pgmend::health {

namespace asio = boost::asio;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

/// One row: recovery, read-only, identity, timeline, position, lag in milliseconds, start, free connections,
/// bytes of a page of WAL.
/// A CASE evaluates only the branch it takes, so functions that fail on the other kind of server are not
/// called there. Workers of the server that serve a database are counted as connections, though they take
/// none.
constexpr const char* full_question =
    "SELECT r, current_setting('transaction_read_only'),"
    " (SELECT system_identifier FROM pg_control_system()),"
    " CASE WHEN r THEN (SELECT timeline_id FROM pg_control_checkpoint())"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,"
    " CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn,"
    " CASE WHEN NOT r OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 ELSE"
    " coalesce(round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000), 0) END,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " greatest(0, current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
    " - (SELECT sum(numbackends) FROM pg_stat_database)), current_setting('wal_block_size')"
    " FROM pg_is_in_recovery() AS r";
constexpr const char* plain_question =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), 0, 0, 0, 0, 0, NULL, 0";

std::uint64_t number(const PGresult* row, int column) {
    const std::string_view text = PQgetvalue(row, 0, column);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

libpq_prober::libpq_prober(
    asio::io_context& control, probe_parameters parameters, address_source addresses, clock_source clock,
    secret_source secrets
)
    : control_(control),
      link_(control, std::move(parameters), std::move(addresses), std::move(secrets)),
      clock_(clock) {}

libpq_prober::~libpq_prober() = default;

asio::awaitable<observation> libpq_prober::ask() {
    const char* const question = facts_forbidden_ ? plain_question : full_question;
    const auto row = co_await link_.ask(question);
    observation seen;
    if (row == nullptr) {
        if (!link_.timed_out()) co_return link_.failure({});
        seen.result = probe_result::timeout;
        seen.message = "no answer in time";
        co_return seen;
    }
    if (PQresultStatus(row.get()) == PGRES_TUPLES_OK && PQntuples(row.get()) == 1) {
        seen.result = probe_result::ok;
        seen.facts.in_recovery = *PQgetvalue(row.get(), 0, 0) == 't';
        seen.facts.read_only = std::string_view{PQgetvalue(row.get(), 0, 1)} == "on";
        seen.facts.system_identifier = number(row.get(), 2);
        seen.facts.timeline = static_cast<std::uint32_t>(number(row.get(), 3));
        seen.facts.lsn = end_of_records(number(row.get(), 4), number(row.get(), 8));
        seen.facts.lag = std::chrono::milliseconds{number(row.get(), 5)};
        seen.facts.instance = number(row.get(), 6);
        if (PQgetisnull(row.get(), 0, 7) == 0)
            seen.facts.spare_connections = static_cast<std::uint32_t>(number(row.get(), 7));
        co_return seen;
    }
    const char* field = PQresultErrorField(row.get(), PG_DIAG_SQLSTATE);
    const std::string_view code = field == nullptr ? "" : field;
    seen = link_.failure(code);
    const bool forbidden = code == "42501" || code == "42883";
    if (forbidden && !facts_forbidden_) {
        facts_forbidden_ = true;
        co_return co_await ask();
    }
    co_return seen;
}

asio::awaitable<observation> libpq_prober::probe(config::duration timeout) {
    link_.limit(timeout);
    if (!link_.usable()) link_.drop();
    observation seen;
    seen.result = probe_result::ok;
    if (!link_.usable()) seen = co_await link_.connect();
    if (seen.result == probe_result::ok) {
        const auto begun = clock_();
        seen = co_await ask();
        seen.latency = clock_() - begun;
        seen.asked_at = begun;
    }
    link_.unlimit();
    if (seen.result != probe_result::ok) link_.drop();
    co_return seen;
}

asio::awaitable<bool> libpq_prober::idle(asio::steady_timer& timer) {
    const int socket = link_.socket();
    if (socket < 0) {
        co_await timer.async_wait(as_result);
        co_return false;
    }
    lent_socket lent{control_, socket};
    auto over = std::make_shared<bool>(false);
    auto readable = std::make_shared<bool>(false);
    lent.descriptor.async_wait(
        asio::posix::stream_descriptor::wait_read,
        [over, readable, &timer](const boost::system::error_code& error) {
            if (error || *over) return;
            *readable = true;
            timer.cancel();
        }
    );
    co_await timer.async_wait(as_result);
    *over = true;
    lent.descriptor.release();
    if (!*readable) co_return false;
    if (PQconsumeInput(link_.connection()) != 0 && link_.usable()) co_return false;
    link_.drop();
    co_return true;
}

}  // namespace pgmend::health
