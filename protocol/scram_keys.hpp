#pragma once
// The keys of SCRAM-SHA-256: derived, stored as a verifier, remembered. Source: RFC 5802 section 3. Wiped
// when they go. Pure but for libcrypto; any thread, the cache one worker.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

inline constexpr std::size_t scram_salt_max = 512;
/// What PostgreSQL 15 uses for a new password.
inline constexpr std::uint32_t scram_default_iterations = 4096;

/// 32 bytes that are wiped when they go.
struct scram_key : std::array<std::byte, 32> {
    scram_key() noexcept : array{} {}
    scram_key(const scram_key&) noexcept = default;
    scram_key& operator=(const scram_key&) noexcept = default;
    ~scram_key();
};

std::string_view as_text(const scram_key& key) noexcept;
scram_key scram_hmac(const scram_key& key, std::string_view text);
scram_key scram_hash(std::string_view text);
/// XOR: a key and a proof give each other.
scram_key scram_mix(const scram_key& left, const scram_key& right) noexcept;
/// Takes the same time wherever they differ.
bool scram_equal(const scram_key& left, const scram_key& right) noexcept;
/// Strict base64 of exactly 32 bytes.
std::optional<scram_key> decode_scram_key(std::string_view text);

/// One password as a server keeps it.
struct scram_stored_keys {
    scram_key stored_key;
    scram_key server_key;
};

/// What a server keeps instead of a password.
struct scram_verifier {
    std::uint32_t iterations = 0;
    std::string salt;  ///< raw bytes
    scram_key stored_key;
    scram_key server_key;
    bool mock = false;  ///< for a user who does not exist: the exchange looks the same and always fails
    /// Further passwords that are good as well, under the same salt and rounds: while one is being replaced.
    std::vector<scram_stored_keys> others = {};

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, base64 where bytes.
    static std::optional<scram_verifier> parse(std::string_view text);
    std::string to_string() const;
};

/// From a plain password; takes `iterations` rounds of HMAC, so do it once when the secret is loaded.
scram_verifier derive_scram_verifier(std::string_view password, byte_view salt, std::uint32_t iterations);

/// A salt for `user` that stays the same as long as `process_secret` does, and tells nothing else.
std::string scram_salt_for(byte_view process_secret, std::string_view user);

/// For a user who does not exist, with the salt of `scram_salt_for`.
scram_verifier mock_scram_verifier(byte_view process_secret, std::string_view user, std::uint32_t iterations);

/// Checks a plain password (authentication method `password`) against a verifier and its others. Takes its
/// iterations once, whatever there is to compare with.
bool scram_verify_password(const scram_verifier& verifier, std::string_view password);

/// What a client needs to log in without the password.
struct scram_client_keys {
    scram_key client_key;
    scram_key server_key;
};

/// The same, good only where the server's salt and rounds are these.
struct scram_login_keys {
    std::string salt;  ///< raw bytes
    std::uint32_t iterations = 0;
    scram_client_keys keys;
};

/// Keys by (password, salt, iterations), so that only the first login to a server derives them. Bounded; the
/// least recently used goes.
class scram_key_cache {
public:
    explicit scram_key_cache(std::size_t capacity) noexcept : capacity_(capacity) {}
    scram_client_keys get(std::string_view password, byte_view salt, std::uint32_t iterations);
    /// How often a key had to be derived.
    std::uint64_t derivations() const noexcept { return derivations_; }

private:
    struct entry {
        scram_key name;  ///< digest of all three
        scram_client_keys keys;
        std::uint64_t used;
    };
    std::vector<entry> entries_;
    std::size_t capacity_;
    std::uint64_t clock_ = 0;
    std::uint64_t derivations_ = 0;
};

}  // namespace pgmend::protocol
