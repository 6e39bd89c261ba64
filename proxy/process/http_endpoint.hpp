#pragma once
// What an orchestrator and Prometheus ask of pgmend: GET /metrics, /startup, /live and /ready, which are open
// to everybody; other paths are given on. A small HTTP/1.1 server on the control thread: a slow scrape
// disturbs no query.

#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/process/http_exchange.hpp"

namespace boost::asio {
class io_context;
}

namespace pgmend::proxy {

/// `ok` is answered with 200, else with 503; `reason` is the body, one line for people.
struct health_answer {
    bool ok;
    std::string reason;
};

/// Where the answers come from; called on the control thread for every request. One that throws is a 500.
struct http_providers {
    std::function<std::string()> metrics;      ///< Prometheus' text format 0.0.4
    std::function<std::string()> openmetrics;  ///< the same as OpenMetrics 1.0.0
    std::function<health_answer()> startup;    ///< clients are let in; never waits for a server
    std::function<health_answer()> live;   ///< every worker's loop turned lately; never depends on a server
    std::function<health_answer()> ready;  ///< clients should be sent here; not while draining
    std::function<void()> quit;            ///< POST /quit from this machine; empty: it is not there
    /// Any other path. Answers later, or is false when it knows no such path; empty: there are no others.
    std::function<bool(const http_request&, http_answer)> others;
};

struct http_limits {
    std::size_t connections = 64;      ///< further ones are closed at once
    std::size_t request_bytes = 8192;  ///< request line and header together; beyond it 431
    std::chrono::milliseconds deadline =
        std::chrono::seconds(10);  ///< to send a request, and to take an answer
};

/// Owned by the server. Every call belongs to the control thread, or to a time when it does not run.
class http_endpoint {
public:
    http_endpoint(boost::asio::io_context& control, http_providers providers, http_limits limits = {});
    /// Stops. The io_context must still exist.
    ~http_endpoint();
    http_endpoint(const http_endpoint&) = delete;
    http_endpoint& operator=(const http_endpoint&) = delete;

    /// Listens on every address of `host`: an address, a name (resolved here, which may block: for start-up),
    /// or "" and "*" for all addresses. Port 0 lets the system choose. Once. After an error nothing listens.
    /// Sockets inherited from another process take the place of the address.
    [[nodiscard]] boost::system::error_code open(
        const std::string& host, std::uint16_t port, const std::vector<int>& inherited = {}
    );
    /// The listening descriptors, for a successor; they stay ours.
    std::vector<int> descriptors() const;
    /// The port listened on; 0 before open() has succeeded.
    std::uint16_t port() const noexcept;
    /// Closes listeners and connections; their coroutines end with the next turn of the io_context.
    /// Idempotent.
    void stop() noexcept;

private:
    class service;
    std::shared_ptr<service> service_;
};

}  // namespace pgmend::proxy
