#include "proxy/process/listener.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

namespace pgmend::proxy {

namespace {

std::string failure(const std::string& what) { return what + ": " + std::strerror(errno); }

sockaddr_storage address_of(int descriptor) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length);
    return address;
}

std::uint16_t port_of(int descriptor) {
    const auto address = address_of(descriptor);
    if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

bool same_place(const sockaddr_storage& one, const sockaddr& other, bool whatever_port) {
    if (one.ss_family != other.sa_family) return false;
    if (one.ss_family == AF_INET6) {
        const auto& a = reinterpret_cast<const sockaddr_in6&>(one);
        const auto& b = reinterpret_cast<const sockaddr_in6&>(other);
        return std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0 &&
               (whatever_port || a.sin6_port == b.sin6_port);
    }
    const auto& a = reinterpret_cast<const sockaddr_in&>(one);
    const auto& b = reinterpret_cast<const sockaddr_in&>(other);
    return a.sin_addr.s_addr == b.sin_addr.s_addr && (whatever_port || a.sin_port == b.sin_port);
}

/// What listen.host names.
class addresses {
public:
    addresses(const config::listen_settings& settings, std::uint16_t port) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        hints.ai_flags = AI_PASSIVE;
        const bool all = settings.host() == "*";
        addrinfo* found = nullptr;
        error_ = ::getaddrinfo(
            all ? nullptr : settings.host().c_str(), std::to_string(port).c_str(), &hints, &found
        );
        if (error_ == 0) found_.reset(found);
    }
    /// Of getaddrinfo.
    int error() const noexcept { return error_; }
    const addrinfo* first() const noexcept { return found_.get(); }

private:
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found_{nullptr, &::freeaddrinfo};
    int error_ = 0;
};

std::string path_in(const config::listen_settings& settings, std::uint16_t port) {
    return settings.unix_socket_dir() + "/.s.PGSQL." + std::to_string(port);
}

/// Whether somebody answers at this socket file.
bool in_use(const sockaddr_un& address) {
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool answered = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(probe);
    return answered;
}

}  // namespace

std::string listener::open(
    const config::listen_settings& settings, const std::vector<inherited_socket>& inherited
) {
    port_ = settings.port();
    kept_open_ = std::any_of(inherited.begin(), inherited.end(), [](const auto& socket) {
        return socket.name == descriptor_name::clients;
    });
    for (const auto& socket : inherited) {
        if (kept_open_ && socket.name == descriptor_name::clients) {
            adopt(socket);
        } else {
            adopt_wanted(settings, socket);
        }
    }
    if (kept_open_) return {};
    if (!settings.host().empty()) {
        if (auto error = open_tcp(settings); !error.empty()) return error;
    }
    const bool has_local =
        std::any_of(sockets_.begin(), sockets_.end(), [](const auto& socket) { return socket.local; });
    if (!settings.unix_socket_dir().empty() && !has_local) {
        if (auto error = open_unix(settings); !error.empty()) return error;
    }
    return {};
}

/// One that a pgmend before this one opened: the settings may have changed since.
void listener::adopt_wanted(const config::listen_settings& settings, const inherited_socket& socket) {
    const auto address = address_of(socket.descriptor);
    bool wanted = false;
    if (!kept_open_ && address.ss_family == AF_UNIX) {
        const auto& file = reinterpret_cast<const sockaddr_un&>(address);
        wanted = !settings.unix_socket_dir().empty() && path_in(settings, port_) == file.sun_path;
    } else if (!kept_open_ && !settings.host().empty()) {
        const addresses every{settings, settings.port()};
        for (const addrinfo* at = every.first(); at != nullptr; at = at->ai_next)
            wanted = wanted || same_place(address, *at->ai_addr, settings.port() == 0);
    }
    if (wanted) {
        adopt(socket);
    } else {
        ::close(socket.descriptor);
    }
}

std::string listener::open_tcp(const config::listen_settings& settings) {
    const std::string where = settings.host() + ":" + std::to_string(port_);
    const addresses every{settings, port_};
    if (every.error() != 0) return "cannot listen on " + where + ": " + ::gai_strerror(every.error());
    std::string missing;
    for (const addrinfo* at = every.first(); at != nullptr; at = at->ai_next) {
        const bool there = std::any_of(sockets_.begin(), sockets_.end(), [at](const auto& socket) {
            return same_place(address_of(socket.descriptor), *at->ai_addr, false);
        });
        const bool one_is_enough = settings.port() == 0 && !sockets_.empty();
        if (there || one_is_enough) continue;  // another address would get another port
        const int descriptor = ::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0) {
            missing = failure("cannot listen on " + where);
            if (errno == EAFNOSUPPORT) continue;
            return missing;
        }
        const int on = 1;
        ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (at->ai_family == AF_INET6) ::setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        if (::bind(descriptor, at->ai_addr, at->ai_addrlen) != 0 ||
            ::listen(descriptor, static_cast<int>(settings.backlog())) != 0) {
            missing = failure("cannot listen on " + where);
            const bool absent = errno == EADDRNOTAVAIL;
            ::close(descriptor);
            // A machine may know a family and have no address of it.
            if (absent) continue;
            return missing;
        }
        sockets_.push_back({descriptor, false});
        port_ = port_of(descriptor);
        names_.push_back(settings.host() + ":" + std::to_string(port_));
    }
    return sockets_.empty() ? missing : std::string{};
}

std::string listener::open_unix(const config::listen_settings& settings) {
    const std::string path = path_in(settings, port_);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return "cannot listen on " + path + ": the path is too long";
    std::memcpy(address.sun_path, path.data(), path.size());
    if (::access(path.c_str(), F_OK) == 0) {
        if (in_use(address)) return "cannot listen on " + path + ": another process does";
        ::unlink(path.c_str());
    }
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return failure("cannot listen on " + path);
    if (::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::chmod(path.c_str(), static_cast<mode_t>(settings.unix_socket_mode().bits)) != 0 ||
        ::listen(descriptor, static_cast<int>(settings.backlog())) != 0) {
        const auto why = failure("cannot listen on " + path);
        ::close(descriptor);
        return why;
    }
    socket_path_ = path;
    sockets_.push_back({descriptor, true});
    names_.push_back(path);
    return {};
}

void listener::adopt(const inherited_socket& socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    ::getsockname(socket.descriptor, reinterpret_cast<sockaddr*>(&address), &length);
    const bool local = address.ss_family == AF_UNIX;
    sockets_.push_back({socket.descriptor, local});
    if (local) {
        const auto& file = reinterpret_cast<const sockaddr_un&>(address);
        names_.push_back(length > offsetof(sockaddr_un, sun_path) ? file.sun_path : "unix");
        if (socket.name == descriptor_name::clients_file) socket_path_ = names_.back();
        return;
    }
    port_ = port_of(socket.descriptor);
    char host[NI_MAXHOST] = "";
    ::getnameinfo(
        reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST
    );
    names_.push_back(std::string{host} + ":" + std::to_string(port_));
}

std::vector<inherited_socket> listener::heritage() const {
    std::vector<inherited_socket> result;
    for (const auto& socket : sockets_) {
        const bool file = socket.local && !socket_path_.empty();
        const auto own = file ? descriptor_name::clients_file : descriptor_name::clients_own;
        result.push_back({socket.descriptor, kept_open_ ? descriptor_name::clients : own});
    }
    return result;
}

void listener::close() noexcept {
    for (const auto& socket : sockets_) {
        ::close(socket.descriptor);
    }
    sockets_.clear();
    if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
    socket_path_.clear();
}

}  // namespace pgmend::proxy
