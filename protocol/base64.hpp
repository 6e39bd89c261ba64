#pragma once
// Base64 as SCRAM uses it: the standard alphabet, padded, no white space. Source: RFC 4648 section 4. Pure.

#include <optional>
#include <string>
#include <string_view>

namespace pgmend::protocol {

std::string base64_encode(std::string_view bytes);

/// Strict: any foreign character, missing padding or set bits behind the end make it empty, so that a value
/// has one spelling only.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace pgmend::protocol
