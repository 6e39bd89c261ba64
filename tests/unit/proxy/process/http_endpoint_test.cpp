// The http endpoint over real sockets on loopback. The endpoint runs on a thread of its own; the test is a
// blocking client with a limit on how long it waits, so that a lost answer fails instead of hanging.
#include "proxy/process/http_endpoint.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace asio = boost::asio;
using namespace pgmend::proxy;
using namespace std::chrono_literals;

namespace {

std::atomic<bool> alive{true};

http_providers providers() {
    return {
        .metrics = [] { return std::string("# TYPE x counter\nx 1\n"); },
        .openmetrics = [] { return std::string("# EOF\n"); },
        .startup =
            [] {
                return health_answer{true, "started"};
            },
        .live =
            [] {
                return health_answer{alive, alive ? "alive" : "worker 0 has not turned for 7 s"};
            },
        .ready =
            [] {
                return health_answer{false, "draining"};
            },
    };
}

/// An endpoint on an ephemeral port, served until the end of the test. Its end proves that stop() ends every
/// coroutine, because run() returns only then.
class served {
public:
    explicit served(
        http_limits limits = {}, const std::string& host = "127.0.0.1", http_providers from = providers()
    )
        : endpoint_(control_, std::move(from), limits),
          error(endpoint_.open(host, 0)),
          port(endpoint_.port()) {
        thread_ = std::thread([this] { control_.run(); });
    }
    ~served() { stop(); }
    served(const served&) = delete;
    served& operator=(const served&) = delete;

