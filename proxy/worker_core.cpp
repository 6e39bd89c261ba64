#include "proxy/worker_core.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "config/log.hpp"
#include "protocol/session_change.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t scram_keys_kept = 256;
constexpr std::size_t unused_statements_kept = 1000;
/// Whether something that servers may have been shown stands in one book and not in the other.
bool lacks(const secret_book& now, const secret_book& before) {
    bool gone = false;
    before.each_user([&](const std::string& user, const user_secrets& secrets) {
        const user_secrets* known = now.find(user);
        gone =
            gone || std::ranges::any_of(secrets.offered, [known](const std::string& secret) {
                return known == nullptr || std::ranges::find(known->offered, secret) == known->offered.end();
            });
    });
    return gone;
}

}  // namespace

worker_core::worker_core(
    config::environment& env, pool::network& net, config::metrics::cells& metrics, worker_options options
)
    : env_(env),
      metrics_(metrics),
      options_(std::move(options)),
      scram_keys_(scram_keys_kept),
      statements_(unused_statements_kept),
      classifier_(
          {options_.settings->limits.classify_text().bytes, options_.settings->limits.statement_cache(),
           env.random()}
      ),
      guard_(statements_, env_),
      tallies_(options_.settings->admin.statements()),
      relay_{
          statements_,
          classifier_,
          parameters_,
          metrics_,
          schema_epoch_,
          doubts_,
          options_.settings->limits.held_message().bytes,
          options_.settings->limits.client_prepared_statements(),
          habits_,
          suspects_,
          tallies_,
          this,
          options_.settings->guard.commit_outcome() == config::guard_mode::on ? &guard_ : nullptr},
      retries_(options_.settings->retry.budget()),
      ledger_(options_.settings->ledger.events()),
      users_(options_.live.secrets, options_.process_secret),
      logins_(*options_.settings, users_, options_.live.towards_servers),
      cluster_(*options_.settings, env_),
      reads_(cluster_, env_, metrics_, ledger_, options_.positions, options_.settings->reads.max_lag()),
      ids_{options_.index, options_.workers},
      pool_context_{
          env_,
          net,
          buffers_,
          parameters_,
          scram_keys_,
          metrics_,
          cluster_,
          to_client_,
          &ids_,
          &suspects_,
          options_.workers > 1 ? this : nullptr},
      read_context_{env_,     net,           buffers_,   parameters_, scram_keys_,
                    metrics_, reads_.source, to_client_, &ids_,       &suspects_} {
    guard_.writes = options_.settings->guard.autocommit_writes();
    cluster_.connect_monitor(options_.evidence, options_.life, options_.spare);
    cluster_.connect_worker(metrics_, ledger_, [this] {
        for (auto& [name, pool] : pools_) {
            pool->room();
        }
    });
    if (!options_.schema_changes) options_.schema_changes = std::make_shared<catalog_epoch>(0);
    if (!options_.limits) options_.limits = std::make_shared<limit_book>(*options_.settings);
    run = [](config::deferred_node& node) noexcept { static_cast<worker_core&>(node).bury(); };
}

worker_core::~worker_core() {
    bury();
    env_.withdraw(*this);
}

void worker_core::accept(std::unique_ptr<pool::stream> client, std::string peer, bool local) {
    metrics_.clients_accepted.add();
    auto* session = new client_session(*this, std::move(client), std::move(peer), local);
    sessions_.push_back(*session);
    session->start();
}

void worker_core::replace(const live_facts& live) {
    // Keys that were derived from a password which is needed no more go with it. Which they are nobody knows;
    // one derivation brings each of the others back.
    if (lacks(*live.secrets, *options_.live.secrets))
        scram_keys_ = protocol::scram_key_cache{scram_keys_kept};
    options_.live = live;
    users_.replace(live.secrets);
    logins_.replace(live.towards_servers);
}

