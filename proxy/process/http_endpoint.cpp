#include "proxy/process/http_endpoint.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <list>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "proxy/process/http_stream.hpp"

namespace pgmend::proxy {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

/// Errors as values: a broken connection is no exception here.
constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

constexpr std::string_view plain_text = "text/plain; charset=utf-8";
constexpr std::string_view exposition = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
constexpr auto nothing_else = "default-src 'none'; frame-ancestors 'none'";

struct answer {
    http::status status;
    std::string body;
    std::string content_type = std::string(plain_text);
    std::string_view allowed = "GET, HEAD";
    std::string challenge = {};
    std::string encoding = {};
    std::string content_policy = {};
    http_pieces pieces = {};
};

answer health(const health_answer& what) {
    return {what.ok ? http::status::ok : http::status::service_unavailable, what.reason + "\n"};
}

/// What anybody may ask: an orchestrator has no password.
bool is_open(std::string_view path) {
    return path == "/metrics" || path == "/startup" || path == "/live" || path == "/ready";
}

/// For a Job: its application is done, and pgmend, which it runs beside, has no way to know.
answer quit(const http_providers& providers, http::verb method, bool from_here) {
    if (!providers.quit) return {http::status::not_found, "http.quit lets nobody end pgmend.\n"};
    if (method != http::verb::post)
        return {
            http::status::method_not_allowed, "Only POST is understood.\n", std::string(plain_text), "POST"};
    if (!from_here) return {http::status::forbidden, "Only from this machine.\n"};
    providers.quit();
    return {http::status::ok, "draining\n"};
}

/// How much the Accept header likes a type, from 0 to 1; 0 where it does not name it.
double liking_of(std::string_view accept, std::string_view type) {
    double most = 0;
    while (!accept.empty()) {
        const std::size_t end = std::min(accept.find(','), accept.size());
        std::string_view item = accept.substr(0, end);
        accept.remove_prefix(std::min(end + 1, accept.size()));
        item.remove_prefix(std::min(item.find_first_not_of(' '), item.size()));
        if (!item.starts_with(type)) continue;
        const std::size_t mark = item.find("q=");
        const std::string quality(mark == item.npos ? "1" : item.substr(mark + 2));
        most = std::max(most, std::strtod(quality.c_str(), nullptr));
    }
    return most;
}

bool prefers_openmetrics(std::string_view accept) {
    const double wish = liking_of(accept, "application/openmetrics-text");
    return wish > 0 && wish >= liking_of(accept, "text/plain");
}

answer dispatch(const http_providers& providers, http::verb method, const http_request& request) {
    const std::string_view path = request.path;
    if (path == "/quit") return quit(providers, method, asked_from_here(request));
    if (!is_open(path))
        return {
            http::status::not_found,
            "Here are the dashboard (/), /metrics, /startup, /live, /ready, /health, /health/check and "
            "/api.\n"};
    if (method != http::verb::get && method != http::verb::head) {
        return {http::status::method_not_allowed, "Only GET and HEAD are understood.\n"};
    }
    try {
        if (path == "/metrics" && prefers_openmetrics(request.accept))
            return {http::status::ok, providers.openmetrics(), std::string(openmetrics)};
        if (path == "/metrics") return {http::status::ok, providers.metrics(), std::string(exposition)};
        if (path == "/startup") return health(providers.startup());
        return health(path == "/live" ? providers.live() : providers.ready());
    } catch (const std::exception& failure) {
        return {http::status::internal_server_error, std::string(failure.what()) + "\n"};
    }
}

http::response<http::string_body> response_of(
    answer from, unsigned version, bool keep_alive, bool with_body
) {
    http::response<http::string_body> response(from.status, version);
    response.set(http::field::content_type, from.content_type);
    response.set(http::field::cache_control, "no-store");
    if (from.status == http::status::method_not_allowed) response.set(http::field::allow, from.allowed);
    if (!from.challenge.empty()) response.set(http::field::www_authenticate, from.challenge);
    if (!from.encoding.empty()) response.set(http::field::content_encoding, from.encoding);
    // Nothing of ours is to be shown inside of another page, or taken for something else than it says it is.
    response.set("Content-Security-Policy", from.content_policy.empty() ? nothing_else : from.content_policy);
    response.set("X-Content-Type-Options", "nosniff");
    response.set("X-Frame-Options", "DENY");
    response.set("Referrer-Policy", "no-referrer");
    response.keep_alive(keep_alive);
    // Without a length, what follows ends with the connection.
    if (!from.pieces || !with_body) response.content_length(from.body.size());
    if (with_body) response.body() = std::move(from.body);
    return response;
}

/// What to say about a request that could not be read; `unknown` when there is nobody left to say it to.
http::status refusal_of(error_code error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return http::status::request_header_fields_too_large;
    }
    const bool malformed = error.category() == make_error_code(http::error::bad_method).category();
    const bool gone = error == http::error::end_of_stream || error == http::error::partial_message;
    return malformed && !gone ? http::status::bad_request : http::status::unknown;
}

