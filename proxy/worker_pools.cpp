// The part of worker_core that makes pools: of clients, of what listens, of auth.query, of reads from
// standbys.

#include <algorithm>

#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

// Pools that are no client's stand beside the others under names that no user has: with a zero byte in them.
constexpr std::string_view asking_mark{"\0auth_query", 11};
constexpr std::string_view listening_mark{"\0listen", 7};
constexpr std::string_view reading_mark{"\0reads", 6};

pool::login_settings login_for(
    const worker_options& options, server_logins& logins, const std::string& database, const std::string& user
) {
    pool::login_settings login;
    login.database = database;
    login.user = user;
    login.source = &logins;
    login.rules = {options.settings->upstream.binding(), options.settings->upstream.require_auth()};
    login.timeout = options.settings->upstream.connect_timeout();
    return login;
}

/// How many clients of a pool may wait on this worker; 0: any number.
std::size_t waiting_limit(
    const worker_options& worker, const std::string& database, const std::string& user
) {
    const auto& limits = worker.settings->limits;
    const std::size_t whole =
        config::waiting_limit_for(limits.rules(), database, user).value_or(limits.waiting_clients());
    if (whole == 0) return 0;
    return std::max<std::size_t>(worker.share_of(whole), 1);
}

pool::pool_options options_for(
    const worker_options& worker, const std::string& database, const std::string& user
) {
    pool::pool_options options;
    const config::settings& settings = *worker.settings;
    const auto& pool = settings.pool;
    const auto by_rule = [&](auto what, auto otherwise) {
        return config::pool_rule_for(pool.rules(), what, database, user).value_or(otherwise);
    };
    const auto share = [&](auto what, std::uint32_t otherwise) {
        return worker.share_of(by_rule(what, otherwise));
    };
    using config::pool_rule;
    // A worker without a server could not serve who has come to it.
    options.limits.size = std::max<std::size_t>(share(&pool_rule::size, pool.size()), 1);
    options.workers = worker.workers;
    if (pool.sizing() == config::pool_sizing::adaptive) {
        const std::size_t least = worker.share_of(pool.least_size());
        options.least_size = std::clamp<std::size_t>(least, 1, options.limits.size);
    }
    options.limits.min_size = share(&pool_rule::min_size, pool.min_size());
    options.limits.reserve_size = share(&pool_rule::reserve_size, pool.reserve_size());
    options.limits.login_concurrency = pool.login_concurrency();
    options.limits.reserve_timeout = by_rule(&pool_rule::reserve_timeout, pool.reserve_timeout());
    options.limits.wait_timeout = by_rule(&pool_rule::wait_timeout, pool.wait_timeout());
    options.limits.hold_timeout = settings.hold.timeout();
    options.limits.hold_max_waiters = settings.hold.max_waiters();
    options.limits.max_waiters = waiting_limit(worker, database, user);
    options.limits.queue_delay = settings.limits.queue_delay();
    options.limits.idle_timeout = by_rule(&pool_rule::idle_timeout, pool.idle_timeout());
    options.limits.lifetime = by_rule(&pool_rule::lifetime, pool.lifetime());
    options.cleanup_timeout = pool.cleanup_timeout();
    options.max_prepared_statements = pool.max_prepared_statements();
    options.owed_replies = settings.limits.owed_replies();
    options.leak_check = pool.leak_check();
    options.held_message = settings.limits.held_message().bytes;
    options.commit_abandoned = pool.on_abandoned_transaction() == config::abandoned_transaction::commit;
    return options;
}

}  // namespace

void worker_core::reconfigure_pools() {
    for (auto& [name, pool] : pools_) {
        const auto login = login_for(options_, logins_, name.first, name.second);
        pool::pool_options options = client_pool_options(name.first, name.second);
        if (name.second.ends_with(asking_mark)) options = auth_options();
        if (name.second.ends_with(listening_mark)) options = listen_options();
        if (name.second.ends_with(reading_mark)) options = read_options(name.first, pool->login().user);
        pool->reconfigure(login.rules, login.timeout, options);
    }
}

pool::server_pool& worker_core::pool_for(const std::string& database, const std::string& user) {
    auto& pool = pools_[{database, user}];
    if (!pool) {
        pool = std::make_unique<pool::server_pool>(
            pool_context_, login_for(options_, logins_, database, user), client_pool_options(database, user)
        );
        if (admin_.paused(database)) pool->pause();
    }
    return *pool;
}

pool::server_pool& worker_core::read_pool(const std::string& database, const std::string& user) {
    auto& pool = pools_[{database, user + std::string(reading_mark)}];
    if (!pool) {
        pool = std::make_unique<pool::server_pool>(
            read_context_, login_for(options_, logins_, database, user), read_options(database, user)
        );
        if (admin_.paused(database)) pool->pause();
    }
    return *pool;
}

/// As many connections to all standbys as there may be to the primary; none is kept for nobody.
pool::pool_options worker_core::read_options(const std::string& database, const std::string& user) const {
    pool::pool_options options = options_for(options_, database, user);
    options.standbys = true;
    options.least_size = 0;
    options.limits.min_size = options.limits.reserve_size = options.limits.max_waiters = 0;
    options.limits.queue_delay = {};
    return options;
}

pool::server_pool& worker_core::listen_pool(const std::string& database, const std::string& user) {
    auto& pool = pools_[{database, user + std::string(listening_mark)}];
    if (!pool) {
        pool = std::make_unique<pool::server_pool>(
            pool_context_, login_for(options_, logins_, database, user), listen_options()
        );
    }
    return *pool;
}

pool::pool_options worker_core::client_pool_options(const std::string& database, const std::string& user)
    const {
    pool::pool_options options = options_for(options_, database, user);
    options.shared = true;
    options.limits.size = shares_.size({database, user}, options.limits.size);
    return options;
}

std::size_t worker_core::given_share(const pool::pool_name& name) const {
    return options_for(options_, name.first, name.second).limits.size;
}

pool::pool_options worker_core::listen_options() const {
    pool::pool_options options = options_for(options_, {}, {});
    options.limits.max_waiters = 0;
    options.limits.queue_delay = {};
    options.least_size = 0;
    options.limits.size = 1;
    options.limits.min_size = options.limits.reserve_size = 0;
    return options;
}

pool::pool_options worker_core::auth_options() const {
    const auto& query = options_.settings->auth.query;
    pool::pool_options options = options_for(options_, query.database(), query.user());
    options.limits.max_waiters = 0;
    options.limits.queue_delay = {};
    options.least_size = 0;
    options.limits.size = query.connections();
    options.limits.min_size = options.limits.reserve_size = 0;
    options.limits.wait_timeout = query.timeout();
    options.wait_limit = query.timeout.key();
    return options;
}

pool::server_pool& worker_core::auth_pool() {
    const auto& query = options_.settings->auth.query;
    auto& pool = pools_[{query.database(), query.user() + std::string(asking_mark)}];
    if (!pool) {
        auto login = login_for(options_, logins_, query.database(), query.user());
        pool = std::make_unique<pool::server_pool>(pool_context_, std::move(login), auth_options());
        if (admin_.paused(query.database())) pool->pause();
    }
    return *pool;
}

}  // namespace pgmend::proxy
