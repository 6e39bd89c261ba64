#pragma once
// TLS over another stream. OpenSSL never sees a descriptor: its records go through the stream below, so the
// same code runs over sockets and in the simulator. One worker thread.
//
// Ciphertext that the stream below does not take at once is kept here (at most one call's worth) and leaves
// by itself when there is room: a write that was answered `ok` needs no further care, and nothing here ever
// waits for writability in order to read. An idle connection owns no buffer.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pool/stream.hpp"
#include "pool/tls_context.hpp"
#include "pool/tls_handshake.hpp"

struct ssl_st;

namespace pgmend::pool {

/// The names in a certificate. A name with a zero byte in it is left out: it is a trick.
struct tls_identity {
    std::string common_name;
    std::string distinguished_name;              ///< RFC 2253, as PostgreSQL's clientname=DN
    std::vector<std::string> alternative_names;  ///< DNS names, e-mail addresses and URIs
};

class tls_stream final : public stream, private event_sink {
public:
    /// Takes over `below`, which is connected and has no bytes of the peer's waiting elsewhere. `host` as in
    /// tls_context::make.
    tls_stream(
        std::unique_ptr<stream> below, std::shared_ptr<const tls_context> context,
        const std::string& host = {}
    );
    ~tls_stream() override { close(); }

    /// Carries the handshake on. `would_block`: arm for read alone and call again when readable; `ok`:
    /// established and, where the context says so, verified; `error`: `failure()` says why.
    io_result handshake() noexcept;
    /// Why the stream is broken, in OpenSSL's words; empty otherwise.
    const std::string& failure() const noexcept { return failure_; }
    /// Bytes of the peer's that were read before there was TLS (direct TLS: the first byte tells it from
    /// PostgreSQL's protocol). Before the first call of `handshake`.
    void begin_with(std::span<const std::byte> early) { wire_.early.assign(early.begin(), early.end()); }
    /// Lets the handshake be done there, from the first call of `handshake` on.
    void hand_over_to(handshake_desk* desk) noexcept { desk_ = desk; }
    /// The tls-server-end-point data that SCRAM binds to: a hash of the server's certificate. Empty where
    /// there is none. Source: RFC 5929, section 4.1.
    std::string end_point() const;
    /// Whether ALPN agreed on PostgreSQL's protocol.
    bool protocol_agreed() const noexcept;
    /// What the peer's verified certificate says of it; empty without one.
    std::optional<tls_identity> peer() const;
    /// `TLSv1.3` and the like, for SHOW; empty before the handshake is done.
    std::string version() const;

    io_result read_some(std::span<std::byte> into) noexcept override;
    /// Small pieces are joined into full records; several records leave in one call of the stream below.
    io_result write_some(std::span<const iovec> pieces) noexcept override;
    void watch(event_sink& sink, readiness bits) noexcept override;
    void arm(interest what) noexcept override;
    /// would_block until the handshake is done.
    io_result connected() noexcept override;
    /// Says good-bye (close_notify) when the stream below takes it at once.
    void close() noexcept override;
    /// Zero after a read that said would_block: what is left then is the beginning of a record.
    std::size_t buffered() const noexcept override;
    int descriptor() const noexcept override { return below_->descriptor(); }
    void describe(stream_ends& ends) const override;

private:
    friend class handshake_step;

    void notify(event_mask bits) noexcept override;
    io_result hand_over() noexcept;
    void take_back(handshake_step& step) noexcept;
    io_result ended_below() noexcept;
    interest own_interest() const noexcept { return wire_.unsent.empty() ? interest::none : interest::write; }
    io_result send(std::span<std::byte> fresh) noexcept;
    io_result flush() noexcept;
    io_result result_of(int outcome) noexcept;
    io_result fail(int error, std::string text) noexcept;
    void arm_below() noexcept;

    std::unique_ptr<stream> below_;
    std::shared_ptr<const tls_context> context_;
    handshake_desk* desk_ = nullptr;
    std::shared_ptr<handshake_step> step_;  ///< under way elsewhere; it has `ssl_` meanwhile
    tls_wire wire_;
    ssl_st* ssl_ = nullptr;
    std::string failure_;
    event_sink* sink_ = nullptr;
    readiness bits_;
    int error_ = 0;  ///< what every call says once `failed_`
    interest armed_ = interest::none;
    bool established_ = false;
    bool failed_ = false;
    bool drained_ = true;  ///< all that was received is read, but for the beginning of a record
};

}  // namespace pgmend::pool
