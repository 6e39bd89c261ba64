#include "pool/socket_stream.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "pool/ring_stream.hpp"
#include "pool/system_call.hpp"

namespace pgmend::pool {

std::uint32_t epoll_bits(interest what) noexcept {
    std::uint32_t bits = 0;
    // Who reads meets the end of what the other side sends by that.
    bits |= what == interest::read || what == interest::read_write ? EPOLLIN : EPOLLRDHUP;
    if (what == interest::write || what == interest::read_write) bits |= EPOLLOUT;
    return bits;
}

namespace {

/// The kernel reads a list of pieces at the price of copying some hundred bytes.
constexpr std::size_t small_flight = 1024;

/// Copies the pieces into one and returns their size; zero when they are too long for that.
std::size_t join(std::span<const iovec> pieces, std::span<std::byte> into) noexcept {
    std::size_t size = 0;
    for (const iovec& piece : pieces) {
        if (piece.iov_len > into.size() - size) return 0;
        std::memcpy(into.data() + size, piece.iov_base, piece.iov_len);
        size += piece.iov_len;
    }
    return size;
}

bool again(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

template <class Address>
socket_address to_address(const Address& address, std::size_t length) {
    socket_address result;
    result.bytes.resize(length);
    std::memcpy(result.bytes.data(), &address, length);
    return result;
}

}  // namespace

socket_stream::socket_stream(event_loop& loop, int descriptor, bool connecting, unregistered) noexcept
    : loop_(loop), descriptor_(descriptor), connecting_(connecting) {
    ready = &on_ready;
    armed_ = connecting ? interest::write : interest::read;
}

socket_stream::socket_stream(event_loop& loop, int descriptor, bool connecting)
    : socket_stream(loop, descriptor, connecting, unregistered{}) {
    error_ = static_cast<std::int16_t>(loop_.add(descriptor_, epoll_bits(armed_), *this));
}

std::unique_ptr<stream> make_socket_stream(event_loop& loop, int descriptor, bool connecting) {
    if (loop.ring() != nullptr) return std::make_unique<ring_stream>(loop, descriptor, connecting);
    return std::make_unique<socket_stream>(loop, descriptor, connecting);
}

io_result socket_stream::read_some(std::span<std::byte> into) noexcept {
    if (descriptor_ < 0 || error_ != 0) return {io_status::error, 0, error_};
    const ssize_t got = system_call::recv(descriptor_, into.data(), into.size());
    if (got > 0) return {io_status::ok, static_cast<std::size_t>(got)};
    if (got == 0) return {io_status::eof};
    if (again(errno)) return {io_status::would_block};
    return {io_status::error, 0, errno};
}

io_result socket_stream::write_some(std::span<const iovec> pieces) noexcept {
    if (descriptor_ < 0 || error_ != 0) return {io_status::error, 0, error_};
    ssize_t sent;
    std::array<std::byte, small_flight> together;
    if (pieces.size() == 1) {
        sent = system_call::send(descriptor_, pieces[0].iov_base, pieces[0].iov_len);
    } else if (const std::size_t size = join(pieces, together); size != 0) {
        sent = system_call::send(descriptor_, together.data(), size);
    } else {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(pieces.data());
        message.msg_iovlen = pieces.size();
        sent = system_call::sendmsg(descriptor_, message);
    }
    if (sent >= 0) return {io_status::ok, static_cast<std::size_t>(sent)};
    if (again(errno)) return {io_status::would_block};
    return {io_status::error, 0, errno};
}

void socket_stream::watch(event_sink& sink, readiness bits) noexcept {
    sink_ = &sink;
    bits_ = bits;
    if (error_ != 0) sink.notify(bits.on_readable | bits.on_writable);
}

void socket_stream::arm(interest what) noexcept {
    if (what == armed_ || descriptor_ < 0) return;
    armed_ = what;
    told_broken_ = told_ended_ = false;
    loop_.modify(descriptor_, epoll_bits(what), *this);
}

io_result socket_stream::connected() noexcept {
    if (descriptor_ < 0 || error_ != 0) return {io_status::error, 0, error_};
    if (!connecting_) return {io_status::ok};
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    if (::getpeername(descriptor_, reinterpret_cast<sockaddr*>(&peer), &length) == 0) {
        connecting_ = false;
        return {io_status::ok};
    }
    int error = 0;
    length = sizeof error;
    ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0) return {io_status::would_block};
    error_ = static_cast<std::int16_t>(error);
    return {io_status::error, 0, error};
}

void socket_stream::close() noexcept {
    sink_ = nullptr;
    if (descriptor_ < 0) return;
    loop_.remove(descriptor_, *this);
    ::close(descriptor_);
    descriptor_ = -1;
}

void socket_stream::on_ready(loop_watch& self, std::uint32_t events) noexcept {
    auto& stream = static_cast<socket_stream&>(self);
    if (stream.sink_ == nullptr) {
        // Nobody listens: without this a readable socket would wake the loop for ever.
        stream.arm(interest::none);
        if ((events & (EPOLLERR | EPOLLHUP)) != 0) stream.close();
        return;
    }
    constexpr std::uint32_t broken = EPOLLERR | EPOLLHUP;
    if (events == EPOLLIN) {
        stream.sink_->notify(stream.bits_.on_readable);
        return;
    }
    if (stream.told_broken_) return;
    event_mask bits = 0;
    if ((events & (EPOLLIN | broken)) != 0) bits |= stream.bits_.on_readable;
    if ((events & (EPOLLOUT | broken)) != 0) bits |= stream.bits_.on_writable;
    if ((events & broken) != 0) bits |= stream.bits_.on_broken;
    if ((events & EPOLLRDHUP) != 0 && !stream.told_ended_) {
        // Behind bytes that nobody reads now; told once.
        bits |= stream.bits_.on_readable;
        stream.told_ended_ = true;
        stream.loop_.modify(stream.descriptor_, epoll_bits(stream.armed_) & ~EPOLLRDHUP, stream);
    }
    if ((events & broken) != 0 && stream.armed_ == interest::none) {
        // Reported even when paused, once; leave the loop until somebody arms again and meets the error by
        // I/O. The change itself is another edge.
        stream.told_broken_ = true;
        stream.loop_.modify(stream.descriptor_, EPOLLET, stream);
    }
    stream.sink_->notify(bits);
}

std::vector<socket_address> literal_addresses(const endpoint& to) {
    if (to.is_unix_socket()) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = to.to_string();
        if (path.size() >= sizeof address.sun_path) return {};
        std::memcpy(address.sun_path, path.data(), path.size());
        // An abstract name begins with a zero byte and is not zero-terminated.
        std::size_t length = sizeof address;
        if (path.front() == '@') {
            address.sun_path[0] = 0;
            length = offsetof(sockaddr_un, sun_path) + path.size();
        }
        return {to_address(address, length)};
    }
    sockaddr_in v4{};
    if (::inet_pton(AF_INET, to.host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(to.port);
        return {to_address(v4, sizeof v4)};
    }
    sockaddr_in6 v6{};
    if (::inet_pton(AF_INET6, to.host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(to.port);
        return {to_address(v6, sizeof v6)};
    }
    return {};
}

void apply_options(int descriptor, const tcp_options& options) noexcept {
    const auto set = [descriptor](int level, int name, int value) {
        ::setsockopt(descriptor, level, name, &value, sizeof value);
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, options.keepalive_idle_s);
    set(IPPROTO_TCP, TCP_KEEPINTVL, options.keepalive_interval_s);
    set(IPPROTO_TCP, TCP_KEEPCNT, options.keepalive_count);
    if (options.user_timeout_ms > 0) set(IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout_ms);
}

std::string address_text(const sockaddr_storage& address) {
    if (address.ss_family == AF_INET) {
        // By hand: inet_ntop prints by a format, and every client that comes in is named.
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
        const std::uint32_t host = ntohl(v4.sin_addr.s_addr);
        std::string text;
        for (const unsigned shift : {24U, 16U, 8U, 0U}) {
            text.append(std::to_string((host >> shift) & 255U)).push_back(shift == 0 ? ':' : '.');
        }
        return text.append(std::to_string(ntohs(v4.sin_port)));
    }
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
        ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        return '[' + std::string{text} + "]:" + std::to_string(ntohs(v6.sin6_port));
    }
    return "unix";
}

void socket_stream::describe(stream_ends& ends) const {
    if (descriptor_ < 0) return;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
        ends.local = address_text(address);
    ucred peer{};
    socklen_t peer_size = sizeof peer;
    if (address.ss_family == AF_UNIX &&
        ::getsockopt(descriptor_, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0)
        ends.remote_pid = peer.pid;
    address = {};
    size = sizeof address;
    if (::getpeername(descriptor_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
        ends.remote = address_text(address);
}

std::unique_ptr<stream> socket_network::connect(const endpoint& to) {
    const auto addresses = addresses_.lookup(to);
    if (addresses.empty()) return std::make_unique<socket_stream>(loop_, EHOSTUNREACH);
    return connect_to(addresses[turn_++ % addresses.size()]);
}

std::unique_ptr<stream> socket_network::connect_beside(const stream& other, const endpoint& to) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    // The name of a Unix socket is its endpoint; one that is gone has no peer any more.
    const bool known = ::getpeername(other.descriptor(), reinterpret_cast<sockaddr*>(&peer), &length) == 0;
    if (!known || peer.ss_family == AF_UNIX) return connect(to);
    return connect_to(to_address(peer, length));
}

std::unique_ptr<stream> socket_network::connect_to(const socket_address& address) {
    const auto* raw = reinterpret_cast<const sockaddr*>(address.bytes.data());
    const int descriptor = ::socket(raw->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return std::make_unique<socket_stream>(loop_, errno);
    if (raw->sa_family != AF_UNIX) apply_options(descriptor, options_);
    const int outcome = ::connect(descriptor, raw, static_cast<socklen_t>(address.bytes.size()));
    if (outcome != 0 && errno != EINPROGRESS) {
        const int error = errno;
        ::close(descriptor);
        return std::make_unique<socket_stream>(loop_, error);
    }
    return make_socket_stream(loop_, descriptor, outcome != 0);
}

}  // namespace pgmend::pool