void worker_core::reconfigure(std::shared_ptr<const config::settings> settings, const live_facts& live) {
    const auto before = std::exchange(options_.settings, std::move(settings));
    const config::settings& now = *options_.settings;
    const bool sizes_hold =
        before->pool.size() == now.pool.size() && before->pool.rules() == now.pool.rules();
    if (!sizes_hold) shares_.begin_anew();
    logins_.adopt(now);
    cluster_.adopt(now);
    reads_.source.set_max_lag(now.reads.max_lag());
    replace(live);
    relay_.held_message = now.limits.held_message().bytes;
    relay_.client_statements = now.limits.client_prepared_statements();
    relay_.guard = now.guard.commit_outcome() == config::guard_mode::on ? &guard_ : nullptr;
    guard_.writes = now.guard.autocommit_writes();
    classifier_.set_max_text(now.limits.classify_text().bytes);
    for (auto& [name, catalog] : catalogs_)
        catalog->set_options({now.catalog.refresh(), now.catalog.max_bytes().bytes});
    reconfigure_pools();
    options_.limits->adopt(now);
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->limits_changed();
    }
}

void worker_core::login_begins(client_login& login) {
    logins_under_way_.push_back(login);
    const auto limit = options_.share_of(options_.settings->listen.max_logins());
    if (logins_under_way_.size() > std::max<std::size_t>(limit, 1)) logins_under_way_.front()->push_out();
}

void worker_core::finished(client_session& session) noexcept {
    if (session.key().pid != 0) keys_.erase(session.key().id());
    pool::intrusive_list<client_session>::remove(session);
    ended_.push_back(session);
    env_.defer(*this);
}

void worker_core::bury() noexcept {
    while (client_session* session = ended_.front()) {
        pool::intrusive_list<client_session>::remove(*session);
        delete session;
        if (options_.clients) options_.clients->gone(options_.index);
    }
    if (closing_ || (draining_ && sessions_.empty())) close_pools();
    drop_unused_pools();
}

/// A database or user that nobody connects to any more, or that turned out not to exist, is forgotten.
void worker_core::drop_unused_pools() {
    if (sessions_.size() != 0 || asking_.pending() != 0) return;
    std::erase_if(pools_, [this](const auto& item) {
        const auto& pool = *item.second;
        // While no server can be asked, what one has said is kept for the next client to be greeted with.
        const bool greets = (pool.ledger().holding() || pool.ledger().paused()) && pool.greets();
        if (greets || !pool.servers().empty() || pool.busy() || pool.burying() || pool.ledger().total() != 0)
            return false;
        if (pool.traffic() != pool::traffic_stats{}) past_traffic_[item.first.first] += pool.traffic();
        return true;
    });
    std::erase_if(hubs_, [](const auto& item) { return item.second->idle(); });
    std::erase_if(catalogs_, [this](const auto& item) {
        const auto pool = pools_.lower_bound({item.first, {}});
        return pool == pools_.end() || pool->first.first != item.first;
    });
}

/// Idle connections must not be in the way of DROP DATABASE, nor outlive a role; ALTER DATABASE and ALTER
/// ROLE are seen at the next login.
void worker_core::about_logins(std::string_view text) {
    for (auto& [name, pool] : pools_) {
        const auto& login = pool->login();
        if (protocol::names_word(text, login.database) || protocol::names_word(text, login.user))
            pool->recycle();
    }
}

void worker_core::sweep_parameters() {
    if (!parameters_.wants_sweep()) return;
    std::unordered_set<const protocol::parameter_set*> live;
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->collect_parameters(live);
    }
    for (const auto& [name, pool] : pools_) {
        pool->collect_parameters(live);
    }
    parameters_.sweep(live);
}

void worker_core::drain() {
    draining_ = true;
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->drain();
    }
    if (sessions_.empty()) close_pools();
}

void worker_core::kill_all() {
    draining_ = true;
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->kill();
    }
}

