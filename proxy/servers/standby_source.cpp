#include "proxy/servers/standby_source.hpp"

#include <algorithm>

namespace pgmend::proxy {

bool standby_source::is_ready(std::size_t place) const noexcept {
    if (!positions_ || !cluster_.is_fit_standby(place)) return false;
    const auto lag = positions_->lag(place);
    return lag && *lag <= max_lag_;
}

standby_state standby_source::best() const noexcept {
    standby_state best = standby_state::none;
    for (std::size_t place = 0; place < cluster_.servers(); ++place) {
        if (is_ready(place)) return standby_state::ready;
        if (cluster_.is_fit_standby(place)) best = standby_state::lagging;
    }
    return best;
}

bool standby_source::any_has(config::time_point wrote_at) const noexcept {
    if (wrote_at == config::time_point::min()) return true;
    for (std::size_t place = 0; place < cluster_.servers(); ++place) {
        // Whether that holds for a connection, which must be older than the check, is seen when there is one.
        if (is_ready(place) && positions_->has(place, wrote_at, config::time_point::min())) return true;
    }
    return false;
}

bool standby_source::has(const pool::server_connection& server, config::time_point wrote_at) const noexcept {
    const std::size_t place = cluster_.place_of(server.where);
    if (place == cluster_.servers() || !is_ready(place)) return false;
    return wrote_at == config::time_point::min() || positions_->has(place, wrote_at, server.logged_in_at);
}

pool::endpoint_choice standby_source::choose(bool) {
    const std::size_t count = cluster_.servers();
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t place = (next_ + i) % count;
        if (!is_ready(place)) continue;
        if (auto choice = cluster_.admit(place); choice.where) {
            next_ = place + 1;
            return choice;
        }
    }
    return {};
}

/// Before PostgreSQL 14 it does not say itself what it is.
bool standby_source::accepts(const pool::endpoint&, const pool::server_connection& server) {
    return server.reported->find("in_hot_standby") == nullptr || server.reports_on("in_hot_standby");
}

config::duration standby_source::report(
    const pool::endpoint_choice& choice, const pool::login_outcome& outcome
) {
    config::time_point again{};
    if (cluster_.admitted(choice, outcome, again)) return {};
    return any_serves() ? config::duration{} : again - env_.now();
}

bool standby_source::may_serve(const pool::endpoint& where) const noexcept {
    const std::size_t place = cluster_.place_of(where);
    return place < cluster_.servers() && is_ready(place);
}

}  // namespace pgmend::proxy
