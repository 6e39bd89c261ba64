#include "pool/tls_stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace pgmend::pool {

namespace {

/// Our own bits, towards the stream below.
constexpr event_mask below_readable = 1;
constexpr event_mask below_writable = 2;

/// The plaintext of one TLS record.
constexpr std::size_t record_size = 16384;
/// Records of one write call: what leaves in one system call.
constexpr std::size_t records_a_call = 4;
/// Ciphertext held for a peer that does not read. A handshake's flight or one write call fits; more than that
/// is a peer who asks for answers (key updates) and takes none.
constexpr std::size_t unsent_max = 160 * 1024;

/// Ciphertext of the call under way, on its way down. One call at a time runs on a thread.
thread_local std::vector<std::byte> outgoing;
thread_local std::array<std::byte, record_size> joined;

std::string openssl_reason() {
    const unsigned long code = ERR_get_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    ERR_clear_error();
    return reason != nullptr ? reason : "TLS failed";
}

bool includes(interest what, interest part) noexcept {
    return (static_cast<unsigned>(what) & static_cast<unsigned>(part)) != 0;
}

/// Goes through pieces in steps of at most one record.
class piece_cursor {
public:
    explicit piece_cursor(std::span<const iovec> pieces) noexcept : pieces_(pieces) {}

    /// The next bytes: in place when a piece fills a record or is the last, else joined in `scratch`.
    std::span<const std::byte> take(std::span<std::byte> scratch) noexcept {
        skip_empty();
        if (pieces_.empty()) return {};
        const auto front = rest();
        if (pieces_.size() == 1 || front.size() >= scratch.size()) {
            const auto next = front.first(std::min(front.size(), scratch.size()));
            at_ += next.size();
            return next;
        }
        std::size_t filled = 0;
        while (!pieces_.empty() && filled < scratch.size()) {
            const auto piece = rest();
            const std::size_t count = std::min(piece.size(), scratch.size() - filled);
            std::memcpy(scratch.data() + filled, piece.data(), count);
            filled += count;
            at_ += count;
            skip_empty();
        }
        return scratch.first(filled);
    }

private:
    std::span<const std::byte> rest() const noexcept {
        return std::span(static_cast<const std::byte*>(pieces_[0].iov_base), pieces_[0].iov_len).subspan(at_);
    }
    void skip_empty() noexcept {
        while (!pieces_.empty() && at_ == pieces_[0].iov_len) {
            pieces_ = pieces_.subspan(1);
            at_ = 0;
        }
    }
    std::span<const iovec> pieces_;
    std::size_t at_ = 0;
};

}  // namespace

/// How OpenSSL reaches the stream below. Writing always succeeds here; `flush` carries the bytes down
/// afterwards.
struct tls_bio {
    static int read(BIO* bio, char* into, int size) noexcept {
        auto& self = *static_cast<tls_stream*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (size <= 0) return 0;
        if (!self.early_.empty()) return self.take_early(into, static_cast<std::size_t>(size));
        const io_result got =
            self.below_->read_some({reinterpret_cast<std::byte*>(into), static_cast<std::size_t>(size)});
        switch (got.status) {
            case io_status::ok:
                return static_cast<int>(got.bytes);
            case io_status::would_block:
                BIO_set_retry_read(bio);
                return -1;
            case io_status::eof:
                self.below_ended_ = true;
                return 0;
            case io_status::error:
                self.error_ = got.error != 0 ? got.error : EIO;
                return -1;
        }
        return -1;
    }

    static int write(BIO* bio, const char* from, int size) noexcept {
        auto& self = *static_cast<tls_stream*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (size <= 0) return 0;
        if (self.unsent_.size() + outgoing.size() + static_cast<std::size_t>(size) > unsent_max) {
            self.error_ = ENOBUFS;
            return -1;
        }
        const auto* bytes = reinterpret_cast<const std::byte*>(from);
        outgoing.insert(outgoing.end(), bytes, bytes + size);
        return size;
    }

    static long control(BIO*, int command, long, void*) noexcept { return command == BIO_CTRL_FLUSH ? 1 : 0; }

    /// One table for the process, made at the first connection; OpenSSL never changes it.
    static BIO_METHOD* methods() noexcept {
        static BIO_METHOD* const table = [] {
            BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgmend stream");
            BIO_meth_set_read(made, &read);
            BIO_meth_set_write(made, &write);
            BIO_meth_set_ctrl(made, &control);
            return made;
        }();
        return table;
    }
};

