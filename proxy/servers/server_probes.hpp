#pragma once
// How the health monitor logs in to a server: as the upstream's own user, to its database, with its password
// and its TLS rules. Control thread.

#include <boost/asio/io_context.hpp>
#include <memory>

#include "config/settings.hpp"
#include "health/libpq_prober.hpp"
#include "proxy/login/live_files.hpp"
#include "proxy/servers/address_resolver.hpp"

namespace pgmend::proxy {

/// `addresses`, `control` and `files` must outlive what is returned: passwords and certificates are those of
/// the day.
std::unique_ptr<health::prober> make_prober(
    boost::asio::io_context& control, const config::settings& settings, const config::server_address& server,
    address_resolver& addresses, const live_files& files
);

/// A connection for replication, of the same user: `read_wal`.
std::unique_ptr<health::libpq_link> make_wal_link(
    boost::asio::io_context& control, const config::settings& settings, const config::server_address& server,
    address_resolver& addresses, const live_files& files
);
/// As workers know it.
pool::endpoint endpoint_of(const config::server_address& server);

}  // namespace pgmend::proxy
