#pragma once
// TCP and Unix sockets as streams of an event loop. One worker thread.

#include <sys/socket.h>

#include <functional>
#include <string>
#include <vector>

#include "pool/event_loop.hpp"
#include "pool/stream.hpp"

namespace pgmend::pool {

/// A connected or connecting socket. Registered with the loop for as long as it is open; interest is changed
/// by a system call only when it differs.
class socket_stream : public stream, protected loop_watch {
public:
    /// Takes over `descriptor` (non-blocking). With `connecting`, the outcome is still to come.
    socket_stream(event_loop& loop, int descriptor, bool connecting);
    /// A stream that failed before it had a socket.
    socket_stream(event_loop& loop, int error) noexcept
        : loop_(loop), error_(static_cast<std::int16_t>(error)) {}
    ~socket_stream() override { close(); }

    io_result read_some(std::span<std::byte> into) noexcept override;
    io_result write_some(std::span<const iovec> pieces) noexcept override;
    void watch(event_sink& sink, readiness bits) noexcept override;
    void arm(interest what) noexcept override;
    io_result connected() noexcept override;
    void close() noexcept override;
    int descriptor() const noexcept override { return descriptor_; }
    void describe(stream_ends& ends) const override;

protected:
    struct unregistered {};
    /// The same, and whoever derives from it registers it.
    socket_stream(event_loop& loop, int descriptor, bool connecting, unregistered) noexcept;
    static void on_ready(loop_watch& self, std::uint32_t events) noexcept;

    // Small: there is one for each idle client.
    event_loop& loop_;
    event_sink* sink_ = nullptr;
    readiness bits_;
    int descriptor_ = -1;
    std::int16_t error_ = 0;
    interest armed_ = interest::none;
    bool connecting_ : 1 = false;
    bool told_broken_ : 1 = false;  ///< while armed for nothing: epoll would say so again and again
    bool told_ended_ : 1 = false;   ///< while not armed for reading: the other side sends no more
};

/// What epoll is asked for.
std::uint32_t epoll_bits(interest what) noexcept;
/// A socket of the loop, as its engine does it; takes over `descriptor` as socket_stream does.
std::unique_ptr<stream> make_socket_stream(event_loop& loop, int descriptor, bool connecting);

/// `address:port`, `[v6]:port`, or `unix`.
std::string address_text(const sockaddr_storage& address);

/// A resolved address.
struct socket_address {
    std::vector<std::byte> bytes;
};

/// Finds addresses without blocking: numeric ones and socket directories at once, names from what the control
/// plane has resolved lately.
class address_book {
public:
    virtual ~address_book() = default;
    /// Addresses of `host`, best first; empty when it is not known (yet). Any worker's thread.
    virtual std::vector<socket_address> lookup(const endpoint& to) = 0;
};

/// Numeric addresses and Unix sockets only; what names need is in front of it.
std::vector<socket_address> literal_addresses(const endpoint& to);

struct tcp_options {
    int keepalive_idle_s = 30;
    int keepalive_interval_s = 5;
    int keepalive_count = 3;
    int user_timeout_ms = 0;  ///< TCP_USER_TIMEOUT; 0 leaves the kernel's
};

/// Opens sockets to servers. Several addresses of one name are tried in turn, one per connect.
class socket_network final : public network {
public:
    socket_network(event_loop& loop, address_book& addresses, tcp_options options) noexcept
        : loop_(loop), addresses_(addresses), options_(options) {}
    std::unique_ptr<stream> connect(const endpoint& to) override;
    std::unique_ptr<stream> connect_beside(const stream& other, const endpoint& to) override;

private:
    std::unique_ptr<stream> connect_to(const socket_address& address);

    event_loop& loop_;
    address_book& addresses_;
    tcp_options options_;
    std::size_t turn_ = 0;
};

/// Sets what every connected socket of ours has: no delay, keep-alive. Does nothing on Unix sockets.
void apply_options(int descriptor, const tcp_options& options) noexcept;

}  // namespace pgmend::pool
