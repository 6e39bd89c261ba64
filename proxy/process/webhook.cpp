#include "proxy/process/webhook.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <algorithm>
#include <optional>

#include "config/log.hpp"

namespace pgmend::proxy {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using metrics::notice_end;

namespace {

constexpr config::duration longest_pause = std::chrono::minutes{1};
constexpr std::uint64_t most_answer = 64 * 1024;  // bytes of what it answers, which nobody reads

}  // namespace

/// One attempt to deliver one message. It lives as long as something of it is under way; `done` is called
/// once, unless it was given up before.
struct webhook::attempt : std::enable_shared_from_this<webhook::attempt> {
    attempt(asio::io_context& control, const message& what, std::function<void(const std::string&)> when_done)
        : resolver(control), stream(control), deadline(control), done(std::move(when_done)) {
        request.method(http::verb::post);
        request.target(what.to.target);
        request.version(11);
        request.set(http::field::host, what.to.authority());
        request.set(http::field::user_agent, "pgmend");
        request.set(http::field::content_type, "application/json");
        request.set(http::field::connection, "close");
        request.body() = what.body;
        request.prepare_payload();
        response.body_limit(most_answer);
    }

    void start(const config::webhook_address& to, config::duration timeout) {
        deadline.expires_after(timeout);
        deadline.async_wait([self = shared_from_this()](const error_code& error) {
            if (!error) self->end("it did not answer in time");
        });
        resolver.async_resolve(
            to.host, to.port,
            [self = shared_from_this()](const error_code& error, const auto& found) {
                if (error) return self->end(error.message());
                if (self->done == nullptr) return;
                self->stream.async_connect(found, [self](const error_code& failed, const auto&) {
                    if (failed) return self->end(failed.message());
                    self->send();
                });
            }
        );
    }
    void send() {
        if (done == nullptr) return;
        http::async_write(stream, request, [self = shared_from_this()](const error_code& error, std::size_t) {
            if (error) return self->end(error.message());
            http::async_read(
                self->stream, self->buffer, self->response,
                [self](const error_code& failed, std::size_t) {
                    if (failed) return self->end(failed.message());
                    const unsigned status = self->response.get().result_int();
                    const bool taken = status >= 200 && status < 300;
                    self->end(taken ? std::string() : "it answered " + std::to_string(status));
                }
            );
        });
    }
    /// Without a problem it is delivered.
    void end(const std::string& problem) {
        const auto tell = std::exchange(done, nullptr);
        give_up();
        if (tell) tell(problem);
    }
    void give_up() {
        done = nullptr;
        deadline.cancel();
        resolver.cancel();
        error_code ignored;
        stream.socket().close(ignored);
    }

    asio::ip::tcp::resolver resolver;
    beast::tcp_stream stream;
    asio::steady_timer deadline;
    http::request<http::string_body> request;
    http::response_parser<http::string_body> response;
    beast::flat_buffer buffer{most_answer};
    std::function<void(const std::string&)> done;
};

webhook::webhook(
    asio::io_context& control, config::metrics::cells& cells, std::function<webhook_terms()> terms
)
    : control_(control), cells_(cells), terms_(std::move(terms)), pause_(control) {}

webhook::~webhook() {
    if (attempt_) attempt_->give_up();
}

void webhook::post(const config::webhook_address& to, std::string body) {
    if (waiting_.size() >= most_waiting) {
        // Not the one that is under way.
        waiting_.erase(waiting_.begin() + (busy_ ? 1 : 0));
        cells_.alert_notices.add(notice_end::dropped);
        log::warning("alert_dropped", {{"waiting", waiting_.size()}});
    }
    waiting_.push_back({to, std::move(body)});
    next();
}

void webhook::next() {
    if (busy_ || waiting_.empty()) return;
    busy_ = true;
    begin();
}

void webhook::begin() {
    message& what = waiting_.front();
    ++what.attempts;
    attempt_ =
        std::make_shared<attempt>(control_, what, [this](const std::string& problem) { over(problem); });
    attempt_->start(what.to, terms_().timeout);
}

void webhook::over(const std::string& problem) {
    attempt_.reset();
    const message& what = waiting_.front();
    const webhook_terms terms = terms_();
    if (!problem.empty()) cells_.alert_notices.add(notice_end::failed);
    if (!problem.empty() && what.attempts < terms.attempts) {
        const auto doublings = std::min<std::uint32_t>(what.attempts - 1, 16);
        pause_.expires_after(std::min<config::duration>(terms.pause * (1U << doublings), longest_pause));
        pause_.async_wait([this](const error_code& error) {
            if (!error) begin();
        });
        return;
    }
    cells_.alert_notices.add(problem.empty() ? notice_end::delivered : notice_end::given_up);
    if (!problem.empty()) {
        log::error(
            "alert_undelivered",
            {{"to", what.to.authority()}, {"reason", problem}, {"attempts", std::uint64_t{what.attempts}}}
        );
    }
    waiting_.pop_front();
    busy_ = false;
    next();
}

}  // namespace pgmend::proxy
