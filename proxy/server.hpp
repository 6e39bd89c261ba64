#pragma once
// The whole of pgmend in one process: workers, the control plane beside them (signals, HTTP, names), start
// and end. Lives on the main thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <string>
#include <vector>

#include "config/loader.hpp"
#include "config/log.hpp"
#include "config/metrics_registry.hpp"
#include "config/settings.hpp"
#include "health/check_history.hpp"
#include "health/health_monitor.hpp"
#include "proxy/admin/admin_desk.hpp"
#include "proxy/admin/alert_watch.hpp"
#include "proxy/admin/http_api.hpp"
#include "proxy/login/live_files.hpp"
#include "proxy/process/attendant.hpp"
#include "proxy/process/http_endpoint.hpp"
#include "proxy/process/kinship.hpp"
#include "proxy/process/listener.hpp"
#include "proxy/process/liveness.hpp"
#include "proxy/process/memory_guard.hpp"
#include "proxy/process/service_notify.hpp"
#include "proxy/process/takeover.hpp"
#include "proxy/servers/address_resolver.hpp"
#include "proxy/servers/live_servers.hpp"
#include "proxy/servers/wal_readers.hpp"
#include "proxy/worker.hpp"

namespace pgmend::proxy {

/// The word of log.level in the log's own terms.
log::level log_level_of(config::log_level level) noexcept;

class server {
public:
    /// `sources`: where the settings came from, and come from when they are loaded again.
    server(std::shared_ptr<const config::settings> settings, config::load_sources sources);

    /// Opens everything; what is wrong, in words, or empty. Nothing runs before it.
    std::string open();
    /// Serves until a signal ends it: SIGTERM drains, SIGINT and a SIGTERM while draining end at once.
    /// SIGUSR2 starts a successor, hands it the listening sockets and ends with the last client. SIGUSR1
    /// leaves the service to a process that the service manager starts, and ends with the last client as
    /// well.
    void run();

private:
    enum class stage : std::uint8_t {
        serving,
        lingering,  ///< on the way out, but clients are served as before
        deaf,       ///< no further client comes in, those that are here are left to themselves
        draining,   ///< clients are closed at safe points
        ending,
    };

    /// How long nobody must have been here for lingering to be over where no new clients can come.
    static constexpr std::chrono::milliseconds quiet_when_deaf{1000};

    void watch_servers();
    std::unique_ptr<health::libpq_link> link_for_wal(const pool::endpoint& where);
    wal_port port_of_wal();
    std::vector<wal_access> wal_accesses();
    void adopt_servers(const health::roster_snapshot& roster);
    void wait_for_first_look();
    void connect(worker_options& options);
    void spread(const live_facts& facts);
    void announce() const;
    void wait_for_signal();
    void on_signal(int signal);
    void linger(std::chrono::milliseconds limit, std::chrono::milliseconds quiet);
    void drain_when_empty(int looks_left);
    void drain();
    void stop_accepting();
    std::vector<std::string> reload();
    void take_over();
    void hand_over(const takeover::outcome& outcome);
    void leave();
    bool hand_to_manager();
    void leave_when_deaf();
    void heed_follower(bool kept);
    std::vector<std::string> set(const std::string& key, const std::string& value);
    std::vector<std::string> take_settings(config::reload_result result);
    void complete(admin_facts& facts);
    void note_settings(std::string_view outcome, const std::vector<std::string>& lines);
    void end();
    void wait_until_quiet();
    bool close_when_deaf();
    health_answer live();
    health_answer ready() const;
    http_providers providers();
    api_sources sources_of_api();
    alert_sources sources_of_alerts();

    std::shared_ptr<const config::settings> settings_;
    const config::load_sources sources_;
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
    config::cgroup_limits cgroup_;
    memory_guard memory_;
    service_notify manager_;
    takeover takeover_;
    kinship kin_;
    boost::asio::steady_timer leaving_{control_};
    int looks_until_empty_ = 0;   ///< in a row that have to find nobody before lingering is over
    bool leave_next_ = false;     ///< asked to leave while a successor was on its way
    bool follower_kept_ = false;  ///< the manager has what a successor was given to know this process by
    int predecessor_ = -1;        ///< a pipe to the process whose sockets we inherited, until we serve
    std::shared_ptr<life_signs> life_;
    std::shared_ptr<spare_counts> spare_;
    std::shared_ptr<health::standby_positions> positions_;
    std::unique_ptr<live_servers> servers_;
    health::roster_snapshot roster_;  ///< as the monitor has it
    std::unique_ptr<health::health_monitor> monitor_;
    wal_readers wal_;
    std::vector<std::unique_ptr<worker>> workers_;
    std::vector<std::shared_ptr<const config::metrics::cells>> cells_;  ///< of each worker
    admin_desk desk_;
    health::check_history checks_;
    http_api api_;
    alert_watch alerts_;
    bool started_ = false;  ///< clients are let in
    liveness liveness_{std::chrono::seconds{5}};
    std::uint64_t descriptor_limit_ = 0;
    stage stage_ = stage::serving;
};

}  // namespace pgmend::proxy
