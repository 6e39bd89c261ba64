#include "proxy/servers/patroni_finder.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <algorithm>

#include "config/log.hpp"
#include "health/patroni_answer.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr auto soonest = std::chrono::seconds{1};
constexpr auto after_failure = std::chrono::seconds{3};
constexpr std::uint32_t longest_header = 16 * 1024;

using answer_parser = http::response_parser<http::string_body>;

template <class Stream>
asio::awaitable<boost::system::error_code> converse(
    Stream& stream, http::request<http::empty_body>& request, answer_parser& parser
) {
    const auto [not_written, sent] = co_await http::async_write(stream, request, as_result);
    if (not_written) co_return not_written;
    beast::flat_buffer buffer{longest_header + 65536};
    const auto [not_read, size] = co_await http::async_read(stream, buffer, parser, as_result);
    co_return not_read;
}

}  // namespace

/// One question: what has to be ended when its time is over.
struct patroni_finder::exchange {
    exchange(asio::io_context& control, asio::ssl::context& tls)
        : resolver(control), deadline(control), stream(control, tls) {
        parser.body_limit(health::longest_patroni_answer);
        parser.header_limit(longest_header);
    }
    void end() {
        resolver.cancel();
        beast::get_lowest_layer(stream).cancel();
    }
    asio::ip::tcp::resolver resolver;
    asio::steady_timer deadline;
    asio::ssl::stream<beast::tcp_stream> stream;
    answer_parser parser;
    bool late = false;
};

patroni_finder::patroni_finder(
    asio::io_context& control, const config::patroni_settings& settings, finder_orders orders
)
    : control_(control),
      tls_(asio::ssl::context::tls_client),
      timer_(control),
      urls_(settings.urls()),
      interval_(settings.interval()),
      timeout_(settings.timeout()),
      max_lag_(settings.max_lag().bytes),
      orders_(std::move(orders)) {
    boost::system::error_code error;
    tls_.set_verify_mode(asio::ssl::verify_peer, error);
    tls_.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1, error);
    if (settings.ca().empty()) {
        tls_.set_default_verify_paths(error);
    } else {
        tls_.load_verify_file(settings.ca(), error);
    }
    // Without authorities no certificate will do, and each question says so.
    if (error) log::error("patroni_authorities", {{"file", settings.ca()}, {"reason", error.message()}});
}

void patroni_finder::start() { asio::co_spawn(control_, run(), asio::detached); }

void patroni_finder::stop() {
    stopped_ = true;
    timer_.cancel();
    if (*current_) (*current_)->end();
}

void patroni_finder::hurry() {
    if (!settled_ || stopped_ || *current_) return;
    const auto earliest = asked_at_ + soonest;
    if (timer_.expiry() > earliest) timer_.expires_at(std::max(earliest, steady_now()));
}

asio::awaitable<void> patroni_finder::run() {
    while (!stopped_) {
        asked_at_ = steady_now();
        co_await ask_all();
        settled_ = true;
        const std::chrono::milliseconds pause =
            answered_ ? interval_ : std::min<std::chrono::milliseconds>(interval_, after_failure);
        timer_.expires_after(pause);
        // One that is moved up is cancelled, and waited for anew.
        while (!stopped_ && steady_now() < timer_.expiry())
            co_await timer_.async_wait(as_result);
    }
}

asio::awaitable<void> patroni_finder::ask_all() {
    std::string problems;
    bool failed = true;
    answered_ = false;
    for (std::size_t i = 0; i < urls_.size() && !stopped_; ++i) {
        const std::size_t which = (last_good_ + i) % urls_.size();
        fetched found = co_await fetch(urls_[which]);
        if (stopped_) co_return;
        if (found.problem.empty()) {
            health::patroni_answer answer = health::read_patroni_answer(found.body, max_lag_);
            if (answer.problem.empty()) {
                last_good_ = which;
                answered_ = true;
                orders_.named(answer.servers);
                co_return;
            }
            found.problem = "what it answers " + answer.problem;
            found.failed = false;
        }
        failed = failed && found.failed;
        problems +=
            (problems.empty() ? "" : "; ") + config::print_api_url(urls_[which]) + ": " + found.problem;
    }
    orders_.kept(failed, problems);
}

/// Resolves, connects and asks, until the exchange is ended.
asio::awaitable<boost::system::error_code> patroni_finder::ask(
    std::shared_ptr<exchange> mine, config::api_url url
) {
    const std::string port = std::to_string(url.port);
    const auto [not_resolved, addresses] = co_await mine->resolver.async_resolve(url.host, port, as_result);
    if (not_resolved) co_return not_resolved;
    if (mine->late || stopped_) co_return asio::error::operation_aborted;
    auto& socket = beast::get_lowest_layer(mine->stream);
    const auto [not_connected, reached] = co_await socket.async_connect(addresses, as_result);
    if (not_connected) co_return not_connected;
    http::request<http::empty_body> request{http::verb::get, url.path + "/cluster", 11};
    request.set(http::field::host, url.host + ":" + port);
    request.set(http::field::user_agent, "pgmend");
    request.set(http::field::accept, "application/json");
    request.set(http::field::connection, "close");
    if (!url.tls) co_return co_await converse(socket, request, mine->parser);
    // What the macro SSL_set_tlsext_host_name does, by a cast of our own.
    ::SSL_ctrl(
        mine->stream.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, url.host.data()
    );
    boost::system::error_code error;
    mine->stream.set_verify_callback(asio::ssl::host_name_verification(url.host), error);
    if (error) co_return error;
    const auto [not_shaken] =
        co_await mine->stream.async_handshake(asio::ssl::stream_base::client, as_result);
    if (not_shaken) co_return not_shaken;
    co_return co_await converse(mine->stream, request, mine->parser);
}

asio::awaitable<patroni_finder::fetched> patroni_finder::fetch(config::api_url url) {
    const auto mine = std::make_shared<exchange>(control_, tls_);
    const std::shared_ptr<std::shared_ptr<exchange>> held = current_;
    *held = mine;
    mine->deadline.expires_after(timeout_);
    mine->deadline.async_wait([mine](const boost::system::error_code& error) {
        if (error) return;
        mine->late = true;
        mine->end();
    });
    const boost::system::error_code error = co_await ask(mine, url);
    held->reset();
    mine->deadline.cancel();
    boost::system::error_code ignored;
    beast::get_lowest_layer(mine->stream).socket().close(ignored);
    fetched result;
    if (error == http::error::body_limit || error == http::error::header_limit ||
        error == http::error::buffer_overflow) {
        result.failed = false;
        result.problem = "what it answers is too long";
    } else if (error) {
        result.problem = mine->late ? "no answer in time" : error.message();
    } else if (mine->parser.get().result() != http::status::ok) {
        result.problem = "answers with status " + std::to_string(mine->parser.get().result_int());
    } else {
        result.body = std::move(mine->parser.get().body());
    }
    co_return result;
}

}  // namespace pgmend::proxy
