#include "health/libpq_link.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace pgmend::health {

namespace asio = boost::asio;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

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

std::string first_line(const char* message) {
    const std::string_view text = message == nullptr ? "" : message;
    return std::string{text.substr(0, text.find('\n'))};
}

}  // namespace

lent_socket::lent_socket(asio::io_context& control, int socket) : descriptor(control, socket) {}

lent_socket::~lent_socket() {
    if (descriptor.is_open()) descriptor.release();
}

void libpq_link::finish::operator()(pg_conn* connection) const noexcept { PQfinish(connection); }

void libpq_link::clear_result::operator()(pg_result* result) const noexcept { PQclear(result); }

libpq_link::libpq_link(
    asio::io_context& control, probe_parameters parameters, address_source addresses, secret_source secrets
)
    : control_(control),
      deadline_(control),
      parameters_(std::move(parameters)),
      addresses_(std::move(addresses)),
      secrets_(std::move(secrets)) {}

libpq_link::~libpq_link() = default;

bool libpq_link::usable() const noexcept {
    return connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK;
}

int libpq_link::socket() const noexcept { return connection_ ? PQsocket(connection_.get()) : -1; }

/// Parks until libpq's socket is ready; false when the time for the probe is over.
asio::awaitable<bool> libpq_link::wait(direction what) {
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

observation libpq_link::failure(std::string_view sqlstate) const {
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

asio::awaitable<observation> libpq_link::connect() {
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

/// What has come so far is with libpq; false when nothing more comes.
asio::awaitable<bool> libpq_link::fetch() {
    timed_out_ = !co_await wait(direction::read);
    co_return !timed_out_ && PQconsumeInput(connection_.get()) != 0;
}

asio::awaitable<libpq_link::answer> libpq_link::ask(const char* text) {
    PGconn* connection = connection_.get();
    timed_out_ = false;
    if (PQsendQuery(connection, text) == 0) co_return answer{};
    while (PQflush(connection) == 1) {
        timed_out_ = !co_await wait(direction::write);
        if (timed_out_) co_return answer{};
    }
    while (PQisBusy(connection) == 1) {
        if (!co_await fetch()) co_return answer{};
    }
    answer first{PQgetResult(connection)};
    if (PQresultStatus(first.get()) == PGRES_COPY_BOTH) co_return first;
    // The end of the query is its null result; more comes only of a replication command.
    for (int left = 4; left != 0; --left) {
        while (PQisBusy(connection) == 1) {
            if (!co_await fetch()) co_return answer{};
        }
        const answer rest{PQgetResult(connection)};
        if (rest == nullptr) break;
    }
    co_return first;
}

asio::awaitable<std::optional<std::string>> libpq_link::copied() {
    PGconn* connection = connection_.get();
    timed_out_ = false;
    char* piece = nullptr;
    int length = 0;
    while ((length = PQgetCopyData(connection, &piece, 1)) == 0) {
        if (!co_await fetch()) co_return std::nullopt;
    }
    if (length < 0) co_return std::nullopt;
    const std::unique_ptr<char, decltype(&PQfreemem)> owned{piece, &PQfreemem};
    co_return std::string{piece, static_cast<std::size_t>(length)};
}

}  // namespace pgmend::health
