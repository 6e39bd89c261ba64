#include "proxy/user_directory.hpp"

#include "protocol/md5_auth.hpp"

namespace pgmend::proxy {

namespace {
bool is_verifier(std::string_view secret) { return secret.starts_with("SCRAM-SHA-256$"); }
}  // namespace

user_directory::user_directory(const config::settings& settings, std::string process_secret)
    : process_secret_(std::move(process_secret)) {
    if (!settings.upstream.password().empty()) {
        secrets_.insert_or_assign(settings.upstream.user(), settings.upstream.password());
    }
    for (const auto& user : settings.users()) {
        secrets_.insert_or_assign(user.name, user.password);
    }
}

const std::string* user_directory::secret(std::string_view user) const noexcept {
    const auto it = secrets_.find(std::string{user});
    return it == secrets_.end() ? nullptr : &it->second;
}

protocol::scram_verifier user_directory::verifier(const std::string& user, protocol::byte_view random_salt) {
    if (const auto it = derived_.find(user); it != derived_.end()) return it->second;
    const std::string* known = secret(user);
    if (known == nullptr || protocol::is_md5_hash(*known)) {
        return protocol::mock_scram_verifier(
            protocol::as_bytes(process_secret_), user, protocol::scram_default_iterations
        );
    }
    auto verifier =
        is_verifier(*known)
            ? protocol::scram_verifier::parse(*known)
            : protocol::derive_scram_verifier(*known, random_salt, protocol::scram_default_iterations);
    if (!verifier) {
        return protocol::mock_scram_verifier(
            protocol::as_bytes(process_secret_), user, protocol::scram_default_iterations
        );
    }
    derived_.emplace(user, *verifier);
    return *verifier;
}

std::string user_directory::server_password(std::string_view user) const {
    const std::string* known = secret(user);
    return known == nullptr || is_verifier(*known) ? std::string{} : *known;
}

}  // namespace pgmend::proxy
