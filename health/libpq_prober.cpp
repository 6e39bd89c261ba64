#include "health/libpq_prober.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <string_view>

namespace pgmend::health {

namespace asio = boost::asio;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

/// One row: recovery, read-only, identity, timeline, position, lag in milliseconds, start, free connections.
/// A CASE evaluates only the branch it takes, so functions that fail on the other kind of server are not
/// called there. Workers of the server that serve a database are counted as connections, though they take
/// none.
constexpr const char* full_question =
    "SELECT r, current_setting('transaction_read_only'),"
    " (SELECT system_identifier FROM pg_control_system()),"
    " CASE WHEN r THEN (SELECT timeline_id FROM pg_control_checkpoint())"
    " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,"
    " CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0'::pg_lsn,"
    " CASE WHEN NOT r OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 ELSE"
    " coalesce(round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000), 0) END,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
    " greatest(0, current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    " - coalesce(current_setting('reserved_connections', true), '0')::int"
    " - (SELECT sum(numbackends) FROM pg_stat_database))"
    " FROM pg_is_in_recovery() AS r";
constexpr const char* plain_question =
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), 0, 0, 0, 0, 0, NULL";

std::uint64_t number(const PGresult* row, int column) {
    const std::string_view text = PQgetvalue(row, 0, column);
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

/// libpq keeps no SQLSTATE of a failed login; asked to be verbose, it prints one behind the severity, which
/// may be in any language: `FATAL:  57P03: …`.
std::string_view sqlstate_in(std::string_view message) {
    constexpr std::string_view mark = ":  ";
    for (auto at = message.find(mark); at != std::string_view::npos; at = message.find(mark, at + 1)) {
        const std::string_view rest = message.substr(at + mark.size());
        const bool code =
            rest.size() > 6 && rest[5] == ':' && std::all_of(rest.begin(), rest.begin() + 5, [](char c) {
                return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
            });
        if (code) return rest.substr(0, 5);
    }
    return {};
}

/// libpq's socket, lent to Asio for a wait: given back, never closed, also when the coroutine is destroyed.
struct lent_socket {
    lent_socket(asio::io_context& control, int socket) : descriptor(control, socket) {}
    lent_socket(const lent_socket&) = delete;
    lent_socket& operator=(const lent_socket&) = delete;
    ~lent_socket() {
        if (descriptor.is_open()) descriptor.release();
    }
    asio::posix::stream_descriptor descriptor;
};

std::string first_line(const char* message) {
    const std::string_view text = message == nullptr ? "" : message;
    return std::string{text.substr(0, text.find('\n'))};
}

}  // namespace

void libpq_prober::finish::operator()(pg_conn* connection) const noexcept { PQfinish(connection); }

libpq_prober::libpq_prober(
    asio::io_context& control, probe_parameters parameters, address_source addresses, clock_source clock,
    secret_source secrets
)
    : control_(control),
      deadline_(control),
      parameters_(std::move(parameters)),
      addresses_(std::move(addresses)),
      clock_(clock),
      secrets_(std::move(secrets)) {}

libpq_prober::~libpq_prober() = default;

void libpq_prober::drop() noexcept { connection_.reset(); }

/// Parks until libpq's socket is ready; false when the time for the probe is over.
asio::awaitable<bool> libpq_prober::wait(direction what) {
    const int socket = PQsocket(connection_.get());
    if (socket < 0) co_return true;  // libpq knows what is wrong
    lent_socket lent{control_, socket};
    // The deadline's handler may still be queued when the wait is over: it must not touch `lent` then.
    auto over = std::make_shared<bool>(false);
    auto timed_out = std::make_shared<bool>(false);
    deadline_.async_wait([over, timed_out, &lent](const boost::system::error_code& error) {
        if (error || *over) return;
        *timed_out = true;
        boost::system::error_code ignored;
        lent.descriptor.cancel(ignored);
    });
    const auto kind = what == direction::read ? asio::posix::stream_descriptor::wait_read
                                              : asio::posix::stream_descriptor::wait_write;
    co_await lent.descriptor.async_wait(kind, as_result);
    *over = true;
    lent.descriptor.release();
    co_return !*timed_out;
}

observation libpq_prober::failure(std::string_view sqlstate) const {
    observation seen;
    const char* words = PQerrorMessage(connection_.get());
    seen.message = first_line(words);
    if (sqlstate.empty()) sqlstate = sqlstate_in(words == nullptr ? "" : words);
    const std::string_view text = seen.message;
    const auto says = [text](std::string_view what) { return text.find(what) != std::string_view::npos; };
    // It asks for what we do not have, or do not send: it lives.
    const bool ours = PQconnectionNeedsPassword(connection_.get()) == 1 || says("no password supplied") ||
                      says("channel binding required");
    if (ours) {
        seen.result = probe_result::rejected;
        seen.message += "; no password of the user of health checks (health.user) that libpq may send";
    } else if (sqlstate.starts_with("57P0")) {
        seen.result = probe_result::starting;
    } else if (sqlstate == "53300") {
        seen.result = probe_result::full;
    } else if (!sqlstate.empty()) {
        seen.result = probe_result::rejected;  // whatever else it says, it lives
    } else if (says("Connection refused") || says("No such file") || says("No route to host") || says("is unreachable")) {
        seen.result = probe_result::refused;
    }
    return seen;
}

