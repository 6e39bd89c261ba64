// The proxy as a subject: production's worker_core, with everything below it, on the simulated environment
// and network.

#include <cstdio>
#include <cstdlib>

#include "config/loader.hpp"
#include "config/metrics.hpp"
#include "proxy/worker_core.hpp"
#include "tests/simulation/subjects.hpp"

namespace pgmend::sim {

namespace {

constexpr auto stop_bound = std::chrono::seconds(60);

std::shared_ptr<const config::settings> settings_for(const subject_setup& setup) {
    config::load_sources sources;
    sources.os_user = "app";
    sources.environment = {
        {"DATABASE_URL", "postgres://app:secret@" + setup.server.to_string() + "/app?sslmode=disable"},
        {"PGMEND_AUTH_METHOD", "trust"},
        {"PGMEND_GUARD_COMMIT_OUTCOME", "on"},
        {"PGMEND_LISTEN_MAX_CHANNELS", "1000"},
        {"PGMEND_POOL_SIZE", std::to_string(setup.server_connections)},
    };
    const auto loaded = config::load(sources);
    for (const auto& error : loaded.errors)
        std::fprintf(stderr, "settings of the subject: %s\n", error.c_str());
    if (!loaded.value) std::abort();
    return loaded.value;
}

class pgmend_subject final : public subject {
public:
    explicit pgmend_subject(const subject_setup& setup) : env_(setup.env), network_(setup.network) {
        proxy::worker_options options;
        options.settings = settings_for(setup);
        proxy::read_live_facts(*options.settings, options.live);
        options.process_secret = "a secret of the simulation";
        core_ = std::make_unique<proxy::worker_core>(env_, network_, metrics_, std::move(options));
        network_.listen(
            at_, link_group::client, setup.client_links,
            [this](std::unique_ptr<pool::stream> client) {
                core_->accept(std::move(client), "simulated", false);
            }
        );
    }

    ~pgmend_subject() override {
        stop();
        env_.run([this] { return core_->quiet(); }, env_.now() + stop_bound);
        // A run that failed may leave a core that never becomes quiet and so must not be destroyed.
        if (!core_->quiet()) [[maybe_unused]]
            auto* abandoned = core_.release();
    }

    pool::endpoint client_endpoint() const override { return at_; }
    std::size_t beyond_budget() const override { return 1; }

    void stop() override {
        network_.stop_listening(at_);
        core_->drain();
        core_->kill_all();
        core_->close_pools();
    }

    std::vector<std::string> leftovers() const override {
        std::vector<std::string> found = clients_remaining();
        if (const auto servers = core_->server_connections(); servers > 0) {
            found.push_back(std::to_string(servers) + " server connections");
        }
        if (const auto leased = core_->buffers().leased_blocks(); leased > 0) {
            found.push_back(std::to_string(leased) + " leased buffers");
        }
        if (!core_->quiet()) found.push_back("something under way");
        return found;
    }

    std::vector<std::string> clients_remaining() const override {
        std::vector<std::string> found;
        if (const auto sessions = core_->sessions(); sessions > 0) {
            found.push_back(std::to_string(sessions) + " client sessions");
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

    sim_environment& env_;
    sim_network& network_;
    pool::endpoint at_{"pgmend", 6432};
    config::metrics::cells metrics_;
    std::unique_ptr<proxy::worker_core> core_;
};

}  // namespace

std::unique_ptr<subject> make_pgmend_subject(const subject_setup& setup) {
    return std::make_unique<pgmend_subject>(setup);
}

}  // namespace pgmend::sim
