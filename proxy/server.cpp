#include "proxy/server.hpp"

#include <openssl/rand.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include <boost/asio/post.hpp>

#include "config/log.hpp"
#include "pool/relay_engine.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto quiet_poll = std::chrono::milliseconds{20};
constexpr auto longest_end = std::chrono::seconds{3};   // for closing servers in order
constexpr auto names_within = std::chrono::seconds{2};  // for the first lookups at start

/// As many descriptors as the system lets us have.
std::uint64_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

std::string random_secret() {
    std::string secret(32, '\0');
    RAND_bytes(reinterpret_cast<unsigned char*>(secret.data()), static_cast<int>(secret.size()));
    return secret;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) {
        text += (text.empty() ? "" : ",") + word;
    }
    return text;
}

/// Zero: epoll.
std::size_t choose_relay_engine(const config::relay_settings& settings) {
    const auto choice = pool::choose_engine(settings.engine(), settings.ring_memory().bytes);
    const char* engine = choice.ring ? "io_uring" : "epoll";
    if (!choice.ring && settings.engine() == config::relay_engine::io_uring) {
        log::warning("relay_engine", {{"engine", engine}, {"reason", choice.reason}});
    } else {
        log::info("relay_engine", {{"engine", engine}, {"reason", choice.reason}});
    }
    return choice.ring ? settings.ring_memory().bytes : 0;
}

}  // namespace

log::level log_level_of(config::log_level level) noexcept {
    switch (level) {
        case config::log_level::debug:
            return log::level::debug;
        case config::log_level::info:
            return log::level::info;
        case config::log_level::warning:
            return log::level::warning;
        case config::log_level::error:
            return log::level::error;
    }
    return log::level::info;
}

server::server(std::shared_ptr<const config::settings> settings, config::load_sources sources)
    : settings_(std::move(settings)),
      sources_(std::move(sources)),
      metrics_(PGMEND_VERSION),
      addresses_(control_, settings_->upstream.servers()),
      http_(control_, providers()),
      signals_(control_),
      deadline_(control_),
      poll_(control_),
      files_(
          control_, settings_, [this](const live_facts& facts) { spread(facts); },
          sources_.file ? sources_.file->string() : std::string(), [this] { return reload().empty(); }
      ),
      cgroup_(config::read_cgroup_limits(settings_->machine.cgroup_root())),
      memory_(control_, settings_->machine.memory(), cgroup_, *health_cells_),
      manager_(control_),
      takeover_(control_),
      kin_(control_),
      wal_(
          control_, [] { return std::chrono::steady_clock::now(); },
          [this](const pool::endpoint& where) { return link_for_wal(where); }
      ),
      desk_(
          control_, settings_, addresses_,
          {[this] { return monitor_->picture(); }, [this] { return wal_accesses(); },
           [this] { stop_accepting(); }, [this] { end(); }, [this] { return reload(); },
           [this](const std::string& key, const std::string& value) { return set(key, value); },
           [this](admin_facts& facts) { complete(facts); }}
      ),
      checks_(settings_->upstream.servers().size(), settings_->ledger.events()),
      api_(control_, sources_of_api(), random_secret()),
      alerts_(control_, *health_cells_, sources_of_alerts()) {}

std::string server::open() {
    descriptor_limit_ = raise_descriptor_limit();
    if (auto problem = files_.open(); !problem.empty()) return problem;
    std::vector<std::string> problems;
    const auto inherited = take_inherited_sockets(problems);
    predecessor_ = inherited.predecessor;
    kin_.adopt(inherited, [this] {
        log::error("attendant_gone", {{"hint", "the service is over, so this process ends"}});
        end();
    });
    // They are ours again; the settings may want other addresses now, which the manager's copies would keep
    // in use.
    if (predecessor_ < 0 && !inherited.clients.empty()) {
        manager_.forget(descriptor_name::clients_own);
        manager_.forget(descriptor_name::clients_file);
        if (!manager_.settle()) {
            log::warning("manager_deaf", {{"hint", "it may keep addresses that were listened on before"}});
        }
    }
    for (const auto& problem : problems)
        log::warning("inherited_descriptor", {{"problem", problem}});
    if (auto error = listener_.open(settings_->listen, inherited.clients); !error.empty()) return error;
    if (const auto error = http_.open(settings_->http.host(), settings_->http.port(), inherited.http)) {
        return "cannot serve http on " + settings_->http.host() + ":" +
               std::to_string(settings_->http.port()) + ": " + error.message();
    }
    metrics_.attach(health_cells_);
    watch_servers();
    // Every worker needs a server connection of its own to a pool.
    const auto threads =
        config::worker_threads(settings_->workers(), cgroup_, std::thread::hardware_concurrency());
    const auto workers = static_cast<unsigned>(std::min(threads, settings_->pool.size()));
    const std::string secret = random_secret();
    const auto schema_changes = std::make_shared<catalog_epoch>(0);
    const auto limits = std::make_shared<limit_book>(*settings_);
    const auto clients = workers > 1 ? std::make_shared<client_counts>(workers) : nullptr;
    const std::size_t ring_bytes = choose_relay_engine(settings_->relay);
    for (unsigned i = 0; i < workers; ++i) {
        auto cells = std::make_shared<config::metrics::cells>();
        metrics_.attach(cells);
        cells_.push_back(cells);
        worker_options options;
        options.settings = settings_;
        options.index = i;
        options.ring_bytes = ring_bytes;
        options.workers = workers;
        options.process_secret = secret;
        options.schema_changes = schema_changes;
        options.limits = limits;
        options.live = files_.facts();
        options.life = life_;
        options.spare = spare_;
        options.positions = positions_;
        options.memory_pressed = memory_.pressed();
        if (memory_.limit() != 0) options.held_bytes = memory_.limit() / 2 / workers;
        options.clients = clients;
        connect(options);
        workers_.push_back(
            std::make_unique<worker>(*cells, std::move(options), addresses_, listener_.sockets())
        );
    }
    return {};
}

