#pragma once
// The simulated network: who listens where, how connections open, and which ones exist. Faults that hit "some
// connection" pick it here. One thread; one a run.

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/sim/sim_link.hpp"

namespace pgmend::sim {

/// Which connections a fault is meant for: those of clients, or those to servers.
enum class link_group : std::uint8_t { client, server };

class sim_network final : public pool::network {
public:
    using acceptor = std::function<void(std::unique_ptr<pool::stream>)>;

    explicit sim_network(sim_environment& env);
    ~sim_network() override;

    std::unique_ptr<pool::stream> connect(const pool::endpoint& to) override;

    /// Connections to `at` are handed to `accept`; `group` and `traits` say what they are and how they
    /// behave.
    void listen(const pool::endpoint& at, link_group group, const link_traits& traits, acceptor accept);
    void stop_listening(const pool::endpoint& at) { listeners_.erase(at); }
    /// Until then, connections to servers are refused.
    void refuse_servers(time_point until) noexcept { refused_until_ = std::max(refused_until_, until); }
    /// Until then, connections to servers neither open nor fail: a host that swallows SYNs. They open
    /// afterwards.
    void hang_servers(time_point until) noexcept { hung_until_ = std::max(hung_until_, until); }

    /// Calls `action` with the link of a group that is the `nth` to be opened, before it carries anything.
    void when_opened(link_group group, std::size_t nth, std::function<void(sim_link&)> action);
    /// What each link of a group that is no more has carried, in the order they were opened.
    std::vector<link_traffic> carried(link_group group) const;

    void shuffle_readiness(bool on) noexcept { ready_.shuffle(on); }
    /// The living links of a group in the order they were opened.
    std::vector<std::shared_ptr<sim_link>> living(link_group group);
    /// Streams of the group held by somebody, on either side.
    std::size_t open_links(link_group group);

private:
    struct listener {
        link_group group;
        link_traits traits;
        acceptor accept;
    };
    struct opening;
    void open(const std::shared_ptr<sim_link>& link, const pool::endpoint& to);
    void forget_dead();

    sim_environment& env_;
    ready_list ready_;
    std::map<pool::endpoint, listener> listeners_;
    struct known_link {
        link_group group;
        std::weak_ptr<sim_link> link;
    };
    std::vector<known_link> links_;
    /// Of one group, what stays of its links.
    struct group_history {
        std::vector<std::shared_ptr<link_traffic>> traffic;
        std::multimap<std::size_t, std::function<void(sim_link&)>> awaited;  ///< by the link's number
    };
    group_history& history(link_group group) { return histories_[static_cast<std::size_t>(group)]; }
    std::array<group_history, 2> histories_;
    std::vector<std::unique_ptr<opening>> openings_;
    std::uint64_t links_made_ = 0;
    time_point refused_until_{};
    time_point hung_until_{};
};

}  // namespace pgmend::sim
