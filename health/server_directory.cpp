#include "health/server_directory.hpp"

#include <algorithm>

#include "health/topology.hpp"

namespace pgmend::health {

server_directory::server_directory(const config::server_list& configured) {
    for (const auto& address : configured) {
        known_server server;
        server.address = address;
        server.rank = static_cast<std::uint32_t>(places_.size());
        places_.push_back({std::move(server), {}});
    }
    publish();
}

/// Where this server is or can be; null when every place is taken.
server_directory::entry* server_directory::place_for(
    const config::server_address& address, config::time_point now
) {
    const auto known =
        std::ranges::find_if(places_, [&address](const entry& one) { return one.server.address == address; });
    if (known != places_.end()) return &*known;
    known_server made;
    made.address = address;
    made.here = presence::gone;
    if (places_.size() < most_places) return &places_.emplace_back(entry{std::move(made), now});
    entry* longest = nullptr;
    for (entry& one : places_) {
        const bool free = one.server.here == presence::gone && now - one.since >= mourning;
        if (free && (longest == nullptr || one.since < longest->since)) longest = &one;
    }
    if (longest != nullptr) *longest = entry{std::move(made), now};
    return longest;
}

bool server_directory::heard(server_source from, const named_list& named, config::time_point now) {
    std::vector<bool> heard_of(most_places, false);
    std::uint32_t rank = 0;
    refused_ = 0;
    for (const named_server& server : named) {
        entry* const one = rank < most_listed ? place_for(server.address, now) : nullptr;
        if (one == nullptr) {
            ++refused_;
            continue;
        }
        const auto place = static_cast<std::size_t>(one - places_.data());
        if (heard_of[place]) continue;
        heard_of[place] = true;
        one->server.here = presence::listed;
        one->server.source = from;
        one->server.rank = rank++;
        one->server.said = server.said;
        one->server.leader = server.leader;
        one->server.behind = server.behind;
    }
    for (std::size_t place = 0; place < places_.size(); ++place) {
        entry& one = places_[place];
        if (heard_of[place] || one.server.here != presence::listed) continue;
        one.server.here = presence::leaving;
        one.server.said.clear();
        one.server.leader = one.server.behind = false;
        one.since = now;
    }
    return publish();
}

bool server_directory::settle(const topology& picture, config::time_point now) {
    for (std::size_t place = 0; place < places_.size(); ++place) {
        entry& one = places_[place];
        if (one.server.here != presence::leaving) continue;
        const bool serves = picture.memory.primary == place && place < picture.nodes.size() &&
                            picture.nodes[place].condition != node_condition::down;
        if (serves) {
            one.since = now;
        } else if (now - one.since >= farewell) {
            one.server.here = presence::gone;
            one.since = now;
        }
    }
    return publish();
}

bool server_directory::publish() {
    server_roster made;
    for (const entry& one : places_)
        made.push_back(one.server);
    if (roster_ && *roster_ == made) return false;
    roster_ = std::make_shared<const server_roster>(std::move(made));
    return true;
}

}  // namespace pgmend::health