/// The usual address of loopback, also where IPv4 comes by an IPv6 socket. Its other ones are what proxies of
/// a pod's network hand on requests from elsewhere by.
bool from_this_machine(const tcp::endpoint& peer) {
    const auto address = peer.address();
    if (address.is_v6() && !address.to_v6().is_v4_mapped()) return address.is_loopback();
    const auto v4 =
        address.is_v4() ? address.to_v4() : asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
    return v4 == asio::ip::address_v4::loopback();
}

/// Another proxy has put in that it hands this request on.
bool handed_on(const http::request<http::empty_body>& request) {
    static constexpr std::array<std::string_view, 6> marks{
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"};
    return std::ranges::any_of(marks, [&request](std::string_view mark) {
        return request.find({mark.data(), mark.size()}) != request.end();
    });
}

std::string header_of(const http::request<http::empty_body>& request, http::field field) {
    const auto text = request[field];
    return {text.data(), text.size()};
}

std::string header_of(const http::request<http::empty_body>& request, std::string_view name) {
    const auto text = request[name];
    return {text.data(), text.size()};
}

http_request plain_request(
    const http::request<http::empty_body>& request, const tcp::endpoint& peer, bool known
) {
    const std::string target(request.target().data(), request.target().size());
    http_request plain;
    const std::size_t mark = std::min(target.find('?'), target.size());
    plain.path = target.substr(0, mark);
    if (mark < target.size()) plain.query = target.substr(mark + 1);
    plain.post = request.method() == http::verb::post;
    plain.from_here = known && from_this_machine(peer) && !handed_on(request);
    plain.peer = peer.address().to_string();
    plain.authorization = header_of(request, http::field::authorization);
    plain.host = header_of(request, http::field::host);
    plain.origin = header_of(request, http::field::origin);
    plain.fetch_site = header_of(request, "Sec-Fetch-Site");
    plain.fetch_dest = header_of(request, "Sec-Fetch-Dest");
    plain.accept = header_of(request, http::field::accept);
    plain.accept_encoding = header_of(request, http::field::accept_encoding);
    plain.last_event_id = header_of(request, "Last-Event-ID");
    plain.intended = request.find("X-Pgmend-Command") != request.end();
    return plain;
}

/// An answer that is on its way, and whoever waits for it.
struct expected_answer {
    explicit expected_answer(asio::io_context& control) : timer(control) {}
    asio::steady_timer timer;
    std::optional<http_reply> reply;
};

/// The address family is missing on this machine, or the address is: no reason to fail while another one
/// works.
bool address_missing(error_code error) {
    return error == asio::error::address_family_not_supported ||
           error == boost::system::errc::address_not_available;
}

error_code listen_on(tcp::acceptor& acceptor, const tcp::endpoint& where, bool only_v6) {
    error_code error;
    acceptor.open(where.protocol(), error);
    if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && only_v6 && where.address().is_v6()) acceptor.set_option(asio::ip::v6_only(true), error);
    if (!error) acceptor.bind(where, error);
    if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
    return error;
}

}  // namespace

/// Lives as long as a coroutine of it does, so that these may outlive the endpoint by a turn of the loop.
class http_endpoint::service : public std::enable_shared_from_this<service> {
public:
    service(asio::io_context& control, http_providers providers, http_limits limits)
        : control_(control), providers_(std::move(providers)), limits_(limits) {}

    error_code open(const std::string& host, std::uint16_t port, const std::vector<int>& inherited);
    std::vector<int> descriptors();
    std::uint16_t port() const noexcept { return port_; }
    void stop() noexcept;

private:
    using stream_place = std::list<beast::tcp_stream>::iterator;

