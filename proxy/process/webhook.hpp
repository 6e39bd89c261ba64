#pragma once
// Posts JSON to somebody who wants to know: one message at a time, in order, each attempted a bounded number
// of times with growing pauses, while a bounded number waits. Nobody waits for it. Control thread; the server
// owns it.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "config/webhook_address.hpp"

namespace pgmend::proxy {

struct webhook_terms {
    config::duration timeout{};  ///< of one attempt
    std::uint32_t attempts = 1;
    config::duration pause = std::chrono::seconds{1};  ///< after the first one; doubles
};

class webhook {
public:
    /// Messages that wait; the oldest is dropped for one more.
    static constexpr std::size_t most_waiting = 100;

    webhook(
        boost::asio::io_context& control, config::metrics::cells& cells, std::function<webhook_terms()> terms
    );
    webhook(const webhook&) = delete;
    webhook& operator=(const webhook&) = delete;
    ~webhook();

    void post(const config::webhook_address& to, std::string body);
    std::size_t waiting() const noexcept { return waiting_.size(); }

private:
    struct message {
        config::webhook_address to;
        std::string body;
        std::uint32_t attempts = 0;
    };
    struct attempt;

    void next();
    void begin();
    void over(const std::string& problem);

    boost::asio::io_context& control_;
    config::metrics::cells& cells_;
    std::function<webhook_terms()> terms_;
    boost::asio::steady_timer pause_;
    std::deque<message> waiting_;  ///< the first one is under way, if `busy_`
    std::shared_ptr<attempt> attempt_;
    bool busy_ = false;
};

}  // namespace pgmend::proxy