tls_stream::tls_stream(
    std::unique_ptr<stream> below, std::shared_ptr<const tls_context> context, const std::string& host
)
    : below_(std::move(below)), context_(std::move(context)), ssl_(context_->make(host)) {
    BIO* const bio = ssl_ != nullptr ? BIO_new(tls_bio::methods()) : nullptr;
    if (bio == nullptr) {
        fail(EINVAL, "no TLS to host \"" + host + "\"");
        return;
    }
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
}

io_result tls_stream::fail(int error, std::string text) noexcept {
    if (!failed_) {
        failed_ = true;
        error_ = error;
        failure_ = std::move(text);
    }
    return {io_status::error, 0, error_};
}

/// Carries `unsent_` and then `fresh` down as far as they go and keeps the rest. `would_block` while some
/// stays.
io_result tls_stream::send(std::span<std::byte> fresh) noexcept {
    if (failed_) return {io_status::error, 0, error_};
    const bool waited = !unsent_.empty();
    std::size_t sent = 0;
    while (sent < unsent_.size() + fresh.size()) {
        const std::size_t old = std::min(sent, unsent_.size());
        const std::span<std::byte> pieces[2] = {std::span(unsent_).subspan(old), fresh.subspan(sent - old)};
        const iovec both[2] = {
            {pieces[0].data(), pieces[0].size()},
            {pieces[1].data(), pieces[1].size()},
        };
        const std::size_t first = pieces[0].empty() ? 1 : 0;
        const std::size_t last = pieces[1].empty() ? 1 : 2;
        const io_result moved = below_->write_some(std::span(both).subspan(first, last - first));
        if (moved.status == io_status::would_block) break;
        if (moved.status != io_status::ok) {
            return fail(moved.error != 0 ? moved.error : EPIPE, "the connection below broke while sending");
        }
        sent += moved.bytes;
    }
    const std::size_t old = std::min(sent, unsent_.size());
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(old));
    const auto rest = fresh.subspan(sent - old);
    unsent_.insert(unsent_.end(), rest.begin(), rest.end());
    if (unsent_.empty() && waited) unsent_.shrink_to_fit();
    if (waited == unsent_.empty()) arm_below();
    return {unsent_.empty() ? io_status::ok : io_status::would_block};
}

/// Carries down what OpenSSL has produced in the call under way.
io_result tls_stream::flush() noexcept {
    const io_result sent = send(outgoing);
    outgoing.clear();
    return sent;
}

/// What a call to OpenSSL that moved nothing means. Its bytes, if any, go down first: they may be an alert.
io_result tls_stream::result_of(int outcome) noexcept {
    const int reason = SSL_get_error(ssl_, outcome);
    if (reason == SSL_ERROR_WANT_READ) {
        const io_result flushed = flush();
        if (flushed.status == io_status::error) return flushed;
        return {io_status::would_block};
    }
    if (reason == SSL_ERROR_ZERO_RETURN) {
        flush();
        return {io_status::eof};
    }
    const int broken_below = error_;
    const bool refused = ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    if (broken_below == 0) {
        flush();
    } else {
        outgoing.clear();
    }
    // Without close_notify an end may have been cut by anybody: it is not the other side's word.
    if (below_ended_) return fail(ECONNRESET, "the connection ended without TLS saying so");
    if (broken_below != 0) return fail(broken_below, "the connection below broke");
    if (refused) {
        const long why = SSL_get_verify_result(ssl_);
        return fail(0, std::string("certificate refused: ") + X509_verify_cert_error_string(why));
    }
    return fail(0, openssl_reason());
}

io_result tls_stream::handshake() noexcept {
    if (failed_) return {io_status::error, 0, error_};
    if (established_) return {io_status::ok};
    ERR_clear_error();
    const int outcome = SSL_do_handshake(ssl_);
    if (outcome != 1) {
        const io_result result = result_of(outcome);
        if (result.status == io_status::eof)
            return fail(ECONNRESET, "the other side gave up the TLS handshake");
        return result;
    }
    established_ = true;
    drained_ = false;
    const io_result flushed = flush();
    if (flushed.status == io_status::error) return flushed;
    return {io_status::ok};
}

io_result tls_stream::connected() noexcept {
    if (failed_) return {io_status::error, 0, error_};
    return {established_ ? io_status::ok : io_status::would_block};
}

