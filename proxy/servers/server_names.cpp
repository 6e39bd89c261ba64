#include "proxy/servers/server_names.hpp"

namespace pgmend::proxy {

health::server_roster servers_of(const health::topology_snapshot& picture, const config::settings& settings) {
    if (picture && picture->servers) return *picture->servers;
    return *health::server_directory(settings.upstream.servers()).roster();
}

std::string server_name(
    const health::topology_snapshot& picture, const config::settings& settings, std::size_t place
) {
    if (picture && picture->servers) {
        const auto& servers = *picture->servers;
        return place < servers.size() ? config::print_server(servers[place].address) : std::string();
    }
    const auto& servers = settings.upstream.servers();
    return place < servers.size() ? config::print_server(servers[place]) : std::string();
}

std::string server_in_words(const health::topology& picture, std::size_t place) {
    using health::node_condition;
    using health::node_role;
    const health::node_view& seen = picture.nodes[place];
    std::string words(config::label_word(seen.condition));
    if (seen.condition == node_condition::unknown) words = "not reached yet";
    if (seen.condition == node_condition::suspect) words = "perhaps up";
    switch (seen.role) {
        case node_role::unknown:
            break;
        case node_role::primary:
            words += ", the primary";
            if (seen.read_only) words += ", which takes no writes";
            break;
        case node_role::standby: {
            const auto lag = std::chrono::duration_cast<std::chrono::milliseconds>(seen.lag).count();
            words += ", a standby";
            if (lag > 0) words += " " + std::to_string(lag) + " ms behind";
            break;
        }
        case node_role::fenced:
            words += seen.timeline < picture.memory.timeline
                         ? ", a primary of the past: timeline " + std::to_string(seen.timeline) +
                               ", and there is " + std::to_string(picture.memory.timeline)
                         : ", a second primary beside the elected one";
            break;
        case node_role::foreign:
            words += ", of another cluster";
            break;
    }
    return seen.trouble.empty() ? words : words + ": " + seen.trouble;
}

std::string_view election_in_words(health::election_reason reason) noexcept {
    using health::election_reason;
    switch (reason) {
        case election_reason::kept:
            return "it is the same as before";
        case election_reason::only_claimant:
            return "it is the one server that says it is a primary";
        case election_reason::newer_timeline:
            return "it was promoted";
        case election_reason::present_is_down:
            return "the one before is gone";
        case election_reason::split:
            return "two servers say that they are primaries on one timeline, and the present one is kept";
        case election_reason::none_claims:
            return "no server that can be reached says that it is one";
        case election_reason::all_fenced:
            return "there are only primaries of an older timeline, or of another cluster";
    }
    return {};
}

}  // namespace pgmend::proxy
