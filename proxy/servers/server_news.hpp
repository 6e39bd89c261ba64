#pragma once
// What the ledger hears of the servers: who is the primary, who is down, fenced or back, and whom lists name.
// Compares each picture with the one before. Pure; one thread.

#include <optional>
#include <vector>

#include "config/settings.hpp"
#include "health/topology.hpp"
#include "proxy/session/healing_ledger.hpp"

namespace pgmend::proxy {

class server_news {
public:
    explicit server_news(healing_ledger& ledger) : ledger_(ledger) {}

    /// `picture` is the latest one, at the time `now`; the settings name the servers where it does not.
    void tell(
        const health::topology_snapshot& picture, const config::settings& settings, config::time_point now
    );

private:
    struct known_node {
        health::node_condition condition = health::node_condition::unknown;  ///< up or down, as last told
        config::time_point since{};                                          ///< in that condition
        bool fenced = false;
    };
    void tell_of_lists(const health::topology_snapshot& picture, config::time_point now);
    void tell_of_primary(
        const health::topology_snapshot& picture, const config::settings& settings, config::time_point now
    );
    void tell_of_condition(std::size_t node, const health::node_view& seen, healing_event act);
    void tell_of_role(
        std::size_t node, const health::topology& picture, const std::string& primary, healing_event act
    );

    healing_ledger& ledger_;
    std::optional<std::size_t> primary_;  ///< as last told
    std::string last_primary_;            ///< its name, and that of the one before where there is none now
    std::uint32_t last_timeline_ = 0;     ///< of the cluster, when that was told
    config::time_point lost_at_{};
    std::vector<known_node> nodes_;
    health::roster_snapshot told_servers_;
};

}  // namespace pgmend::proxy