/// What a worker says to others: each is heard on its own thread.
void server::connect(worker_options& options) {
    options.evidence = [this](std::size_t node, health::traffic_evidence what) {
        boost::asio::post(control_, [this, node, what] { monitor_->traffic(node, what); });
    };
    options.wal = port_of_wal();
    options.console = desk_.port();
    options.hand_over = [this](unsigned worker, int descriptor, std::string peer, bool local) {
        workers_[worker]->adopt(descriptor, std::move(peer), local);
    };
    options.to_worker = [this](unsigned worker, std::function<void(worker_core&)> work) {
        workers_[worker]->post(std::move(work));
    };
}

void server::spread(const live_facts& facts) {
    for (const auto& worker : workers_) {
        worker->post([facts](worker_core& core) { core.replace(facts); });
    }
}

void server::run() {
    signals_.add(SIGTERM);
    signals_.add(SIGINT);
    signals_.add(SIGHUP);
    signals_.add(SIGUSR1);
    signals_.add(SIGUSR2);
    wait_for_signal();
    addresses_.start();
    const auto until = std::chrono::steady_clock::now() + names_within;
    servers_->start();
    while (!(addresses_.settled() && servers_->settled()) && std::chrono::steady_clock::now() < until) {
        control_.run_one_until(until);
    }
    wait_for_first_look();
    for (const auto& worker : workers_) {
        worker->start();
    }
    announce();
    files_.start();
    desk_.start(workers_, listener_.port());
    started_ = true;
    wal_accesses();
    memory_.start();
    alerts_.start();
    manager_.ready([this] { return live().ok; });
    if (predecessor_ >= 0) {
        [[maybe_unused]] const auto told = ::write(predecessor_, "R", 1);
        ::close(predecessor_);
    }
    control_.run();
    monitor_->stop();
    servers_->stop();
    for (const auto& worker : workers_) {
        worker->join();
    }
    log::info("stopped", {});
}

void server::announce() const {
    std::vector<std::string> servers;
    for (const auto& each : *servers_->roster()) {
        if (each.here == health::presence::listed) servers.push_back(config::print_server(each.address));
    }
    log::info(
        "started",
        {{"version", PGMEND_VERSION},
         {"pid", static_cast<std::int64_t>(::getpid())},
         {"listen", joined(listener_.names())},
         {"http", settings_->http.host() + ":" + std::to_string(http_.port())},
         {"servers", joined(servers)},
         {"pool_mode", settings_->pool.mode() == config::pool_mode::session ? "session" : "transaction"},
         {"pool_size", settings_->pool.size()},
         {"max_clients", settings_->listen.max_clients()},
         {"workers", workers_.size()},
         {"memory_limit", memory_.limit()},
         {"descriptors", descriptor_limit_}}
    );
    if (descriptor_limit_ < settings_->listen.max_clients() + settings_->pool.size() + 32ULL) {
        log::warning(
            "descriptor_limit_low",
            {{"descriptors", descriptor_limit_}, {"max_clients", settings_->listen.max_clients()}}
        );
    }
}

void server::wait_for_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
        if (error) return;
        on_signal(signal);
        wait_for_signal();
    });
}

void server::on_signal(int signal) {
    if (signal == SIGHUP) {
        reload();
        return;
    }
    if (signal == SIGUSR1) {
        leave();
        return;
    }
    if (signal == SIGUSR2) {
        take_over();
        return;
    }
    const auto patience = settings_->shutdown.linger();
    if (signal == SIGTERM && stage_ == stage::serving && patience.count() > 0) {
        manager_.stopping();
        takeover_.end_successor();
        const bool kept = listener_.kept_open();
        if (kept) {
            for (const auto& worker : workers_)
                worker->stop_accepting();
        }
        linger(patience, kept ? quiet_when_deaf : settings_->shutdown.linger_quiet());
    } else if (signal == SIGTERM && stage_ < stage::draining) {
        drain();
    } else if (stage_ != stage::ending) {
        end();
    } else {
        std::_Exit(1);  // asked a third time
    }
}

void server::stop_accepting() {
    takeover_.end_successor();
    alerts_.stop();
    if (stage_ > stage::lingering) return;
    stage_ = stage::deaf;
    for (const auto& worker : workers_)
        worker->stop_accepting();
    wait_until_quiet();
}

