#pragma once
// Watches the servers of one cluster: a coroutine for each looks at it when watch_plan says so, and what
// changes is handed to whoever subscribes (the workers) as an immutable picture. Servers may come and go. It
// decides nothing itself. Control thread; owned by the server.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/metrics.hpp"
#include "health/prober.hpp"
#include "health/watch_plan.hpp"

namespace pgmend::health {

struct monitor_options {
    watch_limits limits;
    config::duration timeout = std::chrono::seconds{1};
    config::time_point (*clock)() = nullptr;
    std::function<std::unique_ptr<prober>(const config::server_address&)> make_prober;
    /// When any worker last heard from the server; the beginning of time when none has.
    std::function<config::time_point(std::size_t node)> last_heard;
    std::function<void(topology_snapshot)> publish;
    /// A check has ended; may be empty.
    std::function<void(std::size_t node, const observation&)> observed;
};

class health_monitor {
public:
    health_monitor(
        boost::asio::io_context& control, config::metrics::cells& metrics, roster_snapshot servers,
        monitor_options options
    );
    health_monitor(const health_monitor&) = delete;
    health_monitor& operator=(const health_monitor&) = delete;

    /// Begins to watch. Once.
    void start();
    /// No further look; the coroutines end by themselves.
    void stop();
    /// The servers as they are named now.
    void adopt(roster_snapshot servers);
    /// A worker met something: a look follows at once.
    void traffic(std::size_t node, traffic_evidence what);
    /// Somebody wants to know: a look at every server follows at once.
    void look_now();
    /// As of the latest checks; workers are told only of what matters to them.
    topology_snapshot picture() const { return std::make_shared<const topology>(plan_.picture()); }

private:
    /// What looks at a place; its coroutine holds on to it, and ends when it has been retired.
    struct watch {
        std::string name;  ///< for logs
        std::unique_ptr<prober> probe;
        boost::asio::steady_timer timer;
        bool retired = false;
    };
    std::shared_ptr<watch> make_watch(const known_server& server);
    void begin(std::size_t node);
    boost::asio::awaitable<void> run(std::shared_ptr<watch> mine, std::size_t node);
    void took_step(std::size_t node, const watch_step& step, std::string_view cause);
    void publish();
    void tell_of_primary(const topology& before, const topology& now) const;

    boost::asio::io_context& control_;
    config::metrics::cells& metrics_;
    monitor_options options_;
    watch_plan plan_;
    std::vector<std::shared_ptr<watch>> watches_;  ///< by place; retired ones stay for their names
    topology_snapshot published_;
    bool started_ = false;
    bool stopped_ = false;
};

}  // namespace pgmend::health
