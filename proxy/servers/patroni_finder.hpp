#pragma once
// Asks Patroni's REST API which servers there are: one URL after the other, the one that answered last first.
// Each answer is limited in size and time. Control thread.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "config/settings.hpp"
#include "proxy/servers/server_finder.hpp"

namespace pgmend::proxy {

class patroni_finder final : public server_finder {
public:
    patroni_finder(
        boost::asio::io_context& control, const config::patroni_settings& settings, finder_orders orders
    );

    void start() override;
    void stop() override;
    void hurry() override;
    bool settled() const noexcept override { return settled_; }

private:
    /// What became of one question.
    struct fetched {
        std::string body;
        std::string problem;  ///< empty: `body` is what was asked for
        bool failed = true;   ///< of a problem: nothing came that could be judged
    };
    struct exchange;
    boost::asio::awaitable<void> run();
    boost::asio::awaitable<fetched> fetch(config::api_url url);
    boost::asio::awaitable<boost::system::error_code> ask(
        std::shared_ptr<exchange> mine, config::api_url url
    );
    boost::asio::awaitable<void> ask_all();

    boost::asio::io_context& control_;
    boost::asio::ssl::context tls_;
    boost::asio::steady_timer timer_;
    const config::api_url_list urls_;
    const std::chrono::milliseconds interval_;
    const std::chrono::milliseconds timeout_;
    const std::uint64_t max_lag_;
    finder_orders orders_;
    std::size_t last_good_ = 0;
    /// The question under way, or null; outlives us where a coroutine does.
    std::shared_ptr<std::shared_ptr<exchange>> current_ = std::make_shared<std::shared_ptr<exchange>>();
    std::chrono::steady_clock::time_point asked_at_{};
    bool answered_ = false;  ///< the last round found a good answer
    bool settled_ = false;
    bool stopped_ = false;
};

}  // namespace pgmend::proxy