    void stop() {
        if (!thread_.joinable()) return;
        asio::post(control_, [this] { endpoint_.stop(); });
        thread_.join();
    }

private:
    asio::io_context control_;
    http_endpoint endpoint_;
    std::thread thread_;

public:
    const boost::system::error_code error;
    const std::uint16_t port;
};

struct reply {
    std::string head;
    std::string body;
    bool is(std::string_view status) const {
        return head.starts_with("HTTP/1.1 " + std::string(status) + " ");
    }
    bool has(std::string_view line) const {
        return head.find("\r\n" + std::string(line) + "\r\n") != head.npos;
    }
};

class client {
public:
    explicit client(std::uint16_t port, bool v6 = false)
        : socket_(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0)) {
        const timeval patience{10, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(port);
        six.sin6_addr = in6addr_loopback;
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_port = htons(port);
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const void* where = v6 ? static_cast<const void*>(&six) : &four;
        connected =
            ::connect(socket_, static_cast<const sockaddr*>(where), v6 ? sizeof six : sizeof four) == 0;
    }
    ~client() { ::close(socket_); }
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    void send(std::string_view bytes) const { ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

    /// One answer; with_body says whether the length it promises follows. Empty when the connection ended.
    reply receive(bool with_body = true) {
        std::size_t end = 0;
        while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
            if (!read_more()) return {};
        }
        reply out{pending_.substr(0, end + 4), ""};
        pending_.erase(0, end + 4);
        const std::size_t field = out.head.find("Content-Length: ");
        const std::size_t length = field == std::string::npos ? 0 : std::stoul(out.head.substr(field + 16));
        while (with_body && pending_.size() < length && read_more()) {
        }
        if (with_body) {
            out.body = pending_.substr(0, length);
            pending_.erase(0, length);
        }
        return out;
    }
    reply ask(std::string_view request) {
        send(request);
        return receive();
    }
    /// What comes until the connection ends.
    std::string rest() {
        while (read_more()) {
        }
        return std::exchange(pending_, {});
    }
    /// Whether the connection ends, by close or reset, with nothing further sent.
    bool ends() { return pending_.empty() && !read_more() && !timed_out_; }
    /// Whether it ends by close: a reset could have overtaken the answer.
    bool ends_in_order() { return ends() && !failed_; }

    bool connected = false;

private:
    bool read_more() {
        char bytes[4096];
        const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
        failed_ = got < 0;
        timed_out_ = failed_ && errno == EAGAIN;
        if (got > 0) pending_.append(bytes, static_cast<std::size_t>(got));
        return got > 0;
    }

    int socket_;
    bool timed_out_ = false;
    bool failed_ = false;
    std::string pending_;
};

std::string get(std::string_view path, std::string_view method = "GET", std::string_view more = "") {
    return std::string(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: x\r\n").append(more) +
           "\r\n";
}

}  // namespace

TEST_CASE("http_endpoint: /metrics answers with the exposition", "[proxy]") {
    const served server;
    REQUIRE_FALSE(server.error);
    client one(server.port);
    const reply got = one.ask(get("/metrics"));
    CHECK(got.is("200"));
    CHECK(got.has("Content-Type: text/plain; version=0.0.4; charset=utf-8"));
    CHECK(got.body == "# TYPE x counter\nx 1\n");
}

TEST_CASE("http_endpoint: /metrics is OpenMetrics for who likes that at least as well", "[proxy]") {
    const served server;
    REQUIRE_FALSE(server.error);
    client one(server.port);
    const auto type_for = [&one](const std::string& accept) {
        const reply got = one.ask(get("/metrics", "GET", "Accept: " + accept + "\r\n"));
        const bool open = got.has("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8");
        CHECK(got.body == (open ? "# EOF\n" : "# TYPE x counter\nx 1\n"));
        return std::string(open ? "openmetrics" : "text");
    };
    CHECK(
        type_for(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ) == "openmetrics"
    );
    CHECK(type_for("text/plain; version=0.0.4, application/openmetrics-text; q=0.4") == "text");
    CHECK(type_for("text/plain;q=0.3, application/openmetrics-text;q=0.4") == "openmetrics");
    CHECK(type_for("application/openmetrics-text;q=0") == "text");
    CHECK(type_for("*/*") == "text");
}

TEST_CASE("http_endpoint: /live and /ready say what their providers say", "[proxy]") {
    const served server;
    client one(server.port);
    const reply live = one.ask(get("/live"));
    CHECK(live.is("200"));
    CHECK(live.body == "alive\n");
    const reply ready = one.ask(get("/ready?verbose=1"));
    CHECK(ready.is("503"));
    CHECK(ready.body == "draining\n");
    alive = false;
    const reply dead = one.ask(get("/live"));
    alive = true;
    CHECK(dead.is("503"));
    CHECK(dead.body == "worker 0 has not turned for 7 s\n");
}

TEST_CASE("http_endpoint: other paths are not found and other methods not allowed", "[proxy]") {
    const served server;
    client one(server.port);
    CHECK(one.ask(get("/")).is("404"));
    CHECK(one.ask(get("/metrics/")).is("404"));
    const reply refused = one.ask(get("/metrics", "DELETE"));
    CHECK(refused.is("405"));
    CHECK(refused.has("Allow: GET, HEAD"));
    CHECK(one.ask(get("/live")).is("200"));  // and the connection goes on
}

TEST_CASE("http_endpoint: a request with a body is answered and its connection closed", "[proxy]") {
    const served server;
    client one(server.port);
    const reply refused =
        one.ask(get("/metrics", "POST", "Content-Length: 20000\r\n") + std::string(20'000, 'b'));
    CHECK(refused.is("405"));
    CHECK(refused.has("Connection: close"));
    CHECK(one.ends_in_order());
}

TEST_CASE("http_endpoint: HEAD has the head of GET and no body", "[proxy]") {
    const served server;
    client one(server.port);
    one.send(get("/metrics", "HEAD") + get("/live"));
    const reply head = one.receive(false);
    CHECK(head.is("200"));
    CHECK(head.has("Content-Length: 21"));
    const reply next = one.receive();
    CHECK(next.is("200"));
    CHECK(next.body == "alive\n");
}

TEST_CASE("http_endpoint: pipelined requests are answered in order", "[proxy]") {
    const served server;
    client one(server.port);
    one.send(get("/live") + get("/nothing") + get("/ready"));
    CHECK(one.receive().is("200"));
    CHECK(one.receive().is("404"));
    CHECK(one.receive().is("503"));
}

TEST_CASE("http_endpoint: a request may come byte by byte", "[proxy]") {
    const served server;
    client one(server.port);
    for (const char c : get("/live"))
        one.send({&c, 1});
    CHECK(one.receive().body == "alive\n");
}

TEST_CASE(
    "http_endpoint: the connection is closed when the client wants it so or is of HTTP/1.0", "[proxy]"
) {
    const served server;
    client asked(server.port);
    CHECK(asked.ask(get("/live", "GET", "Connection: close\r\n")).has("Connection: close"));
    CHECK(asked.ends());
    client old(server.port);
    CHECK(old.ask("GET /live HTTP/1.0\r\n\r\n").body == "alive\n");
    CHECK(old.ends());
}

TEST_CASE("http_endpoint: a request beyond the limit is refused and its connection closed", "[proxy]") {
    const served server;
    client one(server.port);
    const reply refused = one.ask(get("/live", "GET", "X-Long: " + std::string(20'000, 'x') + "\r\n"));
    CHECK(refused.is("431"));
    CHECK(one.ends_in_order());
    client fits(server.port);
    CHECK(fits.ask(get("/live", "GET", "X-Long: " + std::string(8'000, 'x') + "\r\n")).is("200"));
}

TEST_CASE("http_endpoint: what is not HTTP is refused", "[proxy]") {
    const served server;
    client one(server.port);
    CHECK(one.ask("\x16\x03\x01 this is TLS\r\n\r\n").is("400"));
    CHECK(one.ends());
    client two(server.port);
    CHECK(two.ask("GET /live HTTP/9.9\r\n\r\n").is("400"));
    CHECK(two.ends());
}

TEST_CASE("http_endpoint: a request that does not come to its end is cut off", "[proxy]") {
    const served server({.deadline = 50ms});
    client silent(server.port);
    CHECK(silent.ends());
    client slow(server.port);
    slow.send("GET /live HTTP/1.1\r\nHo");
    CHECK(slow.ends());
}

TEST_CASE(
    "http_endpoint: connections above the limit are closed, and served again when one has left", "[proxy]"
) {
    const served server({.connections = 2});
    auto first = std::make_unique<client>(server.port);
    client second(server.port);
    CHECK(first->ask(get("/live")).is("200"));
    CHECK(second.ask(get("/live")).is("200"));
    client third(server.port);
    third.send(get("/live"));
    CHECK(third.ends());
    first.reset();
    bool again = false;
    const auto patience = std::chrono::steady_clock::now() + 10s;
    while (!again && std::chrono::steady_clock::now() < patience) {
        client fourth(server.port);
        again = fourth.ask(get("/live")).is("200");
    }
    CHECK(again);
    CHECK(second.ask(get("/live")).is("200"));
}

TEST_CASE("http_endpoint: a provider that throws is an error of the server, not its end", "[proxy]") {
    http_providers broken = providers();
    broken.metrics = []() -> std::string { throw std::runtime_error("no memory for it"); };
    const served server({}, "127.0.0.1", broken);
    client one(server.port);
    const reply failed = one.ask(get("/metrics"));
    CHECK(failed.is("500"));
    CHECK(failed.body == "no memory for it\n");
    CHECK(one.ask(get("/live")).is("200"));
}

TEST_CASE("http_endpoint: a large answer arrives whole", "[proxy]") {
    http_providers large = providers();
    large.metrics = [] { return std::string(8 << 20, 'm'); };
    const served server({}, "127.0.0.1", large);
    client one(server.port);
    CHECK(one.ask(get("/metrics")).body.size() == 8 << 20);
}

TEST_CASE("http_endpoint: a client that leaves in the middle of an answer disturbs nobody", "[proxy]") {
    http_providers large = providers();
    large.metrics = [] { return std::string(8 << 20, 'm'); };
    const served server({}, "127.0.0.1", large);
    for (int i = 0; i < 5; ++i) {
        client leaving(server.port);
        leaving.send(get("/metrics") + get("/metrics"));
    }
    client one(server.port);
    CHECK(one.ask(get("/live")).is("200"));
}

TEST_CASE("http_endpoint: stopping closes idle connections and the port", "[proxy]") {
    served server;
    client idle(server.port);
    CHECK(idle.ask(get("/live")).is("200"));
    server.stop();
    CHECK(idle.ends());
    CHECK_FALSE(client(server.port).connected);
}

TEST_CASE("http_endpoint: names, all addresses and IPv6 can be listened on", "[proxy]") {
    const served named({}, "localhost");
    REQUIRE_FALSE(named.error);
    CHECK(client(named.port).ask(get("/live")).is("200"));
    const served everywhere({}, "*");
    REQUIRE_FALSE(everywhere.error);
    CHECK(client(everywhere.port).ask(get("/live")).is("200"));
    const served six({}, "::1");
    if (six.error) {
        WARN("no IPv6 on this machine: " << six.error.message());
    } else {
        CHECK(client(six.port, true).ask(get("/live")).is("200"));
        CHECK(client(everywhere.port, true).ask(get("/live")).is("200"));
    }
}

TEST_CASE("http_endpoint: what prevents listening is told to the caller", "[proxy]") {
    const served server;
    asio::io_context control;
    http_endpoint second(control, providers());
    CHECK(second.open("127.0.0.1", server.port) == boost::system::errc::address_in_use);
    CHECK(second.port() == 0);
    http_endpoint foreign(control, providers());
    CHECK(foreign.open("192.0.2.1", 0) == boost::system::errc::address_not_available);
    http_endpoint unknown(control, providers());
    CHECK(unknown.open(std::string(64, 'x'), 0).failed());  // too long for a name: nobody is asked
    CHECK(control.poll() == 0);
}

TEST_CASE("http_endpoint: when one of several addresses is taken, nothing is left listening", "[proxy]") {
    const served six({}, "::1");
    if (six.error) return;  // without IPv6 there is one address only
    asio::io_context control;
    http_endpoint everywhere(control, providers());
    CHECK(everywhere.open("*", six.port) == boost::system::errc::address_in_use);
    CHECK(everywhere.port() == 0);
    CHECK_FALSE(client(six.port).connected);
}

TEST_CASE("http_endpoint: it may go before its coroutines have begun, and they before the loop", "[proxy]") {
    asio::io_context control;
    {
        http_endpoint endpoint(control, providers());
        REQUIRE_FALSE(endpoint.open("127.0.0.1", 0));
    }
    const auto endpoint = std::make_unique<http_endpoint>(control, providers());
    REQUIRE_FALSE(endpoint->open("127.0.0.1", 0));
    control.poll();
    client one(endpoint->port());
    one.send(get("/live"));
    control.poll();
}

TEST_CASE("http: other paths are given on, and are answered when their answer has come", "[proxy]") {
    http_providers wider = providers();
    std::vector<http_answer> waiting;
    std::atomic<bool> arrived{false};
    wider.others = [&waiting, &arrived](const http_request& request, http_answer answer) {
        if (request.path == "/later") {
            waiting.push_back(std::move(answer));
            arrived = true;
        } else if (request.path == "/release") {
            for (const http_answer& each : waiting)
                each({200, request.query, "application/json"});
            answer({401, "{}", "application/json", "Basic realm=x"});
        } else {
            return false;
        }
        return request.from_here;
    };
    served endpoint{{}, "127.0.0.1", std::move(wider)};
    REQUIRE(!endpoint.error);
    client late{endpoint.port};
    late.send(get("/later"));
    while (!arrived)
        std::this_thread::yield();
    client other{endpoint.port};
    CHECK(other.ask(get("/startup")).is("200"));
    CHECK(other.ask(get("/nowhere")).is("404"));
    const reply refused = other.ask(get("/release?a=b"));
    CHECK(refused.is("401"));
    CHECK(refused.head.find("WWW-Authenticate: Basic realm=x") != std::string::npos);
    const reply answered = late.receive();
    CHECK(answered.is("200"));
    CHECK(answered.body == "a=b");
    CHECK(answered.head.find("application/json") != std::string::npos);
}

TEST_CASE("http: an answer that does not come is a 503", "[proxy]") {
    http_providers silent = providers();
    silent.others = [](const http_request&, const http_answer&) { return true; };
    http_limits limits;
    limits.deadline = std::chrono::milliseconds{200};
    served endpoint{limits, "127.0.0.1", std::move(silent)};
    client one{endpoint.port};
    CHECK(one.ask(get("/api/pools")).is("503"));
}

TEST_CASE("http: an answer that goes on is written piece by piece, until there is none", "[proxy]") {
    http_providers wider = providers();
    int asked = 0;
    wider.others = [&asked](const http_request& request, const http_answer& answer) {
        http_reply reply;
        reply.content_type = "text/event-stream";
        reply.pieces = [&asked, last = request.last_event_id](http_piece_taker taker) {
            ++asked;
            if (asked < 4) return taker(std::to_string(asked) + last);
            taker(std::nullopt);
        };
        answer(std::move(reply));
        return true;
    };
    served endpoint{{}, "127.0.0.1", std::move(wider)};
    client one{endpoint.port};
    const reply head = one.ask(get("/x", "HEAD", "Last-Event-ID: y\r\n"));
    CHECK(head.has("Content-Length: 0"));
    one.send(get("/x", "GET", "Last-Event-ID: y\r\n"));
    const reply first = one.receive(false);
    CHECK(first.is("200"));
    CHECK(first.has("Connection: close"));
    CHECK(first.head.find("Content-Length") == std::string::npos);
    CHECK(one.rest() == "1y2y3y");
    CHECK(asked == 4);
}

TEST_CASE(
    "http: nobody is asked for pieces when the listener is gone, and what they hold is let go", "[proxy]"
) {
    http_providers wider = providers();
    const auto held = std::make_shared<int>(0);
    std::atomic<int> asked{0};
    std::vector<http_piece_taker> takers;
    wider.others = [&, held = std::weak_ptr(held)](const http_request&, const http_answer& answer) {
        http_reply reply;
        reply.pieces = [&, holds = held.lock()](http_piece_taker taker) {
            takers.push_back(std::move(taker));
            ++asked;
        };
        answer(std::move(reply));
        return true;
    };
    served endpoint{{}, "127.0.0.1", std::move(wider)};
    {
        client one{endpoint.port};
        one.send(get("/x"));
        while (asked == 0)
            std::this_thread::yield();
        CHECK(held.use_count() > 1);
    }
    while (held.use_count() > 1)
        std::this_thread::yield();
    // Who brings a piece after all brings it to nobody.
    takers.front()("late");
    CHECK(asked == 1);
    client waiting{endpoint.port};
    waiting.send(get("/x"));
    while (asked == 1)
        std::this_thread::yield();
    endpoint.stop();
}

TEST_CASE("http: whoever does not take a piece is let go", "[proxy]") {
    http_providers wider = providers();
    std::atomic<bool> over{false};
    wider.others = [&over](const http_request&, const http_answer& answer) {
        http_reply reply;
        const std::shared_ptr<void> holds(nullptr, [&over](void*) { over = true; });
        reply.pieces = [holds, block = std::string(1 << 20, 'x')](const http_piece_taker& taker) {
            taker(block);
        };
        answer(std::move(reply));
        return true;
    };
    http_limits limits;
    limits.deadline = std::chrono::milliseconds{200};
    served endpoint{limits, "127.0.0.1", std::move(wider)};
    client one{endpoint.port};
    one.send(get("/x"));
    while (!over)
        std::this_thread::yield();
    endpoint.stop();
}