    error_code find_and_listen(const std::string& host, std::uint16_t port);
    error_code listen_on_all(std::vector<tcp::endpoint> places);
    error_code adopt(const std::vector<int>& inherited);
    static asio::awaitable<void> accept(std::shared_ptr<service> self, tcp::acceptor* acceptor);
    static asio::awaitable<void> serve(std::shared_ptr<service> self, stream_place place);
    asio::awaitable<void> converse(beast::tcp_stream* stream);
    asio::awaitable<bool> exchange(beast::tcp_stream* stream, beast::flat_buffer* buffer);
    asio::awaitable<answer> ask(const http::request<http::empty_body>* request, beast::tcp_stream* stream);
    asio::awaitable<void> say_goodbye(beast::tcp_stream* stream);

    asio::io_context& control_;
    const http_providers providers_;
    const http_limits limits_;
    bool stopped_ = false;
    std::uint16_t port_ = 0;
    std::list<tcp::acceptor> acceptors_;
    std::list<beast::tcp_stream> streams_;
};

error_code http_endpoint::service::open(
    const std::string& host, std::uint16_t port, const std::vector<int>& inherited
) {
    const error_code error = inherited.empty() ? find_and_listen(host, port) : adopt(inherited);
    if (error) {
        acceptors_.clear();
        port_ = 0;
        return error;
    }
    for (tcp::acceptor& acceptor : acceptors_) {
        asio::co_spawn(control_, accept(shared_from_this(), &acceptor), asio::detached);
    }
    return {};
}

error_code http_endpoint::service::adopt(const std::vector<int>& inherited) {
    error_code error;
    for (const int descriptor : inherited) {
        sockaddr_storage address{};
        socklen_t length = sizeof address;
        ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
        const auto protocol = address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4();
        acceptors_.emplace_back(control_).assign(protocol, descriptor, error);
        if (error) return error;
        port_ = acceptors_.back().local_endpoint(error).port();
    }
    return error;
}

std::vector<int> http_endpoint::service::descriptors() {
    std::vector<int> result;
    for (tcp::acceptor& acceptor : acceptors_)
        result.push_back(acceptor.native_handle());
    return result;
}

error_code http_endpoint::service::find_and_listen(const std::string& host, std::uint16_t port) {
    error_code error;
    tcp::resolver resolver(control_);
    const auto found = resolver.resolve(
        host == "*" ? std::string() : host, std::to_string(port),
        tcp::resolver::passive | tcp::resolver::numeric_service, error
    );
    if (error) return error;
    std::vector<tcp::endpoint> places;
    for (const auto& each : found) {
        if (std::ranges::find(places, each.endpoint()) == places.end()) places.push_back(each.endpoint());
    }
    return listen_on_all(std::move(places));
}

error_code http_endpoint::service::listen_on_all(std::vector<tcp::endpoint> places) {
    error_code missing = asio::error::host_not_found;
    const bool several = places.size() > 1;
    for (tcp::endpoint& place : places) {
        // With port 0 the first address chooses, and the others follow it.
        if (place.port() == 0) place.port(port_);
        tcp::acceptor& acceptor = acceptors_.emplace_back(control_);
        error_code error = listen_on(acceptor, place, several);
        if (!error) port_ = acceptor.local_endpoint(error).port();
        if (!error) continue;
        acceptors_.pop_back();
        if (!address_missing(error)) return error;
        missing = error;
    }
    return acceptors_.empty() ? missing : error_code();
}

void http_endpoint::service::stop() noexcept {
    stopped_ = true;
    error_code ignored;
    for (tcp::acceptor& acceptor : acceptors_)
        acceptor.close(ignored);
    for (beast::tcp_stream& stream : streams_)
        stream.close();
}

asio::awaitable<void> http_endpoint::service::accept(std::shared_ptr<service> self, tcp::acceptor* acceptor) {
    while (!self->stopped_) {
        auto [error, socket] = co_await acceptor->async_accept(as_result);
        if (self->stopped_) break;
        if (error) {
            // Mostly no descriptor is left: the connection stays in the kernel's queue, so it is tried again.
            asio::steady_timer pause(self->control_, std::chrono::milliseconds(100));
            co_await pause.async_wait(as_result);
        } else if (self->streams_.size() < self->limits_.connections) {
            const auto place = self->streams_.emplace(self->streams_.end(), std::move(socket));
            asio::co_spawn(self->control_, serve(self, place), asio::detached);
        }
    }
}

asio::awaitable<void> http_endpoint::service::serve(std::shared_ptr<service> self, stream_place place) {
    const auto forget = [&self, place](void*) { self->streams_.erase(place); };
    const std::unique_ptr<void, decltype(forget)> guard(&*place, forget);
    co_await self->converse(&*place);
}

