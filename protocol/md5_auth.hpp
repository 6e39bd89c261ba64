#pragma once
// The md5 password exchange, both sides. Source: PostgreSQL protocol, "AuthenticationMD5Password". Pure; any
// thread.

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace pgmend::protocol {

/// Four random bytes of AuthenticationMD5Password.
using md5_salt = std::array<std::byte, 4>;

/// True for a stored hash: `md5` and 32 lower-case hex digits.
bool is_md5_hash(std::string_view secret) noexcept;

/// What PostgreSQL stores for md5: `md5` + hex(MD5(password + user)). Empty where libcrypto refuses MD5
/// (FIPS).
std::string md5_hash(std::string_view password, std::string_view user);

/// The client's answer to `salt`; `secret` is the plain password or its stored hash. Empty where MD5 is
/// refused.
std::string md5_response(std::string_view secret, std::string_view user, md5_salt salt);

/// Checks a client's answer in constant time; `secret` is the plain password or its stored hash.
bool md5_verify(std::string_view secret, std::string_view user, md5_salt salt, std::string_view response);

}  // namespace pgmend::protocol
