#include "pool/tls_stream.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pgmend::pool {

namespace {

/// Our own bits, towards the stream below.
constexpr event_mask below_readable = 1;
constexpr event_mask below_writable = 2;

/// The plaintext of one TLS record.
constexpr std::size_t record_size = 16384;
/// Records of one write call: what leaves in one system call.
constexpr std::size_t records_a_call = 4;
thread_local std::array<std::byte, record_size> joined;

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

tls_stream::tls_stream(
    std::unique_ptr<stream> below, std::shared_ptr<const tls_context> context, const std::string& host
)
    : below_(std::move(below)), context_(std::move(context)), ssl_(make_tls(*context_, host, wire_)) {
    wire_.below = below_.get();
    if (ssl_ == nullptr) fail(EINVAL, "no TLS to host \"" + host + "\"");
}

io_result tls_stream::fail(int error, std::string text) noexcept {
    if (!failed_) {
        failed_ = true;
        error_ = error;
        failure_ = std::move(text);
    }
    return {io_status::error, 0, error_};
}

/// Carries `wire_.unsent` and then `fresh` down as far as they go and keeps the rest. `would_block` while
/// some stays.
io_result tls_stream::send(std::span<std::byte> fresh) noexcept {
    if (failed_) return {io_status::error, 0, error_};
    const bool waited = !wire_.unsent.empty();
    std::size_t sent = 0;
    while (sent < wire_.unsent.size() + fresh.size()) {
        const std::size_t old = std::min(sent, wire_.unsent.size());
        const std::span<std::byte> pieces[2] = {
            std::span(wire_.unsent).subspan(old), fresh.subspan(sent - old)};
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
    const std::size_t old = std::min(sent, wire_.unsent.size());
    wire_.unsent.erase(wire_.unsent.begin(), wire_.unsent.begin() + static_cast<std::ptrdiff_t>(old));
    const auto rest = fresh.subspan(sent - old);
    wire_.unsent.insert(wire_.unsent.end(), rest.begin(), rest.end());
    if (wire_.unsent.empty() && waited) wire_.unsent.shrink_to_fit();
    if (waited == wire_.unsent.empty()) arm_below();
    return {wire_.unsent.empty() ? io_status::ok : io_status::would_block};
}

/// Carries down what OpenSSL has produced in the call under way.
io_result tls_stream::flush() noexcept {
    const io_result sent = send(tls_outgoing());
    tls_outgoing().clear();
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
    std::string why = tls_failure(ssl_);
    if (wire_.error == 0) {
        flush();
    } else {
        tls_outgoing().clear();
    }
    if (wire_.ended) return ended_below();
    if (wire_.error != 0) return fail(wire_.error, "the connection below broke");
    return fail(0, std::move(why));
}

/// Without close_notify an end may have been cut by anybody: it is not the other side's word.
io_result tls_stream::ended_below() noexcept {
    return fail(ECONNRESET, "the connection ended without TLS saying so");
}

io_result tls_stream::handshake() noexcept {
    if (failed_) return {io_status::error, 0, error_};
    if (established_) return {io_status::ok};
    if (step_) return {io_status::would_block};
    if (desk_ != nullptr) return hand_over();
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

/// What has come goes to the desk, with OpenSSL's state. Until that is back nothing more is read.
io_result tls_stream::hand_over() noexcept {
    const io_result got = below_->read_some(joined);
    if (got.status == io_status::ok)
        wire_.early.insert(
            wire_.early.end(), joined.begin(), joined.begin() + static_cast<std::ptrdiff_t>(got.bytes)
        );
    if (wire_.early.empty()) {
        if (got.status == io_status::eof) return ended_below();
        if (got.status == io_status::error)
            return fail(got.error != 0 ? got.error : EIO, "the connection below broke");
        return got;
    }
    step_ = std::make_shared<handshake_step>(*this, ssl_, context_, std::exchange(wire_.early, {}));
    ssl_ = nullptr;
    if (desk_->take(step_)) return {io_status::would_block};
    const auto step = step_;
    take_back(*step);
    if (failed_) return {io_status::error, 0, error_};
    return {established_ ? io_status::ok : io_status::would_block};
}

void tls_stream::take_back(handshake_step& step) noexcept {
    using outcome = handshake_step::outcome;
    ssl_ = std::exchange(step.ssl_, nullptr);
    attach(ssl_, wire_);
    wire_.early = std::move(step.wire_.early);
    step_.reset();
    // Where it has failed, these bytes are the alert that says so.
    send(step.made_);
    if (step.outcome_ == outcome::failed) fail(step.wire_.error, std::move(step.failure_));
    if (step.outcome_ == outcome::done && !failed_) {
        established_ = true;
        drained_ = false;
    }
    arm_below();
}

io_result tls_stream::connected() noexcept {
    if (failed_) return {io_status::error, 0, error_};
    return {established_ ? io_status::ok : io_status::would_block};
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
    if (!wire_.unsent.empty()) {
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
    below_->arm(static_cast<interest>(static_cast<unsigned>(armed_) | static_cast<unsigned>(own_interest())));
}

void tls_stream::notify(event_mask bits) noexcept {
    event_mask out = 0;
    if (step_ && (bits & below_readable) != 0) {
        // Nobody can read it now; it is told again when there is somebody.
        below_->arm(own_interest());
        bits &= ~below_readable;
    }
    if ((bits & below_writable) != 0) {
        if (!wire_.unsent.empty()) send({});
        if (wire_.unsent.empty() && includes(armed_, interest::write)) out |= bits_.on_writable;
    }
    if ((bits & below_readable) != 0) out |= bits_.on_readable;
    // Nobody waits for our own bytes: whoever waits for anything must look.
    if (failed_) out |= bits_.on_readable | bits_.on_writable;
    if (sink_ != nullptr && out != 0) sink_->notify(out);
}

std::size_t tls_stream::buffered() const noexcept {
    if (failed_ || drained_) return 0;
    if (!wire_.early.empty()) return wire_.early.size();
    if (SSL_has_pending(ssl_) == 0) return 0;
    return static_cast<std::size_t>(std::max(SSL_pending(ssl_), 1));
}

void tls_stream::close() noexcept {
    if (ssl_ != nullptr && established_ && !failed_) {
        ERR_clear_error();
        SSL_shutdown(ssl_);
        flush();
    }
    fail(ENOTCONN, "closed");
    if (step_) step_->forget();
    step_.reset();
    SSL_free(ssl_);
    ssl_ = nullptr;
    wire_.unsent.clear();
    wire_.unsent.shrink_to_fit();
    below_->close();
}

}  // namespace pgmend::pool
