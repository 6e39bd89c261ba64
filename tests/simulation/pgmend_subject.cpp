// The proxy as a subject: production's worker_core, with everything below it, on the simulated environment
// and network; one for each process, where one hands over to the next.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "config/loader.hpp"
#include "config/metrics.hpp"
#include "proxy/worker_core.hpp"
#include "tests/simulation/subjects.hpp"

namespace pgmend::sim {

namespace {

constexpr auto stop_bound = std::chrono::seconds(60);

std::string environment_name(const std::string& key) {
    std::string name = "PGMEND_" + key;
    for (char& letter : name)
        letter = letter == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    return name;
}

std::shared_ptr<const config::settings> settings_for(
    const subject_setup& setup, const std::vector<name_value>& more
) {
    const std::string servers =
        setup.server.to_string() + (setup.standby ? "," + setup.standby->to_string() : "");
    config::load_sources sources;
    sources.os_user = "app";
    sources.environment = {
        {"DATABASE_URL", "postgres://app:secret@" + servers + "/app?sslmode=disable"},
        {"PGMEND_AUTH_METHOD", "trust"},
        {"PGMEND_GUARD_COMMIT_OUTCOME", "on"},
        {"PGMEND_LISTEN_MAX_CHANNELS", "1000"},
        {"PGMEND_POOL_SIZE", std::to_string(setup.server_connections)},
    };
    for (const auto& [key, value] : more)
        sources.environment[environment_name(key)] = value;
    const auto loaded = config::load(sources);
    for (const auto& error : loaded.errors)
        std::fprintf(stderr, "settings of the subject: %s\n", error.c_str());
    if (!loaded.value) std::abort();
    return loaded.value;
}

/// Server connections of one pool with these settings, and the one that listens for all clients.
std::size_t connections_with(const config::settings& settings) {
    // A standby that is promoted has for a moment those that were read from and those of a primary.
    const bool reads = settings.reads.mode() != config::read_mode::primary;
    return settings.pool.size() * (reads ? 2 : 1) + settings.pool.reserve_size() + 1;
}

class pgmend_subject final : public subject {
public:
    explicit pgmend_subject(const subject_setup& setup)
        : setup_(setup), settings_(settings_for(setup, setup.settings)), most_(connections_with(*settings_)) {
        cores_.push_back(make_core());
        setup_.network.listen(
            at_, link_group::client, setup.client_links,
            [this](std::unique_ptr<pool::stream> client) {
                cores_.back()->accept(std::move(client), "simulated", false);
            }
        );
    }

    ~pgmend_subject() override {
        stop();
        setup_.env.run([this] { return quiet(); }, setup_.env.now() + stop_bound);
        // A run that failed may leave a core that never becomes quiet and so must not be destroyed.
        for (auto& core : cores_) {
            if (!core->quiet()) [[maybe_unused]]
                auto* abandoned = core.release();
        }
    }

    pool::endpoint client_endpoint() const override { return at_; }
    std::size_t beyond_budget() const override { return cores_.size() * most_ - setup_.server_connections; }

    void reload(const std::vector<name_value>& settings) override {
        settings_ = settings_for(setup_, settings);
        most_ = std::max(most_, connections_with(*settings_));
        for (const auto& core : cores_)
            core->reconfigure(settings_, facts());
    }

    bool follows_primary() const override { return true; }

    void servers_seen(const std::vector<seen_server>& servers, std::uint32_t timeline) override {
        auto picture = std::make_shared<health::topology>();
        picture->generation = ++pictures_;
        picture->memory.system_identifier = 1;
        picture->memory.timeline = timeline;
        for (const seen_server& each : servers) {
            health::node_view view;
            view.condition = each.down ? health::node_condition::down : health::node_condition::up;
            view.role = each.primary ? health::node_role::primary : health::node_role::standby;
            view.timeline = timeline;
            if (each.primary && each.down) view.role = health::node_role::unknown;
            if (each.primary && !each.down) picture->memory.primary = picture->nodes.size();
            picture->nodes.push_back(view);
        }
        picture_ = std::move(picture);
        positions_->pictured(*picture_);
        for (const auto& core : cores_)
            core->update(picture_);
    }

