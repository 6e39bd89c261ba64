#pragma once
// Asks DNS for SRV records when the last answer expires. The system's resolver blocks, so it has a thread of
// its own, which knows nothing but the name; everything else is on the control thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <memory>

#include "health/srv_answer.hpp"
#include "proxy/servers/server_finder.hpp"

namespace pgmend::proxy {

class srv_finder final : public server_finder {
public:
    /// `seed`: of the order among servers of equal priority.
    srv_finder(boost::asio::io_context& control, std::string name, std::uint64_t seed, finder_orders orders);
    ~srv_finder() override;

    void start() override;
    void stop() override;
    void hurry() override;
    bool settled() const noexcept override { return settled_; }

private:
    struct lookup {
        health::srv_answer answer;
        bool failed = false;  ///< nobody answered, or that it cannot be told now
    };
    static lookup ask(const std::string& name);
    void look();
    void took(lookup found);
    void plan(std::chrono::seconds after);

    boost::asio::io_context& control_;
    boost::asio::steady_timer timer_;
    const std::string name_;
    const std::uint64_t seed_;
    finder_orders orders_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    bool asking_ = false;
    bool settled_ = false;
    bool stopped_ = false;
    std::chrono::steady_clock::time_point asked_at_{};
    boost::asio::thread_pool thread_{1};
};

}  // namespace pgmend::proxy
