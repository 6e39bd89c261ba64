#include "proxy/admin/http_door.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "protocol/base64.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t remembered = 16;
constexpr std::string_view scheme = "Basic ";

bool same_scheme(std::string_view header) noexcept {
    return header.size() > scheme.size() &&
           std::ranges::equal(
               header.substr(0, scheme.size()), scheme, {},
               [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; },
               [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
           );
}

http_verdict refused(unsigned status, std::string reason, config::duration delay = {}) {
    return {admin_role::none, status, std::move(reason), delay, {}};
}

}  // namespace

/// The password of a user, by a digest of both where it was good before.
bool http_door::proves(const std::string& user, const std::string& password) {
    const std::string both = user + '\0' + password;
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    HMAC(
        EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
        reinterpret_cast<const unsigned char*>(both.data()), both.size(), digest.data(), &size
    );
    std::string mark(reinterpret_cast<const char*>(digest.data()), size);
    if (std::ranges::find(known_, mark) != known_.end()) return true;
    if (!users_->check_password(user, password)) return false;
    if (known_.size() == remembered) known_.pop_front();
    known_.push_back(std::move(mark));
    return true;
}

http_verdict http_door::enter(
    const http_request& request, const config::settings& settings,
    const std::shared_ptr<const secret_book>& secrets, config::time_point now
) {
    if (of_another_site(request)) return refused(403, "This request comes from a page of another site.");
    if (request.authorization.empty()) {
        if (asked_from_here(request)) return {admin_role::admin, 200, {}, {}, {}};
        return refused(401, "Users of admin.users and admin.stats_users may come in, with their password.");
    }
    if (secrets != book_) {
        book_ = secrets;
        users_ = std::make_unique<user_directory>(book_, secret_);
        known_.clear();
    }
    std::optional<std::string> plain;
    if (same_scheme(request.authorization))
        plain = protocol::base64_decode(std::string_view(request.authorization).substr(scheme.size()));
    const std::size_t colon = plain ? plain->find(':') : std::string::npos;
    if (colon == std::string::npos) return refused(401, "Only the Basic scheme is understood.");
    const std::string user = plain->substr(0, colon);
    if (!proves(user, plain->substr(colon + 1))) {
        const auto delay = throttle_.failed(
            request.peer, now, {settings.auth.failure_burst(), settings.auth.failure_delay()}
        );
        return refused(401, "The user or the password is not right.", delay);
    }
    const admin_role role = role_of(settings, user, request.from_here);
    if (role == admin_role::none)
        return refused(403, "This user is neither in admin.users nor in admin.stats_users.");
    return {role, 200, {}, {}, user};
}

}  // namespace pgmend::proxy
