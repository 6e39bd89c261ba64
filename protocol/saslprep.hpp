#pragma once
// Preparation of passwords before they are hashed. Source: RFC 4013, RFC 3454. Pure; any thread.

#include <string>
#include <string_view>

namespace pgmend::protocol {

/// The form of `password` that SCRAM hashes. As PostgreSQL does, a password that cannot be prepared (not
/// UTF-8, or with forbidden characters) is taken as the bytes it is.
std::string saslprep(std::string_view password);

}  // namespace pgmend::protocol
