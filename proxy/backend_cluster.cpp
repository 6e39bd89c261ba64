#include "proxy/backend_cluster.hpp"

#include <algorithm>

#include "config/log.hpp"

namespace pgmend::proxy {

using config::session_attributes;
using config::metrics::connect_result;

backend_cluster::backend_cluster(const config::settings& settings, config::environment& env)
    : env_(env), wanted_(settings.upstream.target_session_attrs()) {
    const health::backoff_limits limits{settings.pool.retry_delay_min(), settings.pool.retry_delay_max()};
    for (const auto& server : settings.upstream.servers()) {
        const std::string& host = server.address.empty() ? server.host : server.address;
        candidates_.push_back(candidate{pool::endpoint{host, server.port}, health::backoff{limits}, {}});
    }
}

backend_cluster::candidate* backend_cluster::find(const pool::endpoint& where) noexcept {
    const auto it = std::find_if(candidates_.begin(), candidates_.end(), [&](const candidate& c) {
        return c.where == where;
    });
    return it == candidates_.end() ? nullptr : &*it;
}

pool::endpoint backend_cluster::choose() {
    const auto now = env_.now();
    if (candidates_[present_].rests_until <= now) return candidates_[present_].where;
    // The others in the order given; if all rest, the one that has rested longest.
    const auto awake = std::find_if(candidates_.begin(), candidates_.end(), [now](const candidate& c) {
        return c.rests_until <= now;
    });
    if (awake != candidates_.end()) return awake->where;
    return std::min_element(
               candidates_.begin(), candidates_.end(),
               [](const candidate& a, const candidate& b) { return a.rests_until < b.rests_until; }
    )->where;
}

bool backend_cluster::accepts(const pool::endpoint&, const pool::server_connection& server) {
    const auto is_on = [&server](std::string_view name) {
        const std::string* value = server.reported->find(name);
        return value != nullptr && *value == "on";
    };
    const bool standby = is_on("in_hot_standby");
    const bool read_only = standby || is_on("default_transaction_read_only");
    switch (wanted_) {
        case session_attributes::any:
            return true;
        case session_attributes::read_write:
            return !read_only;
        case session_attributes::read_only:
            return read_only;
        case session_attributes::primary:
            return !standby;
        case session_attributes::standby:
            return standby;
        case session_attributes::prefer_standby:
            return standby || standby_preference_given_up_;
    }
    return true;
}

config::duration backend_cluster::report(const pool::endpoint& where, const pool::login_outcome& outcome) {
    candidate* reported = find(where);
    if (reported == nullptr) return {};
    const auto now = env_.now();
    // What is about the client and not about the server says nothing about the server.
    const bool server_is_fine = !outcome.worth_retrying() && outcome.result != connect_result::tls_failed;
    if (server_is_fine) {
        reported->pause.reset();
        reported->rests_until = {};
        const auto index = static_cast<std::size_t>(reported - candidates_.data());
        if (index != present_) log::info("server_chosen", {{"server", where.to_string()}});
        present_ = index;
        return {};
    }
    reported->rests_until = now + reported->pause.next(env_.random());
    const bool others_left = std::any_of(candidates_.begin(), candidates_.end(), [now](const candidate& c) {
        return c.rests_until <= now;
    });
    if (others_left) return {};
    // Nobody is a standby: prefer-standby takes what there is.
    standby_preference_given_up_ = true;
    const auto soonest =
        std::min_element(candidates_.begin(), candidates_.end(), [](const candidate& a, const candidate& b) {
            return a.rests_until < b.rests_until;
        });
    return soonest->rests_until - now;
}

}  // namespace pgmend::proxy
