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

}  // namespace pgmend::proxy
