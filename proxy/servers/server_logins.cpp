#include "proxy/servers/server_logins.hpp"

namespace pgmend::proxy {

/// As libpq: where an address was given beside the name (hostaddr), the name is what counts.
std::string server_logins::tls_name(const pool::endpoint& where) const {
    for (const auto& server : settings_->upstream.servers()) {
        if (server.port == where.port && server.address == where.host && !server.host.empty()) {
            return server.host;
        }
    }
    return where.host;
}

}  // namespace pgmend::proxy
