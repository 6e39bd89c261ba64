// The part of the server that has to do with the servers there are: who they are, and who looks at them.

#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "config/log.hpp"
#include "proxy/server.hpp"
#include "proxy/servers/server_probes.hpp"

namespace pgmend::proxy {

using config::label_word;

void server::watch_servers() {
    std::uint64_t seed = 0;
    RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof seed);
    servers_ = std::make_unique<live_servers>(
        control_, *settings_, *health_cells_, addresses_, seed,
        [this](const health::roster_snapshot& roster) { adopt_servers(roster); },
        [this] { monitor_->look_now(); }
    );
    roster_ = servers_->roster();
    life_ = std::make_shared<life_signs>(servers_->most_places());
    spare_ = std::make_shared<spare_counts>(servers_->most_places());
    positions_ = std::make_shared<health::standby_positions>(servers_->most_places());
    const auto& wanted = settings_->health;
    health::monitor_options options;
    options.limits.interval = wanted.interval();
    options.limits.recovery_interval = wanted.recovery_interval();
    options.limits.nodes.failures = wanted.failures();
    options.limits.nodes.successes = wanted.successes();
    options.limits.nodes.evidence_age = wanted.evidence_age();
    options.limits.nodes.silence = wanted.timeout();
    options.timeout = wanted.timeout();
    options.clock = [] { return std::chrono::steady_clock::now(); };
    options.make_prober = [this](const config::server_address& address) {
        return make_prober(control_, *settings_, address, addresses_, files_);
    };
    options.last_heard = [this](std::size_t node) {
        return config::time_point{config::duration{(*life_)[node].load(std::memory_order_relaxed)}};
    };
    options.publish = [this](health::topology_snapshot picture) {
        servers_->pictured(picture);
        positions_->pictured(*picture);
        for (const auto& worker : workers_) {
            worker->post([picture](worker_core& core) { core.update(picture); });
        }
    };
    options.observed = [this](std::size_t node, const health::observation& seen) {
        checks_.add(node, seen, std::chrono::steady_clock::now());
        positions_->seen(node, seen);
        const auto spare = seen.facts.spare_connections;
        (*spare_)[node].store(spare ? *spare + 1 : 0, std::memory_order_relaxed);
    };
    monitor_ =
        std::make_unique<health::health_monitor>(control_, *health_cells_, roster_, std::move(options));
}

/// Other servers: what was known by place of one that another has taken is forgotten, and then the monitor
/// has the workers know.
void server::adopt_servers(const health::roster_snapshot& roster) {
    const health::roster_snapshot before = std::exchange(roster_, roster);
    for (std::size_t place = 0; place < roster->size(); ++place) {
        const health::known_server& now = (*roster)[place];
        const health::known_server* was = place < before->size() ? &(*before)[place] : nullptr;
        if (was == nullptr || was->address != now.address) {
            (*life_)[place].store({}, std::memory_order_relaxed);
            (*spare_)[place].store(0, std::memory_order_relaxed);
            positions_->forget(place);
            checks_.begin(place);
            desk_.forget_ban(place);
        }
        checks_.set_watched(place, now.here != health::presence::gone);
        if (was != nullptr && *was == now) continue;
        const bool known = was != nullptr && was->address == now.address;
        if (known && was->here == now.here) continue;
        log::info(
            "server_listed", {{"server", config::print_server(now.address)},
                              {"source", label_word(now.source)},
                              {"presence", presence_word(now.here)}}
        );
    }
    monitor_->adopt(roster);
}

/// Null where no list names the server any more.
std::unique_ptr<health::libpq_link> server::link_for_wal(const pool::endpoint& where) {
    for (const health::known_server& each : *roster_) {
        if (each.here != health::presence::gone && endpoint_of(each.address) == where)
            return make_wal_link(control_, *settings_, each.address, addresses_, files_);
    }
    return nullptr;
}

wal_port server::port_of_wal() {
    return
        [this](const pool::endpoint& where, health::wal_question asked, std::shared_ptr<wal_ticket> ticket) {
            boost::asio::post(control_, [this, where, asked = std::move(asked), ticket = std::move(ticket)] {
                wal_.ask(where, asked, [this, ticket](health::wal_finding what) {
                    workers_[ticket->worker()]->post([ticket, what](worker_core&) { ticket->deliver(what); });
                });
            });
        };
}

/// Nobody is asked while nobody wants to know what became of a COMMIT.
std::vector<wal_access> server::wal_accesses() {
    std::vector<wal_access> all;
    if (settings_->guard.commit_outcome() == config::guard_mode::off) return all;
    const std::string& own = settings_->health.user();
    for (const health::known_server& each : *roster_) {
        if (each.here == health::presence::gone) continue;
        all.push_back(wal_.access(endpoint_of(each.address)));
        all.back().user = own.empty() ? settings_->upstream.user() : own;
    }
    return all;
}

/// The first client is to meet the primary: every server is asked once before clients are let in. No server
/// has to be there.
void server::wait_for_first_look() {
    monitor_->start();
    const bool alone = settings_->upstream.servers().size() == 1 && !settings_->upstream.servers_change();
    if (alone) return;  // there is nothing to choose
    const auto until = std::chrono::steady_clock::now() + settings_->health.timeout();
    const auto asked = [this] {
        const auto picture = monitor_->picture();
        for (std::size_t place = 0; place < picture->nodes.size(); ++place) {
            const bool looked_at = (*picture->servers)[place].here != health::presence::gone;
            if (looked_at && picture->nodes[place].condition == health::node_condition::unknown) return false;
        }
        return true;
    };
    while (stage_ == stage::serving && !asked() && std::chrono::steady_clock::now() < until) {
        control_.run_one_until(until);
    }
}

}  // namespace pgmend::proxy