asio::awaitable<observation> libpq_prober::connect() {
    probe_parameters given = parameters_;
    observation seen;
    if (addresses_) {
        const auto addresses = addresses_();
        if (addresses.empty()) {
            seen.message = "the host's name has no address";
            co_return seen;
        }
        given.emplace_back("hostaddr", addresses[next_address_++ % addresses.size()]);
    }
    if (secrets_) {
        for (auto& secret : secrets_(refusals_))
            given.push_back(std::move(secret));
    }
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : given) {
        keywords.push_back(keyword.c_str());
        values.push_back(value.c_str());
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);
    connection_.reset(PQconnectStartParams(keywords.data(), values.data(), 0));
    PGconn* connection = connection_.get();
    if (connection == nullptr) co_return seen;
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
    // What a server says beside its answers goes nowhere: standard error is the log's.
    PQsetNoticeProcessor(
        connection, [](void*, const char*) {}, nullptr
    );
    if (PQstatus(connection) == CONNECTION_BAD) co_return failure({});
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        const direction what = next == PGRES_POLLING_READING ? direction::read : direction::write;
        if (!co_await wait(what)) {
            seen.result = probe_result::timeout;
            seen.message = "no answer to the login in time";
            co_return seen;
        }
        next = PQconnectPoll(connection);
    }
    if (next == PGRES_POLLING_FAILED) {
        observation refused = failure({});
        // Another password may do, where there is one.
        if (refused.result == probe_result::rejected) ++refusals_;
        co_return refused;
    }
    PQsetnonblocking(connection, 1);
    next_address_ = next_address_ == 0 ? 0 : next_address_ - 1;  // this one is good
    seen.result = probe_result::ok;
    co_return seen;
}

asio::awaitable<observation> libpq_prober::ask() {
    PGconn* connection = connection_.get();
    observation seen;
    if (PQsendQuery(connection, facts_forbidden_ ? plain_question : full_question) == 0)
        co_return failure({});
    while (PQflush(connection) == 1) {
        if (!co_await wait(direction::write)) {
            seen.result = probe_result::timeout;
            co_return seen;
        }
    }
    while (PQisBusy(connection) == 1) {
        if (!co_await wait(direction::read)) {
            seen.result = probe_result::timeout;
            seen.message = "no answer in time";
            co_return seen;
        }
        if (PQconsumeInput(connection) == 0) co_return failure({});
    }
    const std::unique_ptr<PGresult, decltype(&PQclear)> row{PQgetResult(connection), &PQclear};
    // The end of the query is its null result; it has come with the ReadyForQuery that PQisBusy waited for,
    // or comes before the next question is sent.
    const std::unique_ptr<PGresult, decltype(&PQclear)> rest{PQgetResult(connection), &PQclear};
    if (PQresultStatus(row.get()) == PGRES_TUPLES_OK && PQntuples(row.get()) == 1) {
        seen.result = probe_result::ok;
        seen.facts.in_recovery = *PQgetvalue(row.get(), 0, 0) == 't';
        seen.facts.read_only = std::string_view{PQgetvalue(row.get(), 0, 1)} == "on";
        seen.facts.system_identifier = number(row.get(), 2);
        seen.facts.timeline = static_cast<std::uint32_t>(number(row.get(), 3));
        seen.facts.lsn = number(row.get(), 4);
        seen.facts.lag = std::chrono::milliseconds{number(row.get(), 5)};
        seen.facts.instance = number(row.get(), 6);
        if (PQgetisnull(row.get(), 0, 7) == 0)
            seen.facts.spare_connections = static_cast<std::uint32_t>(number(row.get(), 7));
        co_return seen;
    }
    const char* field = PQresultErrorField(row.get(), PG_DIAG_SQLSTATE);
    const std::string_view code = field == nullptr ? "" : field;
    seen = failure(code);
    const bool forbidden = code == "42501" || code == "42883";
    if (forbidden && !facts_forbidden_) {
        facts_forbidden_ = true;
        co_return co_await ask();
    }
    co_return seen;
}

asio::awaitable<observation> libpq_prober::probe(config::duration timeout) {
    deadline_.expires_after(timeout);
    if (connection_ && PQstatus(connection_.get()) != CONNECTION_OK) drop();
    observation seen;
    seen.result = probe_result::ok;
    if (!connection_) seen = co_await connect();
    if (seen.result == probe_result::ok) {
        const auto begun = clock_();
        seen = co_await ask();
        seen.latency = clock_() - begun;
    }
    deadline_.cancel();
    if (seen.result != probe_result::ok) drop();
    co_return seen;
}

asio::awaitable<bool> libpq_prober::idle(asio::steady_timer& timer) {
    const int socket = connection_ ? PQsocket(connection_.get()) : -1;
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
    if (PQconsumeInput(connection_.get()) != 0 && PQstatus(connection_.get()) == CONNECTION_OK)
        co_return false;
    drop();
    co_return true;
}

}  // namespace pgmend::health
