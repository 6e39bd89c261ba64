#pragma once
// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS as step machines, both sides; no I/O, the nonces are arguments.
// Source: RFC 5802, RFC 7677, RFC 5929 (tls-server-end-point); PostgreSQL's auth-scram.c for words and codes.
// A machine belongs to one login.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/auth_error.hpp"
#include "protocol/bytes.hpp"
#include "protocol/scram_keys.hpp"

namespace pgmend::protocol {

inline constexpr std::string_view scram_sha_256 = "SCRAM-SHA-256";
inline constexpr std::string_view scram_sha_256_plus = "SCRAM-SHA-256-PLUS";

/// Bounds on what an unauthenticated peer may send, in bytes. PostgreSQL takes 1024 from a client as well.
inline constexpr std::size_t scram_client_message_max = 1024;
inline constexpr std::size_t scram_server_message_max = 4096;
inline constexpr std::size_t scram_nonce_max = 512;
/// A server may not ask for more: a million rounds are a quarter of a second on the worker's thread.
inline constexpr std::uint32_t scram_max_iterations = 1'000'000;

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
    /// Once `done`: the client's proof gives away what it proved itself with, enough to log in to a server
    /// that keeps the same verifier.
    const std::optional<scram_login_keys>& recovered() const noexcept { return recovered_; }

private:
    enum class phase : std::uint8_t { start, client_first, client_final, over };

    std::optional<auth_error> read_gs2_header(std::string_view data, std::size_t& size);
    scram_step client_first(std::string_view data);
    scram_step client_final(std::string_view data);
    std::optional<scram_key> key_behind(const scram_key& proof, const scram_key& stored_key) const;
    scram_step refuse(auth_error error);

    scram_verifier verifier_;
    std::string user_;
    std::string nonce_;  ///< our part, then both
    std::string end_point_;
    std::string gs2_header_;
    std::string auth_message_;  ///< client-first-bare, server-first
    std::optional<scram_login_keys> recovered_;
    phase phase_ = phase::start;
    bool plus_ = false;
};

/// Our side towards a server.
class scram_client {
public:
    /// `end_point` as in scram_server, empty without TLS. `cache` outlives the machine.
    scram_client(
        std::string_view password, std::string client_nonce, scram_key_cache& cache,
        std::string_view end_point = {}, std::uint32_t max_iterations = scram_max_iterations
    );
    /// Without the password: `keys` do instead, where the server's salt and rounds are theirs. `keys` outlive
    /// the machine.
    scram_client(const scram_login_keys& keys, std::string client_nonce, std::string_view end_point = {});
    ~scram_client();
    scram_client(const scram_client&) = delete;
    scram_client& operator=(const scram_client&) = delete;

    /// From the body of AuthenticationSASL behind its code: the mechanisms offered. The reply is
    /// client-first, to be sent with `mechanism()`.
    scram_step mechanisms(byte_view offered);
    bool bound() const noexcept { return plus_; }
    std::string_view mechanism() const noexcept { return plus_ ? scram_sha_256_plus : scram_sha_256; }
    /// AuthenticationSASLContinue; the reply is client-final.
    scram_step server_first(std::string_view data);
    /// AuthenticationSASLFinal; done when the server has proven that it knows the password too.
    scram_step server_final(std::string_view data);

private:
    enum class phase : std::uint8_t { start, server_first, server_final, over };

    scram_step refuse(std::string message);

    std::string password_;
    std::string nonce_;  ///< our part, then both
    scram_key_cache* cache_ = nullptr;
    const scram_login_keys* login_keys_ = nullptr;
    std::string end_point_;
    std::string gs2_header_;
    std::string client_first_bare_;
    scram_key server_signature_;
    std::uint32_t max_iterations_;
    phase phase_ = phase::start;
    bool plus_ = false;
};

}  // namespace pgmend::protocol
