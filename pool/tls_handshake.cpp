#include "pool/tls_handshake.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "pool/tls_stream.hpp"

namespace pgmend::pool {

namespace {

/// Ciphertext held for a peer that does not read. A handshake's flight or one write call fits; more than that
/// is a peer who asks for answers (key updates) and takes none.
constexpr std::size_t unsent_max = 160 * 1024;

int take_early(tls_wire& wire, char* into, std::size_t size) noexcept {
    const std::size_t count = std::min(size, wire.early.size());
    std::memcpy(into, wire.early.data(), count);
    wire.early.erase(wire.early.begin(), wire.early.begin() + static_cast<std::ptrdiff_t>(count));
    if (wire.early.empty()) wire.early.shrink_to_fit();
    return static_cast<int>(count);
}

/// How OpenSSL reaches the wire. Writing always succeeds here; whoever made the call carries the bytes down
/// afterwards.
int read_wire(BIO* bio, char* into, int size) noexcept {
    auto& wire = *static_cast<tls_wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    if (!wire.early.empty()) return take_early(wire, into, static_cast<std::size_t>(size));
    io_result got{io_status::would_block};
    if (wire.below != nullptr)
        got = wire.below->read_some({reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)});
    switch (got.status) {
        case io_status::ok:
            return static_cast<int>(got.bytes);
        case io_status::would_block:
            BIO_set_retry_read(bio);
            return -1;
        case io_status::eof:
            wire.ended = true;
            return 0;
        case io_status::error:
            wire.error = got.error != 0 ? got.error : EIO;
            return -1;
    }
    return -1;
}

int write_wire(BIO* bio, const char* from, int size) noexcept {
    auto& wire = *static_cast<tls_wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    std::vector<std::byte>& outgoing = tls_outgoing();
    if (wire.unsent.size() + outgoing.size() + static_cast<std::size_t>(size) > unsent_max) {
        wire.error = ENOBUFS;
        return -1;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(from);
    outgoing.insert(outgoing.end(), bytes, bytes + size);
    return size;
}

long control_wire(BIO*, int command, long, void*) noexcept { return command == BIO_CTRL_FLUSH ? 1 : 0; }

/// One table for the process, made at the first connection; OpenSSL never changes it.
BIO_METHOD* methods() noexcept {
    static BIO_METHOD* const table = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgmend stream");
        BIO_meth_set_read(made, &read_wire);
        BIO_meth_set_write(made, &write_wire);
        BIO_meth_set_ctrl(made, &control_wire);
        return made;
    }();
    return table;
}

}  // namespace

std::vector<std::byte>& tls_outgoing() noexcept {
    thread_local std::vector<std::byte> outgoing;
    return outgoing;
}

ssl_st* make_tls(const tls_context& context, const std::string& host, tls_wire& wire) noexcept {
    ssl_st* const ssl = context.make(host);
    BIO* const bio = ssl != nullptr ? BIO_new(methods()) : nullptr;
    if (bio == nullptr) {
        SSL_free(ssl);
        return nullptr;
    }
    BIO_set_data(bio, &wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return ssl;
}

void attach(ssl_st* ssl, tls_wire& wire) noexcept { BIO_set_data(SSL_get_rbio(ssl), &wire); }

std::string tls_failure(ssl_st* ssl) {
    const unsigned long code = ERR_get_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return std::string("certificate refused: ") +
               X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    return reason != nullptr ? reason : "TLS failed";
}

handshake_step::handshake_step(
    tls_stream& owner, ssl_st* ssl, std::shared_ptr<const tls_context> context,
    std::vector<std::byte> received
)
    : owner_(&owner), ssl_(ssl), context_(std::move(context)) {
    wire_.early = std::move(received);
    attach(ssl_, wire_);
}

handshake_step::~handshake_step() { SSL_free(ssl_); }

void handshake_step::run() noexcept {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_);
    made_.swap(tls_outgoing());
    if (result == 1) {
        outcome_ = outcome::done;
        return;
    }
    const int reason = SSL_get_error(ssl_, result);
    if (reason == SSL_ERROR_WANT_READ) return;
    outcome_ = outcome::failed;
    failure_ =
        reason == SSL_ERROR_ZERO_RETURN ? "the other side gave up the TLS handshake" : tls_failure(ssl_);
}

void handshake_step::give_back() noexcept {
    if (owner_ == nullptr) return;
    tls_stream& owner = *owner_;
    owner.take_back(*this);
    const bool over = owner.failed_ || owner.established_;
    if (over && owner.sink_ != nullptr) owner.sink_->notify(owner.bits_.on_readable);
}

}  // namespace pgmend::pool
