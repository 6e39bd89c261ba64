#pragma once
// Opening a server connection: connect, TLS, authentication, the server's greeting. One short coroutine over
// the authentication machines of protocol/. One worker thread.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/metrics.hpp"
#include "pool/server_authentication.hpp"
#include "pool/server_connection.hpp"
#include "pool/task.hpp"
#include "pool/tls_context.hpp"

namespace pgmend::pool {

using config::metrics::connect_result;

/// What changes while the process lives: asked anew for each login. Implemented above the pool, which knows
/// no files. One worker thread.
class login_source {
public:
    /// Null when TLS is disabled.
    virtual std::shared_ptr<const tls_context> tls() const = 0;
    /// The name a server at `where` must have a certificate for.
    virtual std::string tls_name(const endpoint& where) const = 0;
    /// What `user` may prove itself with, best first; empty when nothing is known.
    virtual std::vector<server_credential> credentials(const std::string& user) = 0;
    /// A server let `user` in with this one: it is the best from now on.
    virtual void accepted(const std::string& user, const server_credential& credential) = 0;
    /// No credential of `user` was taken. True when that may pass: some were taken before, and a password is
    /// perhaps just being changed.
    virtual bool refused(const std::string& user, config::time_point now) = 0;

protected:
    ~login_source() = default;
};

/// Who we are towards servers, and how we get there.
struct login_settings {
    std::string database;
    std::string user;
    login_source* source = nullptr;  ///< never null; outlives the pool
    login_rules rules;
    config::duration timeout = std::chrono::seconds{15};
};

/// Startup parameters besides user and database, in order.
using startup_parameters = std::vector<std::pair<std::string, std::string>>;

struct login_outcome {
    connect_result result = connect_result::ok;
    std::string sqlstate;
    std::string message;
    /// The server's own ErrorResponse, to be passed on as it is; empty when it said none.
    std::vector<std::byte> error_frame;
    /// The credentials were refused and may be good again in a moment: those who wait go on waiting.
    bool may_pass = false;
    config::duration took{};
    /// Whether another attempt may go better by itself: the server is starting, full, or away.
    bool worth_retrying() const noexcept;
};

/// What all logins of one worker share.
struct login_context {
    config::environment& env;
    network& net;
    protocol::parameter_store& parameters;
    protocol::scram_key_cache& scram_keys;
};

/// Logs `server` in, whose `where` says where; afterwards it is at a safe point, its stream armed for reading
/// and watched by the connection itself. All references must outlive the coroutine.
task<login_outcome> log_in(
    server_connection& server, const login_context& context, const login_settings& settings,
    const startup_parameters& parameters
);

}  // namespace pgmend::pool
