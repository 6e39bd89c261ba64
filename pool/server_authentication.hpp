#pragma once
// Our answers to a server's authentication requests, and what we demand of it: channel_binding and
// require_auth with libpq's meaning and words. A step machine without I/O, for one attempt to log in.
// Source: PostgreSQL 16, fe-auth.c.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/auth_requirement.hpp"
#include "config/modes.hpp"
#include "protocol/scram.hpp"

namespace pgmend::pool {

/// One thing to prove oneself with to a server.
struct server_credential {
    std::string password;  ///< plain text or md5 hash; empty: none
    /// What a client's login gave away, where no password is known.
    std::shared_ptr<const protocol::scram_login_keys> keys;
};

struct login_rules {
    config::channel_binding binding = config::channel_binding::prefer;
    config::auth_requirement methods;
};

/// What the machine needs of the attempt. References outlive it.
struct authentication_facts {
    const std::string& user;
    const server_credential& credential;
    const login_rules& rules;
    std::string end_point;  ///< of the TLS connection; empty where there is nothing to bind to
    bool encrypted = false;
    std::array<std::uint64_t, 3> random{};
};

struct authentication_step {
    enum class kind : std::uint8_t {
        reply,   ///< send `bytes`
        wait,    ///< nothing to say; the server goes on
        done,    ///< we are in
        failed,  ///< `sqlstate` and `message`
    };
    kind what = kind::failed;
    std::vector<std::byte> bytes = {};
    std::string_view sqlstate = {};
    std::string message = {};
};

class server_authentication {
public:
    server_authentication(authentication_facts facts, protocol::scram_key_cache& cache)
        : facts_(std::move(facts)), cache_(cache) {}

    /// `body` is that of an Authentication message.
    authentication_step answer(protocol::byte_view body);

private:
    using step = authentication_step;

    std::string_view objection(std::uint32_t code) const;
    step accepted();
    step begin_sasl(protocol::byte_view offered);
    step go_on(protocol::byte_view data, bool final);

    authentication_facts facts_;
    protocol::scram_key_cache& cache_;
    std::unique_ptr<protocol::scram_client> scram_;
    bool answered_ = false;       ///< a password was sent, or the server has proven itself
    bool server_proven_ = false;  ///< by SCRAM
};

}  // namespace pgmend::pool
