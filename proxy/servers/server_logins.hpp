#pragma once
// What one worker logs in to servers with: the users' credentials, the TLS rules of the day, and the name
// that a server's certificate must bear. One worker thread.

#include <memory>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "pool/server_login.hpp"
#include "proxy/login/user_directory.hpp"

namespace pgmend::proxy {

class server_logins final : public pool::login_source {
public:
    server_logins(
        const config::settings& settings, user_directory& users, std::shared_ptr<const pool::tls_context> tls
    )
        : settings_(&settings), users_(users), tls_(std::move(tls)) {}

    void replace(std::shared_ptr<const pool::tls_context> tls) { tls_ = std::move(tls); }
    void adopt(const config::settings& settings) noexcept { settings_ = &settings; }

    std::shared_ptr<const pool::tls_context> tls() const override { return tls_; }
    std::string tls_name(const pool::endpoint& where) const override;
    std::vector<pool::server_credential> credentials(const std::string& user) override {
        return users_.credentials(user);
    }
    void accepted(const std::string& user, const pool::server_credential& credential) override {
        users_.accepted(user, credential);
    }
    bool refused(const std::string& user, config::time_point now) override {
        return users_.refused(user, now, settings_->auth.rotation_grace());
    }

private:
    const config::settings* settings_;
    user_directory& users_;
    std::shared_ptr<const pool::tls_context> tls_;
};

}  // namespace pgmend::proxy
