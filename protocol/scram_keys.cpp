// The plain functions of SHA-256, which OpenSSL 3 would rather see no more.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "protocol/scram_keys.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "protocol/base64.hpp"
#include "protocol/saslprep.hpp"

namespace pgmend::protocol {

namespace {

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";
constexpr std::size_t mock_salt_size = 16;
constexpr std::size_t sha256_block = 64;

unsigned char* raw(scram_key& key) noexcept { return reinterpret_cast<unsigned char*>(key.data()); }

/// Both texts, one behind the other. OpenSSL's general interface asks engines and providers anew for each
/// text, through code that is in no cache when a client comes in: it costs more than the hash. All zero when
/// libcrypto fails, which is nobody's key.
scram_key sha256(std::string_view head, std::string_view tail) {
    SHA256_CTX context;
    scram_key result;
    const bool good = SHA256_Init(&context) == 1 && SHA256_Update(&context, head.data(), head.size()) == 1 &&
                      SHA256_Update(&context, tail.data(), tail.size()) == 1 &&
                      SHA256_Final(raw(result), &context) == 1;
    OPENSSL_cleanse(&context, sizeof context);
    return good ? result : scram_key{};
}

/// PBKDF2 of the prepared password; empty when libcrypto fails.
std::optional<scram_key> salted_password(
    std::string_view password, byte_view salt, std::uint32_t iterations
) {
    std::string prepared = saslprep(password);
    scram_key salted;
    const int derived = PKCS5_PBKDF2_HMAC(
        prepared.data(), static_cast<int>(prepared.size()),
        reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
        static_cast<int>(iterations), EVP_sha256(), static_cast<int>(salted.size()), raw(salted)
    );
    OPENSSL_cleanse(prepared.data(), prepared.size());
    if (derived != 1) return std::nullopt;
    return salted;
}

/// Splits at the first `separator`; false when there is none.
bool split(std::string_view text, char separator, std::string_view& left, std::string_view& right) noexcept {
    const std::size_t at = text.find(separator);
    if (at == std::string_view::npos) return false;
    left = text.substr(0, at);
    right = text.substr(at + 1);
    return true;
}

}  // namespace

/// In place, as a login makes and leaves some dozens. The compiler is told that somebody looks.
scram_key::~scram_key() {
    fill(std::byte{0});
    asm volatile("" : : "r"(data()) : "memory");
}

std::string_view as_text(const scram_key& key) noexcept {
    return {reinterpret_cast<const char*>(key.data()), key.size()};
}

/// HMAC of RFC 2104 by hand: OpenSSL 3 looks its own up anew for every call, which costs more than the hash.
scram_key scram_hmac(const scram_key& key, std::string_view text) {
    std::array<std::byte, sha256_block> inner;
    std::array<std::byte, sha256_block> outer;
    inner.fill(std::byte{0x36});
    outer.fill(std::byte{0x5c});
    for (std::size_t i = 0; i < key.size(); ++i) {
        inner[i] ^= key[i];
        outer[i] ^= key[i];
    }
    const scram_key first = sha256(as_text(byte_view{inner}), text);
    const scram_key result = sha256(as_text(byte_view{outer}), as_text(first));
    OPENSSL_cleanse(inner.data(), inner.size());
    OPENSSL_cleanse(outer.data(), outer.size());
    return result;
}

scram_key scram_hash(std::string_view text) { return sha256(text, {}); }

scram_key scram_mix(const scram_key& left, const scram_key& right) noexcept {
    scram_key result;
    for (std::size_t i = 0; i < result.size(); ++i) {
        result[i] = left[i] ^ right[i];
    }
    return result;
}

bool scram_equal(const scram_key& left, const scram_key& right) noexcept {
    return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

std::optional<scram_key> decode_scram_key(std::string_view text) {
    auto bytes = base64_decode(text);
    if (!bytes) return std::nullopt;
    scram_key key;
    const bool fits = bytes->size() == key.size();
    if (fits) std::ranges::copy(as_bytes(*bytes), key.begin());
    OPENSSL_cleanse(bytes->data(), bytes->size());
    if (!fits) return std::nullopt;
    return key;
}

std::optional<scram_verifier> scram_verifier::parse(std::string_view text) {
    if (!text.starts_with(verifier_prefix)) return std::nullopt;
    text.remove_prefix(verifier_prefix.size());
    std::string_view head, keys, rounds, salt_text, stored_text, server_text;
    if (!split(text, '$', head, keys) || !split(head, ':', rounds, salt_text) ||
        !split(keys, ':', stored_text, server_text)) {
        return std::nullopt;
    }
    scram_verifier verifier;
    const char* const end = rounds.data() + rounds.size();
    const auto [stop, failed] = std::from_chars(rounds.data(), end, verifier.iterations);
    if (failed != std::errc{} || stop != end || verifier.iterations == 0 ||
        verifier.iterations > 0x7fffffffU) {
        return std::nullopt;
    }
    auto salt_bytes = base64_decode(salt_text);
    const auto stored = decode_scram_key(stored_text);
    const auto server = decode_scram_key(server_text);
    if (!salt_bytes || salt_bytes->empty() || salt_bytes->size() > scram_salt_max || !stored || !server) {
        return std::nullopt;
    }
    verifier.salt = std::move(*salt_bytes);
    verifier.stored_key = *stored;
    verifier.server_key = *server;
    return verifier;
}

std::string scram_verifier::to_string() const {
    return std::string(verifier_prefix) + std::to_string(iterations) + ':' + base64_encode(salt) + '$' +
           base64_encode(as_text(stored_key)) + ':' + base64_encode(as_text(server_key));
}

scram_verifier derive_scram_verifier(std::string_view password, byte_view salt, std::uint32_t iterations) {
    scram_verifier verifier;
    verifier.iterations = iterations;
    verifier.salt = as_text(salt);
    const auto salted = salted_password(password, salt, iterations);
    // Without keys nobody may come in.
    verifier.mock = !salted;
    if (salted) {
        verifier.stored_key = scram_hash(as_text(scram_hmac(*salted, "Client Key")));
        verifier.server_key = scram_hmac(*salted, "Server Key");
    }
    return verifier;
}

std::string scram_salt_for(byte_view process_secret, std::string_view user) {
    const scram_key salt = scram_hmac(scram_hash(as_text(process_secret)), user);
    return std::string(as_text(salt).substr(0, mock_salt_size));
}

scram_verifier mock_scram_verifier(
    byte_view process_secret, std::string_view user, std::uint32_t iterations
) {
    const scram_key secret = scram_hash(as_text(process_secret));
    scram_verifier verifier;
    verifier.mock = true;
    verifier.iterations = iterations;
    verifier.salt = scram_salt_for(process_secret, user);
    verifier.stored_key = scram_hash(as_text(secret));
    verifier.server_key = verifier.stored_key;
    return verifier;
}

bool scram_verify_password(const scram_verifier& verifier, std::string_view password) {
    const scram_verifier derived =
        derive_scram_verifier(password, as_bytes(verifier.salt), verifier.iterations);
    bool equal = scram_equal(derived.server_key, verifier.server_key);
    for (const scram_stored_keys& other : verifier.others) {
        equal = scram_equal(derived.server_key, other.server_key) || equal;
    }
    return equal && !derived.mock && !verifier.mock;
}

scram_client_keys scram_key_cache::get(std::string_view password, byte_view salt, std::uint32_t iterations) {
    // Salt and rounds have a fixed size or stand behind their length, so that no two triples read alike.
    std::string triple = std::to_string(iterations) + ':' + std::to_string(salt.size()) + ':';
    triple.append(as_text(salt)).append(password);
    const scram_key name = scram_hash(triple);
    OPENSSL_cleanse(triple.data(), triple.size());
    ++clock_;
    for (entry& known : entries_) {
        if (!scram_equal(known.name, name)) continue;
        known.used = clock_;
        return known.keys;
    }
    ++derivations_;
    const auto salted = salted_password(password, salt, iterations);
    scram_client_keys keys;
    if (!salted) return keys;
    keys.client_key = scram_hmac(*salted, "Client Key");
    keys.server_key = scram_hmac(*salted, "Server Key");
    if (capacity_ == 0) return keys;
    if (entries_.size() >= capacity_) {
        entries_.erase(std::ranges::min_element(entries_, {}, &entry::used));
    }
    entries_.push_back({name, keys, clock_});
    return keys;
}

}  // namespace pgmend::protocol
