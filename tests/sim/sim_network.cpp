#include "tests/sim/sim_network.hpp"

#include <algorithm>
#include <cerrno>

namespace pgmend::sim {

/// A connection on its way to be opened. The link dies when the opener gives up meanwhile.
struct sim_network::opening {
    opening(sim_network& network, std::shared_ptr<sim_link> link, const pool::endpoint& to)
        : link_(link), timer_(network.env_, [this, &network, to] {
              if (const auto wanted = link_.lock()) network.open(wanted, to);
              over_ = true;
          }) {}
    std::weak_ptr<sim_link> link_;
    bool over_ = false;  ///< its timer has done all its work, so that it may be destroyed
    world_timer timer_;
};

sim_network::sim_network(sim_environment& env) : env_(env), ready_(env) { env.attach(ready_); }

sim_network::~sim_network() = default;

std::unique_ptr<pool::stream> sim_network::connect(const pool::endpoint& to) {
    const auto found = listeners_.find(to);
    const link_traits traits = found == listeners_.end() ? link_traits{} : found->second.traits;
    const link_group group = found == listeners_.end() ? link_group::server : found->second.group;
    auto link = std::make_shared<sim_link>(env_, ready_, ++links_made_, traits);
    forget_dead();
    links_.push_back({group, link});
    auto& past = history(group);
    past.traffic.push_back(link->traffic());
    const auto [first, last] = past.awaited.equal_range(past.traffic.size());
    for (auto awaited = first; awaited != last; ++awaited)
        awaited->second(*link);
    openings_.push_back(std::make_unique<opening>(*this, link, to));
    auto when = env_.now() + traits.latency;
    if (group == link_group::server) when = std::max(when, hung_until_);
    openings_.back()->timer_.at(when);
    return std::make_unique<sim_stream>(std::move(link), end_side::opener);
}

void sim_network::open(const std::shared_ptr<sim_link>& link, const pool::endpoint& to) {
    const auto found = listeners_.find(to);
    const bool refused = found == listeners_.end() ||
                         (found->second.group == link_group::server && env_.now() < refused_until_);
    if (refused) return link->opened(ECONNREFUSED);
    auto accepted = std::make_unique<sim_stream>(link, end_side::acceptor);
    link->opened(0);
    found->second.accept(std::move(accepted));
}

void sim_network::listen(
    const pool::endpoint& at, link_group group, const link_traits& traits, acceptor accept
) {
    listeners_.insert_or_assign(at, listener{group, traits, std::move(accept)});
}

void sim_network::forget_dead() {
    std::erase_if(links_, [](const known_link& known) { return known.link.expired(); });
    std::erase_if(openings_, [](const auto& pending) { return pending->over_; });
}

std::vector<std::shared_ptr<sim_link>> sim_network::living(link_group group) {
    std::vector<std::shared_ptr<sim_link>> found;
    for (const auto& known : links_) {
        auto link = known.link.lock();
        if (known.group == group && link && link->alive()) found.push_back(std::move(link));
    }
    return found;
}

void sim_network::when_opened(link_group group, std::size_t nth, std::function<void(sim_link&)> action) {
    history(group).awaited.emplace(nth, std::move(action));
}

std::vector<link_traffic> sim_network::carried(link_group group) const {
    std::vector<link_traffic> found;
    for (const auto& one : histories_[static_cast<std::size_t>(group)].traffic)
        found.push_back(*one);
    return found;
}

std::size_t sim_network::open_links(link_group group) {
    return static_cast<std::size_t>(std::count_if(links_.begin(), links_.end(), [&](const known_link& known) {
        return known.group == group && !known.link.expired();
    }));
}

}  // namespace pgmend::sim
