#include "pool/stream.hpp"

namespace pgmend::pool {

std::string endpoint::to_string() const {
    if (is_unix_socket()) return host + "/.s.PGSQL." + std::to_string(port);
    const bool v6 = host.find(':') != std::string::npos;
    return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace pgmend::pool
