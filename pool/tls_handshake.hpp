#pragma once
// One step of a TLS handshake, apart from the stream it belongs to: a server's first flight is a quarter of a
// millisecond of arithmetic, for which everybody else on a worker's thread would wait. So a stream can hand
// OpenSSL's state and the bytes that have come to another thread, and gets them back with the bytes to send.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pool/stream.hpp"
#include "pool/tls_context.hpp"

namespace pgmend::pool {

/// What OpenSSL reads from and writes to in place of a socket. Belongs to whoever has OpenSSL's state.
struct tls_wire {
    std::vector<std::byte> early;   ///< received already; comes before what the stream below has
    std::vector<std::byte> unsent;  ///< ciphertext that the stream below did not take; empty nearly always
    stream* below = nullptr;        ///< null: there is nothing but `early`
    int error = 0;                  ///< errno of what has gone wrong below
    bool ended = false;             ///< nothing more comes from below
};

/// Ciphertext of the call under way, on its way down. One call at a time runs on a thread.
std::vector<std::byte>& tls_outgoing() noexcept;
/// A state that reads and writes through `wire`, which may be replaced by `attach`. Null as
/// tls_context::make.
ssl_st* make_tls(const tls_context& context, const std::string& host, tls_wire& wire) noexcept;
void attach(ssl_st* ssl, tls_wire& wire) noexcept;
/// Why the last call failed, in words. Takes OpenSSL's reasons off this thread's queue.
std::string tls_failure(ssl_st* ssl);

class tls_stream;

class handshake_step {
public:
    enum class outcome : std::uint8_t { wants_more, done, failed };

    /// Takes `ssl` over. `owner` gets it back, unless it has said `forget` before.
    handshake_step(
        tls_stream& owner, ssl_st* ssl, std::shared_ptr<const tls_context> context,
        std::vector<std::byte> received
    );
    handshake_step(const handshake_step&) = delete;
    handshake_step& operator=(const handshake_step&) = delete;
    ~handshake_step();

    /// The work. Any thread, but one at a time, and not that of the owner once it was handed over.
    void run() noexcept;
    /// Tells the owner. The owner's thread.
    void give_back() noexcept;
    /// The owner is gone. The owner's thread.
    void forget() noexcept { owner_ = nullptr; }

private:
    friend class tls_stream;

    tls_stream* owner_;
    ssl_st* ssl_;
    std::shared_ptr<const tls_context> context_;  ///< whose callbacks OpenSSL may call
    tls_wire wire_;
    std::vector<std::byte> made_;  ///< to be sent
    outcome outcome_ = outcome::wants_more;
    std::string failure_;
};

/// Where steps are done beside the thread of their streams. It outlives the streams that know it.
class handshake_desk {
public:
    /// True: `run` will be called elsewhere and then `give_back` on this thread, neither inside this call.
    /// False: `run` has been called in here, and nothing else will be.
    virtual bool take(std::shared_ptr<handshake_step> step) noexcept = 0;

protected:
    ~handshake_desk() = default;
};

}  // namespace pgmend::pool
