#pragma once
// The servers there are, where they may become others while we run: has whoever names them asked
// (server_finder), keeps the directory, and tells when it has changed. Where the configuration alone names
// them it does nothing. Control thread; owned by the server.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>

#include "config/metrics.hpp"
#include "config/settings.hpp"
#include "health/server_directory.hpp"
#include "health/topology.hpp"
#include "proxy/servers/address_resolver.hpp"
#include "proxy/servers/server_finder.hpp"

namespace pgmend::proxy {

class live_servers {
public:
    /// `changed` is called with each new roster, and `look` when every server should be looked at at once,
    /// both from the control thread's loop. `seed`: of the order among
    /// servers that are named as equals.
    live_servers(
        boost::asio::io_context& control, const config::settings& settings, config::metrics::cells& metrics,
        address_resolver& names, std::uint64_t seed,
        std::function<void(const health::roster_snapshot&)> changed, std::function<void()> look
    );

    const health::roster_snapshot& roster() const noexcept { return directory_.roster(); }
    /// How many places there can ever be.
    std::size_t most_places() const noexcept;
    void start();
    void stop();
    /// Nothing more is to be known of who the servers are without waiting.
    bool settled() const noexcept { return !finder_ || finder_->settled(); }
    /// The monitor has a new picture.
    void pictured(health::topology_snapshot picture);
    void look_now() {
        if (finder_) finder_->hurry();
    }

private:
    void named(const health::named_list& servers);
    void kept(bool failed, const std::string& why);
    void look_after();
    void adopt();
    void count();

    const config::metrics::server_source source_;
    const std::string asked_;  ///< who names the servers, for people
    config::metrics::cells& metrics_;
    address_resolver& names_;
    std::function<void(const health::roster_snapshot&)> changed_;
    std::function<void()> look_;
    health::server_directory directory_;
    std::unique_ptr<server_finder> finder_;
    boost::asio::steady_timer timer_;
    health::topology_snapshot picture_;
    std::string last_problem_;
    bool stopped_ = false;
};

}  // namespace pgmend::proxy