health::retry_limits worker_core::retry_limits() const noexcept {
    const auto& retry = options_.settings->retry;
    return {retry.attempts(), retry.deadline(), {retry.delay_min(), retry.delay_max()}};
}

void worker_core::update(health::topology_snapshot picture) {
    // Once, whatever the number of workers.
    if (options_.index == 0) news_.tell(picture, *options_.settings, env_.now());
    cluster_.update(std::move(picture));
    reads_.primary_is(cluster_.any_serves());
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->reconsider();
    }
    for (auto& [name, pool] : pools_) {
        pool->reconsider();
    }
    for (auto& [name, hub] : hubs_) {
        hub->reconsider();
    }
}

void worker_core::writes_taken() noexcept {
    if (writes_waiting_ == 0) return;
    for (client_session* session = sessions_.front(); session != nullptr;
         session = pool::intrusive_list<client_session>::next(*session)) {
        session->writes_taken();
    }
}

void worker_core::close_pools() {
    closing_ = true;
    asking_.stop();
    for (auto& [name, hub] : hubs_) {
        hub->stop();
    }
    for (auto& [name, pool] : pools_) {
        pool->close();
    }
}

std::size_t worker_core::max_sessions() const noexcept {
    return options_.share_of(options_.settings->listen.max_clients()) + admin_.consoles();
}

bool worker_core::quiet() const noexcept {
    if (sessions() != 0 || asking_.pending() != 0) return false;
    for (const auto& [name, pool] : pools_) {
        if (pool->busy() || pool->burying() || !pool->servers().empty()) return false;
    }
    return true;
}

std::size_t worker_core::server_connections() const noexcept {
    std::size_t count = 0;
    for (const auto& [name, pool] : pools_) {
        count += pool->ledger().total();
    }
    return count;
}

database_catalog& worker_core::catalog_of(const std::string& database) {
    auto& catalog = catalogs_[database];
    if (!catalog) {
        const auto& settings = options_.settings->catalog;
        catalog = std::make_unique<database_catalog>(
            database, catalog_options{settings.refresh(), settings.max_bytes().bytes},
            *options_.schema_changes
        );
    }
    return *catalog;
}

notification_hub& worker_core::hub_for(const std::string& database, const std::string& user) {
    auto& hub = hubs_[database];
    if (!hub) hub = std::make_unique<notification_hub>(*this, database, user);
    return *hub;
}

client_key worker_core::register_key(client_session& session, std::uint32_t pid, bool long_secret) {
    client_key key;
    key.pid = pid;
    key.secret_size = long_secret ? client_key::long_secret : 4;
    for (;;) {
        for (std::size_t i = 0; i < key.secret.size(); i += 8) {
            const std::uint64_t random = env_.random();
            std::memcpy(key.secret.data() + i, &random, 8);
        }
        const std::uint32_t rest = key.id() << client_key::worker_bits >> client_key::worker_bits;
        protocol::store_u32(key.secret.data(), options_.index << (32 - client_key::worker_bits) | rest);
        if (keys_.try_emplace(key.id(), &session).second) return key;
    }
}

void worker_core::cancel(std::uint32_t pid, protocol::byte_view key) {
    if (key.size() < 4) return;
    const std::uint32_t id = protocol::load_u32(key.data());
    const unsigned worker = client_key::worker_of(id);
    if (worker != options_.index) {
        const auto pass_on = [pid, key = std::vector<std::byte>(key.begin(), key.end())](worker_core& core) {
            core.cancel(pid, key);
        };
        if (options_.to_worker && worker < options_.workers) options_.to_worker(worker, pass_on);
        return;
    }
    const auto it = keys_.find(id);
    if (it == keys_.end() || !it->second->key().matches(pid, key)) {
        metrics_.cancels.add(config::metrics::cancel_result::unknown_key);
        return;
    }
    it->second->cancel();
}

}  // namespace pgmend::proxy