asio::awaitable<void> http_endpoint::service::converse(beast::tcp_stream* stream) {
    beast::flat_buffer buffer(limits_.request_bytes);
    bool more = true;
    while (more && !stopped_)
        more = co_await exchange(stream, &buffer);
    if (!stopped_) co_await say_goodbye(stream);
}

/// One request and its answer. False when the connection is to be closed.
asio::awaitable<bool> http_endpoint::service::exchange(
    beast::tcp_stream* stream, beast::flat_buffer* buffer
) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.request_bytes));
    stream->expires_after(limits_.deadline);
    const auto read = co_await http::async_read_header(*stream, *buffer, parser, as_result);
    const error_code failed = std::get<0>(read);

    http::response<http::string_body> response;
    http_pieces pieces;
    if (failed) {
        const http::status status = refusal_of(failed);
        if (status == http::status::unknown) co_return false;
        answer refused{status, failed.message() + "\n"};
        response = response_of(std::move(refused), 11, false, true);
    } else {
        const auto& request = parser.get();
        // A body is not read, so nothing after it can be either.
        const bool keep_alive = request.keep_alive() && parser.is_done();
        answer given = co_await ask(&request, stream);
        const bool with_body = request.method() != http::verb::head;
        if (with_body) pieces = given.pieces;
        response = response_of(std::move(given), request.version(), keep_alive && !pieces, with_body);
    }
    stream->expires_after(limits_.deadline);
    const auto written = co_await http::async_write(*stream, response, as_result);
    if (!std::get<0>(written) && pieces)
        co_await write_pieces(control_, stream, std::move(pieces), limits_.deadline);
    co_return !std::get<0>(written) && response.keep_alive();
}

asio::awaitable<answer> http_endpoint::service::ask(
    const http::request<http::empty_body>* request, beast::tcp_stream* stream
) {
    error_code unknown;
    const auto peer = stream->socket().remote_endpoint(unknown);
    const http_request plain = plain_request(*request, peer, !unknown);
    const http::verb method = request->method();
    const bool understood = method == http::verb::get || method == http::verb::head || plain.post;
    if (providers_.others && understood && !is_open(plain.path) && plain.path != "/quit") {
        const auto waiting = std::make_shared<expected_answer>(control_);
        waiting->timer.expires_after(limits_.deadline);
        // Who is to answer may hold this longer than there is a loop to wait on.
        const bool taken = providers_.others(plain, [wanted = std::weak_ptr(waiting)](http_reply reply) {
            const auto still_wanted = wanted.lock();
            if (!still_wanted) return;
            still_wanted->reply = std::move(reply);
            still_wanted->timer.cancel();
        });
        if (taken) {
            if (!waiting->reply) co_await waiting->timer.async_wait(as_result);
            answer late{http::status::service_unavailable, "No answer in time.\n"};
            if (!waiting->reply) co_return late;
            answer given{static_cast<http::status>(waiting->reply->status), std::move(waiting->reply->body)};
            given.content_type = waiting->reply->content_type;
            given.challenge = waiting->reply->challenge;
            given.encoding = waiting->reply->encoding;
            given.content_policy = waiting->reply->content_policy;
            given.pieces = std::move(waiting->reply->pieces);
            co_return given;
        }
    }
    co_return dispatch(providers_, method, plain);
}

/// Closes in order: what the client still sends is taken for a while, or the reset it would cause could
/// overtake the answer.
asio::awaitable<void> http_endpoint::service::say_goodbye(beast::tcp_stream* stream) {
    error_code ignored;
    stream->socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream->expires_after(limits_.deadline);
    std::array<char, 4096> unwanted;
    for (int reads = 0; reads < 64; ++reads) {
        const auto read = co_await stream->async_read_some(asio::buffer(unwanted), as_result);
        if (std::get<0>(read)) break;
    }
}

http_endpoint::http_endpoint(asio::io_context& control, http_providers providers, http_limits limits)
    : service_(std::make_shared<service>(control, std::move(providers), limits)) {}

http_endpoint::~http_endpoint() { stop(); }

boost::system::error_code http_endpoint::open(
    const std::string& host, std::uint16_t port, const std::vector<int>& inherited
) {
    return service_->open(host, port, inherited);
}

std::vector<int> http_endpoint::descriptors() const { return service_->descriptors(); }

std::uint16_t http_endpoint::port() const noexcept { return service_->port(); }

void http_endpoint::stop() noexcept { service_->stop(); }

}  // namespace pgmend::proxy
