#pragma once
// A client's way in: the first packet, TLS, authentication, the welcome. One coroutine for the time of the
// login; its frame and buffers are gone afterwards. One worker thread.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/metrics.hpp"
#include "pool/channel.hpp"
#include "pool/intrusive_list.hpp"
#include "pool/server_pool.hpp"
#include "pool/task.hpp"
#include "pool/tls_stream.hpp"
#include "protocol/startup.hpp"
#include "proxy/admin/admin_role.hpp"
#include "proxy/login/access_rules.hpp"
#include "proxy/login/client_key.hpp"

namespace pgmend::proxy {

class client_session;
class worker_core;

using config::metrics::login_result;

/// What is left of a login: who the client is and where its requests go.
struct login_end {
    enum class kind : std::uint8_t {
        welcome,    ///< requests may come
        cancelled,  ///< it was a CancelRequest; close without a word
        gone,       ///< the client left, or nothing can be said to it any more
        refused,    ///< the client was told why; close
        console,    ///< an administrator's commands may come
    };
    kind what = kind::gone;
};

/// The whole way in, in a frame of its own that is gone when the client is. A console lives in it to its end.
pool::task<login_end> log_in_client(client_session& session);

class client_login final : public pool::list_node<client_login> {
public:
    explicit client_login(client_session& session);
    ~client_login() { leave_the_line(); }
    pool::task<login_end> run();
    /// Too many are on their way in, and this one has been for the longest.
    void push_out() noexcept;

private:
    /// Bytes of the login's own events on the session's gate.
    enum class got : std::uint8_t { message, gone, closed, timed_out, too_long, tls_hello };

    pool::task<got> read_first_packet();
    pool::task<got> read_message();
    pool::task<bool> start_tls();
    /// Whether there is memory for a handshake; if not, the client has been told. `direct`: it speaks TLS
    /// already.
    bool may_start_tls(bool direct);
    bool refuse_for_memory();
    pool::task<login_end::kind> reach_startup();
    bool wants_tls() const;

    // client_authentication.cpp
    pool::task<bool> authenticate();
    pool::task<bool> check(const config::hba_rule& rule);
    pool::task<bool> find_secret();
    pool::task<bool> check_password();
    pool::task<bool> check_md5();
    pool::task<bool> check_scram();
    bool check_certificate(const config::hba_rule& rule);
    bool refuse_by_rule(const config::hba_rule* rule);
    /// Tells the client that it has not proven itself; late when its address has done so too often.
    pool::task<bool> refuse_proof(const protocol::auth_error& error);
    std::string_view address() const;

    pool::task<bool> find_server();
    pool::task<bool> find_own_server();
    /// How the wait for a server has ended.
    enum class waited : std::uint8_t { granted, refused, too_long, gone };
    pool::task<waited> wait_for_server();
    pool::task<bool> open_replication();
    void welcome();
    /// Whether this is to be a console and not a client of a database.
    bool for_console() const;
    /// A console, or the client was told why not.
    login_end console_end();
    friend pool::task<login_end> log_in_client(client_session& session);
    /// False when an administrator keeps clients out of it; then the client was told.
    bool may_use_database();
    /// False when its user, database, address or application has too many; then the client was told.
    bool within_limits();

    /// Behind what waits to be said with it.
    void send(const std::vector<std::byte>& bytes);
    /// Goes out with what is sent next: as PostgreSQL, which has nothing to hear in answer to it.
    void say_later(const std::vector<std::byte>& bytes) {
        unsaid_.insert(unsaid_.end(), bytes.begin(), bytes.end());
    }
    /// Tells the client; always false.
    bool refuse(
        std::string_view sqlstate, std::string_view message, login_result result,
        std::string_view detail = {}, std::string_view hint = {}
    );
    bool refuse(const protocol::auth_error& error, login_result result) {
        return refuse(error.sqlstate, error.message, result, error.detail);
    }
    bool refuse_unread(got instead);
    bool may_enter();
    void leave_the_line() noexcept { pool::intrusive_list<client_login>::remove(*this); }
    void remember(const protocol::startup_message& startup);

    client_session& session_;
    worker_core& worker_;
    pool::gate_timer deadline_;
    protocol::startup_packet packet_;
    std::string user_;
    std::string database_;
    std::string partition_key_;
    pool::startup_parameters parameters_;
    std::optional<std::string> application_name_;  ///< where the client gives one
    std::string replication_;
    bool physical_replication_ = false;
    bool proven_ = false;  ///< who it is, not just believed
    admin_role role_ = admin_role::none;
    std::vector<std::byte> message_;  ///< body of the last message read
    std::vector<std::byte> unsaid_;   ///< goes out before what is sent next
    /// The session's stream once it is one of TLS; the session owns it.
    const pool::tls_stream* tls_ = nullptr;
    std::shared_ptr<const access_rules> access_;
    std::uint16_t minor_ = 0;
    bool negotiate_ = false;
    std::vector<std::string> unknown_options_;
};

}  // namespace pgmend::proxy
