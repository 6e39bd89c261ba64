#pragma once
// The sockets clients connect to: TCP addresses and a Unix socket. Made at start, shared by all workers.

#include <string>
#include <vector>

#include "config/settings.hpp"
#include "proxy/process/inherited_sockets.hpp"
#include "proxy/worker.hpp"

namespace pgmend::proxy {

/// Owns the descriptors and the socket file.
class listener {
public:
    listener() = default;
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;
    ~listener() { close(); }

    /// Opens everything the settings ask for. Returns what is wrong, in words; empty when all is open. A
    /// socket file that nobody listens on is replaced, one that is in use is an error. Sockets that a service
    /// manager opened take the place of the addresses in the settings; of those that a pgmend opened before,
    /// the ones that the settings ask for are kept, and the others closed.
    std::string open(
        const config::listen_settings& settings, const std::vector<inherited_socket>& inherited = {}
    );
    /// Idempotent; removes the socket file.
    void close() noexcept;
    /// Another process has taken over: the socket file is not ours to remove any more.
    void keep_file() noexcept { socket_path_.clear(); }
    /// Somebody else keeps the sockets open: clients that come while nobody accepts are served by the next
    /// process.
    bool kept_open() const noexcept { return kept_open_; }
    /// What a successor is to inherit. The descriptors stay ours.
    std::vector<inherited_socket> heritage() const;

    const std::vector<listening_socket>& sockets() const noexcept { return sockets_; }
    /// Where clients can connect to, for people: `127.0.0.1:6432`, `/run/pgmend/.s.PGSQL.6432`.
    const std::vector<std::string>& names() const noexcept { return names_; }
    /// The port of TCP, after the system chose one for 0.
    std::uint16_t port() const noexcept { return port_; }

private:
    std::string open_tcp(const config::listen_settings& settings);
    std::string open_unix(const config::listen_settings& settings);
    void adopt(const inherited_socket& socket);
    void adopt_wanted(const config::listen_settings& settings, const inherited_socket& socket);

    std::vector<listening_socket> sockets_;
    std::vector<std::string> names_;
    std::string socket_path_;
    std::uint16_t port_ = 0;
    bool kept_open_ = false;
};

}  // namespace pgmend::proxy