int tls_stream::take_early(char* into, std::size_t size) noexcept {
    const std::size_t count = std::min(size, early_.size());
    std::memcpy(into, early_.data(), count);
    early_.erase(early_.begin(), early_.begin() + static_cast<std::ptrdiff_t>(count));
    if (early_.empty()) early_.shrink_to_fit();
    return static_cast<int>(count);
}

std::string tls_stream::version() const { return established_ ? SSL_get_version(ssl_) : std::string(); }

void tls_stream::describe(stream_ends& ends) const {
    below_->describe(ends);
    if (established_) ends.tls = version() + '/' + SSL_get_cipher_name(ssl_);
}

io_result tls_stream::read_some(std::span<std::byte> into) noexcept {
    if (failed_) return {io_status::error, 0, error_};
    if (!established_) {
        const io_result shaken = handshake();
        if (shaken.status != io_status::ok) return shaken;
    }
    ERR_clear_error();
    std::size_t total = 0;
    while (total < into.size()) {
        std::size_t got = 0;
        const int outcome = SSL_read_ex(ssl_, into.data() + total, into.size() - total, &got);
        if (outcome != 1) {
            const bool wants = SSL_get_error(ssl_, outcome) == SSL_ERROR_WANT_READ;
            drained_ = wants;
            const io_result end = result_of(outcome);
            // What came before goes first; an end or an error is said again by the next call.
            if (total == 0) return end;
            return {io_status::ok, total};
        }
        drained_ = false;
        total += got;
        // Another record without another system call, if there is one.
        if (SSL_has_pending(ssl_) == 0) break;
    }
    const io_result flushed = flush();
    if (flushed.status == io_status::error && total == 0) return flushed;
    return {io_status::ok, total};
}

io_result tls_stream::write_some(std::span<const iovec> pieces) noexcept {
    if (failed_) return {io_status::error, 0, error_};
    if (!established_) {
        const io_result shaken = handshake();
        if (shaken.status != io_status::ok) return shaken;
    }
    if (!unsent_.empty()) {
        const io_result flushed = flush();
        if (flushed.status != io_status::ok) return flushed;
    }
    ERR_clear_error();
    std::size_t total = 0;
    piece_cursor cursor{pieces};
    for (std::size_t record = 0; record < records_a_call; ++record) {
        const std::span<const std::byte> next = cursor.take(joined);
        if (next.empty()) break;
        std::size_t taken = 0;
        const int outcome = SSL_write_ex(ssl_, next.data(), next.size(), &taken);
        if (outcome != 1) return result_of(outcome);
        total += taken;
    }
    const io_result flushed = flush();
    if (flushed.status == io_status::error) return flushed;
    return {io_status::ok, total};
}

void tls_stream::watch(event_sink& sink, readiness bits) noexcept {
    sink_ = &sink;
    bits_ = bits;
    below_->watch(*this, {below_readable, below_writable});
}

void tls_stream::arm(interest what) noexcept {
    armed_ = what;
    arm_below();
}

/// Our own bytes leave whatever the user waits for.
void tls_stream::arm_below() noexcept {
    const auto mine = unsent_.empty() ? interest::none : interest::write;
    below_->arm(static_cast<interest>(static_cast<unsigned>(armed_) | static_cast<unsigned>(mine)));
}

void tls_stream::notify(event_mask bits) noexcept {
    event_mask out = 0;
    if ((bits & below_writable) != 0) {
        if (!unsent_.empty()) send({});
        if (unsent_.empty() && includes(armed_, interest::write)) out |= bits_.on_writable;
    }
    if ((bits & below_readable) != 0) out |= bits_.on_readable;
    // Nobody waits for our own bytes: whoever waits for anything must look.
    if (failed_) out |= bits_.on_readable | bits_.on_writable;
    if (sink_ != nullptr && out != 0) sink_->notify(out);
}

std::size_t tls_stream::buffered() const noexcept {
    if (failed_ || drained_ || SSL_has_pending(ssl_) == 0) return 0;
    return static_cast<std::size_t>(std::max(SSL_pending(ssl_), 1));
}

void tls_stream::close() noexcept {
    if (ssl_ != nullptr && established_ && !failed_) {
        ERR_clear_error();
        SSL_shutdown(ssl_);
        flush();
    }
    fail(ENOTCONN, "closed");
    SSL_free(ssl_);
    ssl_ = nullptr;
    unsent_.clear();
    unsent_.shrink_to_fit();
    below_->close();
}

}  // namespace pgmend::pool
