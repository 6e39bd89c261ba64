#pragma once
// Names of servers to addresses, off the workers: resolved on the control thread's io_context, again at
// intervals; one failed lookup keeps what was known. Workers read under a lock held for a copy.

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "config/upstreams.hpp"
#include "pool/socket_stream.hpp"

namespace pgmend::proxy {

class address_resolver final : public pool::address_book {
public:
    address_resolver(boost::asio::io_context& control, const config::server_list& servers);

    std::vector<pool::socket_address> lookup(const pool::endpoint& to) override;
    /// The servers are others now: names that are new are resolved at once, those that are gone no more.
    void replace(const config::server_list& servers);
    /// Begins to resolve; the control thread must run.
    void start();
    void stop();
    /// What names stand for, each `host` with its addresses, and when they are looked up next.
    std::map<std::string, std::vector<std::string>> names();
    std::chrono::steady_clock::time_point next_look() const { return timer_.expiry(); }
    /// Every name has been asked for once, with whatever outcome.
    bool settled() const noexcept { return asked_.size() >= names_.size(); }

private:
    void resolve_all();
    void resolve(const pool::endpoint& name);
    void plan();

    boost::asio::ip::tcp::resolver resolver_;
    boost::asio::steady_timer timer_;
    std::set<pool::endpoint> names_;
    std::set<pool::endpoint> asked_;  ///< of those, the ones that have been asked for
    bool started_ = false;
    bool stopped_ = false;
    std::mutex mutex_;
    std::map<pool::endpoint, std::vector<pool::socket_address>> known_;
};

}  // namespace pgmend::proxy
