#pragma once
// What stands between the simulated clients and the simulated PostgreSQL. The proxy is one; nothing at all is
// another, which proves the simulator itself; a relay with planted bugs is a third, which proves the oracles.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/sim_network.hpp"
#include "tests/sim/wire.hpp"

namespace pgmend::sim {

/// What a subject is built from. All of it outlives the subject.
struct subject_setup {
    sim_environment& env;
    sim_network& network;
    pool::endpoint server;
    link_traits client_links;        ///< for the listener of the subject
    std::size_t server_connections;  ///< how many it may open
    std::uint64_t seed;              ///< for what it draws by itself
    std::optional<pool::endpoint> standby = {};
    std::vector<name_value> settings = {};  ///< of the configuration, besides the number of connections
    /// Whether the WAL of the present primary has the record that says this.
    std::function<bool(const std::string& token)> has_record = {};
};

/// One server of several, as health checks have it.
struct seen_server {
    bool down = false;
    bool primary = false;
};

/// How far one server has come, as one health check has it.
struct seen_position {
    std::size_t server = 0;  ///< in the order of the setup
    bool primary = false;
    std::uint64_t lsn = 0;
    std::uint32_t timeline = 0;
    time_point asked_at{};
};

class subject {
public:
    subject() = default;
    subject(const subject&) = delete;
    subject& operator=(const subject&) = delete;
    virtual ~subject() = default;

    /// Where clients connect. The subject listens there since it was made (`link_group::client`).
    virtual pool::endpoint client_endpoint() const = 0;
    /// Whether the limit of server connections is its to keep.
    virtual bool keeps_budget() const { return true; }
    /// Connections it may have besides: pgmend's that listens for all clients.
    virtual std::size_t beyond_budget() const { return 0; }
    /// The configuration was written anew: `settings` are all that are set by now.
    virtual void reload(const std::vector<name_value>&) {}
    /// Its process gets SIGTERM, and another one takes the clients that come; it has so long for those it
    /// has.
    virtual void hand_over(duration) {}
    /// Health checks have come to know this of the servers, in the order of the setup.
    virtual void servers_seen(const std::vector<seen_server>&, std::uint32_t) {}
    /// A health check has told how far a server has come.
    virtual void position_seen(const seen_position&) {}
    /// It goes to the primary of several servers.
    virtual bool follows_primary() const { return false; }
    /// All clients have left. Begins to stop: afterwards no stream and no timer of it may be left.
    virtual void stop() = 0;
    /// After `stop`: leases, sessions and whatever else it still counts, a line each. Empty when all is well.
    virtual std::vector<std::string> leftovers() const { return {}; }
    /// What of its rare branches it has reached, in its own words.
    virtual std::vector<std::string> marks() const { return {}; }
    /// Before `stop`, when every client has left: what of them it still counts.
    virtual std::vector<std::string> clients_remaining() const { return {}; }
};

using subject_factory = std::function<std::unique_ptr<subject>(const subject_setup&)>;

/// Clients speak to PostgreSQL itself.
std::unique_ptr<subject> make_direct_subject(const subject_setup& setup);

}  // namespace pgmend::sim
