#pragma once
// Who may log in, and what proves it; what each of them logs in to servers with. Built from the settings,
// immutable but for secrets derived at first use. One worker thread.

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "config/settings.hpp"
#include "protocol/scram.hpp"

namespace pgmend::proxy {

class user_directory {
public:
    /// `process_secret` makes up salts for users who do not exist; it must not change while the process
    /// lives.
    user_directory(const config::settings& settings, std::string process_secret);

    /// The secret as configured: plain text, md5 hash or SCRAM verifier; null for an unknown user.
    const std::string* secret(std::string_view user) const noexcept;
    /// The verifier to check a SCRAM login against; a mock one where none can be had, so that the exchange
    /// looks the same. `random_salt` is used when one has to be derived, which happens once for each user.
    protocol::scram_verifier verifier(const std::string& user, protocol::byte_view random_salt);
    /// What `user` proves itself with to a server; empty when nothing usable is known.
    std::string server_password(std::string_view user) const;

private:
    std::unordered_map<std::string, std::string> secrets_;
    std::unordered_map<std::string, protocol::scram_verifier> derived_;
    std::string process_secret_;
};

}  // namespace pgmend::proxy
