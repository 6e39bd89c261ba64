// The part of admin_desk that keeps requests from servers: BAN and UNBAN.

#include <algorithm>

#include "protocol/sqlstate.hpp"
#include "proxy/admin/admin_desk.hpp"
#include "proxy/process/real_clock.hpp"
#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

std::optional<std::size_t> admin_desk::server_named(std::string_view name) const {
    const health::server_roster servers = servers_of(orders_.topology(), *settings_);
    std::optional<std::size_t> by_host;
    std::size_t so_called = 0;
    for (std::size_t place = 0; place < servers.size(); ++place) {
        if (servers[place].here == health::presence::gone) continue;
        if (config::print_server(servers[place].address) == name) return place;
        if (servers[place].address.host != name) continue;
        by_host = place;
        ++so_called;
    }
    return so_called == 1 ? by_host : std::nullopt;
}

std::optional<admin_error> admin_desk::ban_objection(
    const admin_command& command, const std::vector<worker_facts>& facts
) const {
    using namespace protocol::sqlstate;
    const std::optional<std::size_t> place = server_named(command.argument);
    if (!place)
        return admin_error{
            undefined_object, "no such server: " + command.argument,
            "SHOW TOPOLOGY lists them, as host:port."};
    const bool banned = bans_.contains(*place);
    if (command.verb == admin_verb::unban) {
        if (banned) return std::nullopt;
        return admin_error{
            object_not_in_prerequisite_state, "server " + command.argument + " is not banned", ""};
    }
    // Once more says for how long from now on.
    if (command.forced || banned || facts.empty()) return std::nullopt;
    const std::vector<bool>& usable = facts.front().usable;
    if (*place >= usable.size() || !usable[*place]) return std::nullopt;
    for (std::size_t other = 0; other < usable.size(); ++other) {
        // What was banned a moment ago may not have got round yet.
        if (other != *place && usable[other] && !bans_.contains(other)) return std::nullopt;
    }
    return admin_error{
        object_not_in_prerequisite_state,
        "server " + command.argument + " is the only one that requests can go to now",
        "Promote a standby first. BAN with FORCE lets them wait for UNBAN, up to hold.timeout."};
}

void admin_desk::ban(const admin_command& command, const std::string& user) {
    const std::optional<std::size_t> place = server_named(command.argument);
    if (!place) return;  // it was there when it was objected to nothing
    auto standing = std::make_unique<standing_ban>(control_);
    std::string cause = "by " + user;
    if (!command.value.empty()) {
        const std::chrono::seconds lasts{std::stoll(command.value)};
        cause += ", for " + command.value + " s";
        standing->until = steady_now() + lasts;
        standing->timer.expires_after(lasts);
        standing->timer.async_wait([this, place = *place,
                                    own = standing.get()](const boost::system::error_code& error) {
            // One that was replaced when its time was over already has been called all the same.
            const auto now = bans_.find(place);
            if (error || now == bans_.end() || now->second.get() != own) return;
            end_ban(place, "ban_over", "its time is over");
        });
    }
    if (command.forced) cause += ", forced";
    bans_[*place] = std::move(standing);
    tell_workers([place = *place, cause](worker_admin& admin) { admin.set_ban(place, true, "banned", cause); }
    );
}

void admin_desk::end_ban(std::size_t place, std::string_view outcome, const std::string& cause) {
    bans_.erase(place);
    tell_workers([place, outcome, cause](worker_admin& admin) { admin.set_ban(place, false, outcome, cause); }
    );
}

}  // namespace pgmend::proxy
