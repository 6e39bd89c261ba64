#pragma once
// The address of a webhook: `http://host[:port][/path]`. Pure.

#include <optional>
#include <string>
#include <string_view>

namespace pgmend::config {

struct webhook_address {
    std::string host;  ///< a name or an address, without brackets
    std::string port = "80";
    std::string target = "/";  ///< path and query, as they are sent
    bool operator==(const webhook_address&) const = default;

    /// As a Host header says it.
    std::string authority() const;
};

/// Nothing for what is none, https included.
std::optional<webhook_address> parse_webhook(std::string_view text);

}  // namespace pgmend::config