void server::drain() {
    manager_.stopping();
    stop_accepting();
    stage_ = stage::draining;
    kin_.end_left_behind();
    api_.end_streams();
    const auto timeout = settings_->shutdown.drain_timeout();
    log::info("draining", {{"timeout_ms", timeout.count()}});
    for (const auto& worker : workers_)
        worker->post([](worker_core& core) { core.drain(); });
    deadline_.expires_after(timeout);
    deadline_.async_wait([this](const boost::system::error_code& error) {
        if (!error && stage_ == stage::draining) {
            log::warning("drain_timed_out", {});
            end();
        }
    });
}

void server::end() {
    stop_accepting();
    stage_ = stage::ending;
    kin_.end_left_behind();
    for (const auto& worker : workers_) {
        worker->post([](worker_core& core) {
            core.close_pools();
            core.kill_all();
        });
    }
    deadline_.expires_after(longest_end);
    deadline_.async_wait([this](const boost::system::error_code& error) {
        if (!error) control_.stop();
    });
}

/// Closed sooner, a worker could meet the same descriptor again as a client's.
bool server::close_when_deaf() {
    const bool deaf = std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) {
        return worker->has_stopped_accepting();
    });
    if (deaf) listener_.close();
    return deaf;
}

void server::wait_until_quiet() {
    close_when_deaf();
    const bool quiet =
        std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->was_quiet(); });
    // Those that were left behind end as well, and the service with the last of them; so does one that is on
    // its way to follow this one.
    const bool last = kin_.alone() && !takeover_.under_way();
    if (quiet && stage_ != stage::deaf && (stage_ == stage::ending || last)) {
        control_.stop();
        return;
    }
    for (const auto& worker : workers_) {
        worker->ask_quiet();
    }
    poll_.expires_after(quiet_poll);
    poll_.async_wait([this](const boost::system::error_code& error) {
        if (!error) wait_until_quiet();
    });
}

/// SIGHUP, RELOAD, or another policy file. What SET has said is forgotten, as in PgBouncer.
std::vector<std::string> server::reload() {
    manager_.reloading();
    files_.policy_is_read();
    auto problems = take_settings(config::reload(sources_, *settings_));
    manager_.reloaded();
    return problems;
}

/// Only what is said changes: a file that was changed meanwhile, or is bad, has no part in it.
std::vector<std::string> server::set(const std::string& key, const std::string& value) {
    return take_settings(config::change(*settings_, {{key, value}}, sources_));
}

/// All of it, files included, or nothing.
std::vector<std::string> server::take_settings(config::reload_result result) {
    std::vector<std::string>& problems = result.loaded.errors;
    if (problems.empty() && result.loaded.value->pool.size() < workers_.size()) {
        problems.push_back(
            "key 'pool.size': each of the " + std::to_string(workers_.size()) +
            " workers needs a server connection; fewer need a restart"
        );
    }
    if (problems.empty()) problems = files_.adopt(result.loaded.value);
    if (!problems.empty()) {
        for (const std::string& problem : problems)
            log::error("settings_not_taken", {{"reason", problem}});
        note_settings("refused", problems);
        return problems;
    }
    for (const std::string& warning : result.loaded.warnings)
        log::warning("settings", {{"message", warning}});
    for (const auto& change : result.changed) {
        log::info(
            "setting_changed", {{"key", change.key},
                                {"from", change.from},
                                {"to", change.to},
                                {"takes_effect", word_of(change.takes_effect)}}
        );
    }
    for (const auto& change : result.waiting)
        log::warning(
            "setting_needs_restart", {{"key", change.key}, {"from", change.from}, {"to", change.to}}
        );
    settings_ = result.loaded.value;
    wal_.look_again();
    log::set_level(log_level_of(settings_->log.level()));
    desk_.adopt(settings_);
    for (const auto& worker : workers_) {
        worker->post([settings = settings_, facts = files_.facts()](worker_core& core) {
            core.reconfigure(settings, facts);
        });
    }
    log::info("settings_taken", {{"changed", result.changed.size()}, {"waiting", result.waiting.size()}});
    std::vector<std::string> told;
    for (const auto& change : result.changed)
        told.push_back(change.key + ": " + change.from + " -> " + change.to);
    for (const auto& change : result.waiting)
        told.push_back(change.key + " waits for a restart: " + change.from + " -> " + change.to);
    if (!told.empty()) note_settings("taken", told);
    return {};
}

/// Into the ledger: what became of the settings, and each difference or error.
void server::note_settings(std::string_view outcome, const std::vector<std::string>& lines) {
    constexpr std::size_t longest = 1000;
    healing_event act;
    act.kind = healing_kind::settings;
    act.outcome = outcome;
    act.count = lines.size();
    for (const std::string& line : lines) {
        const bool fits = act.cause.size() + line.size() < longest;
        if (!fits && !act.cause.empty()) {
            act.cause += "; ...";
            break;
        }
        act.cause.append(act.cause.empty() ? "" : "; ").append(line.substr(0, longest));
    }
    desk_.note(std::move(act));
}

}  // namespace pgmend::proxy
