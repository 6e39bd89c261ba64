#pragma once
// The seam to the network: a non-blocking byte stream and the one way to open them. TCP, Unix sockets, TLS
// and the simulator implement it; the relay, the logins and the pool are written against it alone. A stream
// belongs to one worker thread.

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "pool/event_gate.hpp"

namespace pgmend::pool {

enum class io_status : std::uint8_t {
    ok,           ///< `bytes` bytes were moved, at least one
    would_block,  ///< nothing now; the sink is notified when it is worth trying again
    eof,          ///< the other side closed in order (reading only)
    error,        ///< the stream is broken; `error` is the errno, 0 when TLS says so
};

/// In the order of its members it fits two registers.
struct io_result {
    io_result(io_status what, std::size_t count = 0, int number = 0) noexcept
        : status(what), error(number), bytes(count) {}
    io_status status;
    int error;
    std::size_t bytes;
};

/// Which readiness a stream reports to its sink. Level-triggered: reported as long as it holds.
enum class interest : std::uint8_t { none = 0, read = 1, write = 2, read_write = 3 };

/// What the sink of a stream is notified of. EOF and errors are reported as readable, and as writable
/// while a connect is under way.
struct readiness {
    event_mask on_readable = 0;
    event_mask on_writable = 0;
    event_mask on_broken =
        0;  ///< both directions are gone; reported besides the others, also while nothing is armed
};

/// Who is at the two ends of a stream, for SHOW. Empty where that is not known.
struct stream_ends {
    std::string local;   ///< `address:port`, `unix`
    std::string remote;  ///< the same
    int remote_pid = 0;  ///< of the process behind a Unix socket
    std::string tls;     ///< `TLSv1.3/TLS_AES_256_GCM_SHA384`
};

class stream {
public:
    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    /// Closes. No notification arrives afterwards.
    virtual ~stream() = default;

    virtual io_result read_some(std::span<std::byte> into) noexcept = 0;
    /// Gathers: the pieces leave in one system call where the stream can. May move fewer bytes than given.
    virtual io_result write_some(std::span<const iovec> pieces) noexcept = 0;
    /// Where readiness goes from now on, replacing the sink before. `sink` must outlive the stream or be
    /// replaced.
    virtual void watch(event_sink& sink, readiness bits) noexcept = 0;
    /// Arms for exactly `what`; costs a system call only when it changes something.
    virtual void arm(interest what) noexcept = 0;
    /// The outcome of opening: would_block while under way, ok when connected, error with its errno.
    virtual io_result connected() noexcept = 0;
    /// Closes at once, in both directions. Bytes not yet written are lost.
    virtual void close() noexcept = 0;
    /// Bytes already received but still inside the stream (TLS records); such bytes cause no readiness of
    /// their own.
    virtual std::size_t buffered() const noexcept { return 0; }
    /// The socket under it all; -1 where there is none.
    virtual int descriptor() const noexcept { return -1; }
    /// Adds what it knows. Costs system calls.
    virtual void describe(stream_ends&) const {}
};

/// Where a server listens: a host name or address with a port, or the directory of a Unix socket.
struct endpoint {
    std::string host;
    std::uint16_t port = 5432;

    bool is_unix_socket() const noexcept { return host.starts_with('/') || host.starts_with('@'); }
    auto operator<=>(const endpoint&) const = default;
    /// `host:port`, an IPv6 address in brackets, for logs and SHOW.
    std::string to_string() const;
};

/// Opens streams to servers. One a worker.
class network {
public:
    network() = default;
    network(const network&) = delete;
    network& operator=(const network&) = delete;
    virtual ~network() = default;

    /// Begins to connect and returns at once; `connected()` of the stream tells the outcome, after a
    /// notification of writability (arm for write). Never null: a failure at once is a stream whose
    /// `connected()` says error.
    virtual std::unique_ptr<stream> connect(const endpoint& to) = 0;
    /// The same, to the very address that `other` has reached: a name may have several, of several servers.
    virtual std::unique_ptr<stream> connect_beside(const stream& /*other*/, const endpoint& to) {
        return connect(to);
    }
};

}  // namespace pgmend::pool