    void position_seen(const seen_position& what) override {
        health::observation seen;
        seen.result = health::probe_result::ok;
        seen.facts.in_recovery = !what.primary;
        seen.facts.lsn = what.lsn;
        seen.facts.timeline = what.timeline;
        seen.asked_at = what.asked_at;
        positions_->seen(what.server, seen);
    }

    void hand_over(duration patience) override {
        proxy::worker_core* const leaving = cores_.back().get();
        cores_.push_back(make_core());
        leaving->drain();
        kills_.push_back(std::make_unique<world_timer>(setup_.env, [leaving] { end(*leaving); }));
        kills_.back()->after(patience);
    }

    void stop() override {
        setup_.network.stop_listening(at_);
        for (const auto& core : cores_) {
            core->drain();
            end(*core);
        }
    }

    std::vector<std::string> leftovers() const override {
        std::vector<std::string> found = clients_remaining();
        for (const auto& core : cores_) {
            if (const auto servers = core->server_connections(); servers > 0) {
                found.push_back(std::to_string(servers) + " server connections");
            }
            if (const auto leased = core->buffers().leased_blocks(); leased > 0) {
                found.push_back(std::to_string(leased) + " leased buffers");
            }
        }
        if (!quiet()) found.push_back("something under way");
        return found;
    }

    std::vector<std::string> clients_remaining() const override {
        std::vector<std::string> found;
        for (const auto& core : cores_) {
            if (const auto sessions = core->sessions(); sessions > 0) {
                found.push_back(std::to_string(sessions) + " client sessions");
            }
        }
        return found;
    }

    /// Each series of a labelled counter that counted anything, in few words: `cleanups cancel`.
    std::vector<std::string> marks() const override {
        std::vector<std::string> found;
        for (const auto& metric : metrics_.definitions()) {
            if (metric.type != config::metric_type::counter || metric.label.empty()) continue;
            for (std::size_t place = 0; place < metric.cells.size(); ++place) {
                if (metric.cells[place].load() > 0)
                    found.push_back(short_name(metric.name) + " " + std::string(metric.label_values[place]));
            }
        }
        return found;
    }

private:
    static std::string short_name(std::string_view name) {
        if (name.starts_with("pgmend_")) name.remove_prefix(7);
        if (name.ends_with("_total")) name.remove_suffix(6);
        return std::string(name);
    }

    proxy::live_facts facts() const {
        proxy::live_facts read;
        proxy::read_live_facts(*settings_, read);
        return read;
    }

    std::unique_ptr<proxy::worker_core> make_core() {
        proxy::worker_options options;
        options.settings = settings_;
        options.live = facts();
        options.positions = positions_;
        options.process_secret = "a secret of the simulation";
        // Half of the subjects may read their servers' WAL.
        if (setup_.has_record && setup_.seed % 2 == 0) options.wal = wal_reader();
        auto core =
            std::make_unique<proxy::worker_core>(setup_.env, setup_.network, metrics_, std::move(options));
        if (picture_) core->update(picture_);
        return core;
    }

    proxy::wal_port wal_reader() const {
        return [has_record = setup_.has_record](
                   const pool::endpoint&, const health::wal_question& asked,
                   const std::shared_ptr<proxy::wal_ticket>& ticket
               ) {
            ticket->deliver(has_record(asked.token) ? health::wal_finding::there : health::wal_finding::gone);
        };
    }

    static void end(proxy::worker_core& core) {
        core.kill_all();
        core.close_pools();
    }

    bool quiet() const {
        return std::all_of(cores_.begin(), cores_.end(), [](const auto& core) { return core->quiet(); });
    }

    const subject_setup setup_;
    pool::endpoint at_{"pgmend", 6432};
    config::metrics::cells metrics_;
    std::shared_ptr<const config::settings> settings_;
    health::topology_snapshot picture_;
    const std::shared_ptr<health::standby_positions> positions_ =
        std::make_shared<health::standby_positions>(2);
    std::uint64_t pictures_ = 0;
    std::size_t most_;  ///< server connections that one process may have had
    std::vector<std::unique_ptr<proxy::worker_core>> cores_;  ///< one a process; the last takes new clients
    std::vector<std::unique_ptr<world_timer>> kills_;
};

}  // namespace

std::unique_ptr<subject> make_pgmend_subject(const subject_setup& setup) {
    return std::make_unique<pgmend_subject>(setup);
}

}  // namespace pgmend::sim
