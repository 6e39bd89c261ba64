#include "protocol/md5_auth.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

namespace {

constexpr std::string_view prefix = "md5";
constexpr std::size_t digest_size = 16;

/// `md5` and the digest of both parts in hex; empty when libcrypto has no MD5.
std::string hash_of(std::string_view first, std::string_view second) {
    std::string joined;
    joined.reserve(first.size() + second.size());
    joined.append(first).append(second);
    unsigned char digest[digest_size];
    const int hashed = EVP_Digest(joined.data(), joined.size(), digest, nullptr, EVP_md5(), nullptr);
    OPENSSL_cleanse(joined.data(), joined.size());
    if (hashed != 1) return {};
    constexpr char digits[] = "0123456789abcdef";
    std::string text(prefix);
    for (const unsigned char byte : digest) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace

bool is_md5_hash(std::string_view secret) noexcept {
    if (secret.size() != prefix.size() + 2 * digest_size || !secret.starts_with(prefix)) return false;
    return std::ranges::all_of(secret.substr(prefix.size()), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    });
}

std::string md5_hash(std::string_view password, std::string_view user) { return hash_of(password, user); }

std::string md5_response(std::string_view secret, std::string_view user, md5_salt salt) {
    const std::string stored = is_md5_hash(secret) ? std::string(secret) : md5_hash(secret, user);
    if (stored.empty()) return {};
    return hash_of(std::string_view(stored).substr(prefix.size()), as_text(salt));
}

bool md5_verify(std::string_view secret, std::string_view user, md5_salt salt, std::string_view response) {
    const std::string expected = md5_response(secret, user, salt);
    return !expected.empty() && response.size() == expected.size() &&
           CRYPTO_memcmp(response.data(), expected.data(), expected.size()) == 0;
}

}  // namespace pgmend::protocol
