#pragma once
// Who may ask what over HTTP. From the same machine everything is open, as the port is on loopback unless
// somebody says otherwise; from elsewhere the users of the console prove themselves (HTTP Basic) and have the
// same roles. Control thread.

#include <deque>
#include <memory>
#include <string>

#include "config/settings.hpp"
#include "proxy/admin/admin_role.hpp"
#include "proxy/login/login_throttle.hpp"
#include "proxy/login/user_directory.hpp"
#include "proxy/process/http_exchange.hpp"

namespace pgmend::proxy {

struct http_verdict {
    admin_role role = admin_role::none;
    unsigned status = 200;     ///< other than 200: refused
    std::string reason;        ///< of a refusal, one line
    config::duration delay{};  ///< until it is told: for who guesses
    std::string user{};        ///< who has shown a password; empty: nobody was asked for one
};

class http_door {
public:
    /// `process_secret` makes up salts for users that are not there.
    explicit http_door(std::string process_secret) : secret_(std::move(process_secret)) {}

    http_verdict enter(
        const http_request& request, const config::settings& settings,
        const std::shared_ptr<const secret_book>& secrets, config::time_point now
    );

private:
    bool proves(const std::string& user, const std::string& password);

    std::string secret_;
    std::shared_ptr<const secret_book> book_;
    std::unique_ptr<user_directory> users_;
    std::deque<std::string> known_;  ///< digests of what was good before: deriving keys takes milliseconds
    login_throttle throttle_;
};

}  // namespace pgmend::proxy
