#pragma once
// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as step machines, both sides; no I/O, the nonces are arguments.
// Source: RFC 5802, RFC 7677, RFC 5929 (tls-server-end-point); PostgreSQL's auth-scram.c for words and codes.
// A machine belongs to one login. Keys are wiped when their owner goes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/auth_error.hpp"
#include "protocol/bytes.hpp"

namespace pgmend::protocol {

inline constexpr std::string_view scram_sha_256 = "SCRAM-SHA-256";
inline constexpr std::string_view scram_sha_256_plus = "SCRAM-SHA-256-PLUS";

/// Bounds on what an unauthenticated peer may send, in bytes. PostgreSQL takes 1024 from a client as well.
inline constexpr std::size_t scram_client_message_max = 1024;
inline constexpr std::size_t scram_server_message_max = 4096;
inline constexpr std::size_t scram_nonce_max = 512;
inline constexpr std::size_t scram_salt_max = 512;
/// What PostgreSQL 15 uses for a new password.
inline constexpr std::uint32_t scram_default_iterations = 4096;
/// A server may not ask for more: a million rounds are a quarter of a second on the worker's thread.
inline constexpr std::uint32_t scram_max_iterations = 1'000'000;

/// 32 bytes that are wiped when they go.
struct scram_key : std::array<std::byte, 32> {
    scram_key() noexcept : array{} {}
    scram_key(const scram_key&) noexcept = default;
    scram_key& operator=(const scram_key&) noexcept = default;
    ~scram_key();
};

/// What a server keeps instead of a password.
struct scram_verifier {
    std::uint32_t iterations = 0;
    std::string salt;  ///< raw bytes
    scram_key stored_key;
    scram_key server_key;
    bool mock = false;  ///< for a user who does not exist: the exchange looks the same and always fails

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    static std::optional<scram_verifier> parse(std::string_view text);
    std::string to_string() const;
};

/// From a plain password; takes `iterations` rounds of HMAC, so do it once when the secret is loaded.
scram_verifier derive_scram_verifier(std::string_view password, byte_view salt, std::uint32_t iterations);

/// For a user who does not exist: the salt stays the same for the same name as long as `process_secret` does.
scram_verifier mock_scram_verifier(byte_view process_secret, std::string_view user, std::uint32_t iterations);

/// Checks a plain password (authentication method `password`) against a verifier. Takes its iterations.
bool scram_verify_password(const scram_verifier& verifier, std::string_view password);

/// Random bytes as a nonce, 32 printable characters.
std::string scram_nonce(std::array<std::uint64_t, 3> random);

enum class scram_status : std::uint8_t {
    reply,    ///< send `message` and wait for the next one
    done,     ///< authenticated; a server sends `message` as AuthenticationSASLFinal, a client sends nothing
    refused,  ///< `error` says why; the exchange is over
};

struct scram_step {
    scram_status status;
    std::string message;
    auth_error error;
};

/// The body of SASLInitialResponse. Views into the body.
struct sasl_initial_response {
    std::string_view mechanism;
    std::optional<std::string_view> data;
};
/// Empty when malformed: a length that does not match the body, however large (CVE-2026-6664).
std::optional<sasl_initial_response> parse_sasl_initial_response(byte_view body) noexcept;

/// Our side towards a client.
class scram_server {
public:
    /// `user` is the name of the startup packet; what the client says in the exchange is ignored, as in
    /// PostgreSQL. `end_point` is the tls-server-end-point data of the connection: empty means PLUS was not
    /// offered.
    scram_server(
        scram_verifier verifier, std::string user, std::string server_nonce, std::string_view end_point = {}
    );

    scram_step initial_response(const sasl_initial_response& first);
    scram_step response(std::string_view data);

private:
    enum class phase : std::uint8_t { start, client_first, client_final, over };

    scram_step client_first(std::string_view data);
    scram_step client_final(std::string_view data);
    scram_step refuse(auth_error error);
    bool proof_matches(std::string_view without_proof, const scram_key& proof) const;

    scram_verifier verifier_;
    std::string user_;
    std::string nonce_;  ///< the server's part, then both
    std::string end_point_;
    std::string gs2_header_;
    std::string auth_message_;  ///< client-first-bare, server-first
    phase phase_ = phase::start;
    bool plus_ = false;
};

/// What a client needs to log in without the password.
struct scram_client_keys {
    scram_key client_key;
    scram_key server_key;
};
scram_client_keys derive_scram_client_keys(
    std::string_view password, byte_view salt, std::uint32_t iterations
);

/// Keys by (password, salt, iterations), so that only the first login to a server derives them. Bounded; the
/// least recently used goes. One worker thread.
class scram_key_cache {
public:
    explicit scram_key_cache(std::size_t capacity) noexcept : capacity_(capacity) {}
    /// The reference holds until the next call.
    const scram_client_keys& get(std::string_view password, byte_view salt, std::uint32_t iterations);
    std::uint64_t derivations() const noexcept { return derivations_; }

private:
    struct entry {
        scram_key name;  ///< digest of all three
        scram_client_keys keys;
        std::uint64_t used = 0;
    };
    std::vector<entry> entries_;
    std::size_t capacity_;
    std::uint64_t clock_ = 0;
    std::uint64_t derivations_ = 0;
};

/// Our side towards a server.
class scram_client {
public:
    /// `end_point` as in scram_server, empty without TLS. `cache` outlives the machine.
    scram_client(
        std::string password, std::string nonce, scram_key_cache& cache, std::string_view end_point = {},
        std::uint32_t max_iterations = scram_max_iterations
    );
    ~scram_client();
    scram_client(const scram_client&) = delete;
    scram_client& operator=(const scram_client&) = delete;

    /// From the body of AuthenticationSASL behind its code: the mechanisms offered. The reply is
    /// client-first, to be sent with `mechanism()`.
    scram_step mechanisms(byte_view offered);
    std::string_view mechanism() const noexcept { return plus_ ? scram_sha_256_plus : scram_sha_256; }
    /// AuthenticationSASLContinue; the reply is client-final.
    scram_step server_first(std::string_view data);
    /// AuthenticationSASLFinal; done when the server has proven that it knows the password too.
    scram_step server_final(std::string_view data);

private:
    enum class phase : std::uint8_t { start, server_first, server_final, over };

    scram_step refuse(std::string_view code, std::string message);

    std::string password_;
    std::string nonce_;
    scram_key_cache& cache_;
    std::string end_point_;
    std::string gs2_header_;
    scram_key server_signature_;
    std::uint32_t max_iterations_;
    phase phase_ = phase::start;
    bool plus_ = false;
};

}  // namespace pgmend::protocol
