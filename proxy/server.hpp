#pragma once
// The whole of pgmend in one process: workers, the control plane beside them (signals, HTTP, names), start
// and end. Lives on the main thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <vector>

#include "config/metrics_registry.hpp"
#include "config/settings.hpp"
#include "health/health_monitor.hpp"
#include "proxy/address_resolver.hpp"
#include "proxy/admin_desk.hpp"
#include "proxy/http_endpoint.hpp"
#include "proxy/listener.hpp"
#include "proxy/live_files.hpp"
#include "proxy/worker.hpp"

namespace pgmend::proxy {

class server {
public:
    explicit server(std::shared_ptr<const config::settings> settings);

    /// Opens everything; what is wrong, in words, or empty. Nothing runs before it.
    std::string open();
    /// Serves until a signal ends it: SIGTERM drains, SIGINT and a second SIGTERM end at once.
    void run();

private:
    enum class stage : std::uint8_t {
        serving,
        deaf,      ///< no further client comes in, those that are here are left to themselves
        draining,  ///< clients are closed at safe points
        ending,
    };

    void watch_servers();
    void wait_for_first_look();
    void spread(const live_facts& facts);
    void announce() const;
    void wait_for_signal();
    void on_signal(int signal);
    void drain();
    void stop_accepting();
    std::vector<std::string> reload();
    void end();
    void wait_until_quiet();
    health_answer live();
    health_answer ready() const;

    std::shared_ptr<const config::settings> settings_;
    boost::asio::io_context control_;
    config::metrics_registry metrics_;
    address_resolver addresses_;
    http_endpoint http_;
    boost::asio::signal_set signals_;
    boost::asio::steady_timer deadline_;
    boost::asio::steady_timer poll_;
    live_files files_;
    listener listener_;
    std::shared_ptr<config::metrics::cells> health_cells_ = std::make_shared<config::metrics::cells>();
    std::shared_ptr<life_signs> life_;
    std::unique_ptr<health::health_monitor> monitor_;
    std::vector<std::unique_ptr<worker>> workers_;
    admin_desk desk_;
    std::vector<std::uint64_t> turns_seen_;
    std::chrono::steady_clock::time_point turns_at_{};
    std::uint64_t descriptor_limit_ = 0;
    stage stage_ = stage::serving;
};

}  // namespace pgmend::proxy
