#include "proxy/login/client_login.hpp"

#include <openssl/crypto.h>

#include <algorithm>

#include "config/log.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/admin/admin_console.hpp"
#include "proxy/process/memory_room.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace metrics = config::metrics;
using pool::io_status;
using protocol::startup_kind;

namespace {

constexpr std::size_t longest_login_message = 10'000;  // a password or a SASL message
/// How long a client waits for a server of its own where others could serve it.
constexpr config::duration own_server_patience = std::chrono::seconds{1};

/// The ParameterStatus messages that the last client of this thread was greeted with: mostly the next one's
/// too.
struct greeting {
    std::uint64_t told = 0;  ///< the id of the set
    std::vector<std::byte> messages;
};
thread_local greeting last_greeting;

const std::vector<std::byte>& statuses_of(const protocol::parameter_set& told) {
    if (last_greeting.told == told.id) return last_greeting.messages;
    last_greeting.told = told.id;
    last_greeting.messages.clear();
    protocol::message_writer writer{last_greeting.messages};
    for (const auto& [name, value] : told.values)
        writer.parameter_status(name, value);
    return last_greeting.messages;
}

}  // namespace

pool::task<login_end> log_in_client(client_session& session) {
    client_login login{session};
    login_end end = co_await login.run();
    if (end.what == login_end::kind::console) co_await serve_console(session, login.user_, login.role_);
    co_return end;
}

client_login::client_login(client_session& session)
    : session_(session),
      worker_(session.worker_),
      deadline_(worker_.env(), session.gate_, client_session::timed_out) {}

void client_login::push_out() noexcept {
    leave_the_line();
    worker_.metrics().clients_refused.add(metrics::refusal::login_limit);
    session_.kill();
}

pool::task<login_end> client_login::run() {
    using kind = login_end::kind;
    deadline_.after(worker_.settings().listen.login_timeout());
    worker_.login_begins(*this);
    if (const kind what = co_await reach_startup(); what != kind::welcome) co_return login_end{what};
    if (!may_enter()) co_return login_end{kind::refused};
    if (negotiate_) {
        std::vector<std::byte> frame;
        const std::vector<std::string_view> unknown{unknown_options_.begin(), unknown_options_.end()};
        protocol::message_writer{frame}.negotiate_protocol_version(minor_, unknown);
        send(frame);
    }
    if (!co_await authenticate()) co_return login_end{kind::refused};
    leave_the_line();
    if (for_console()) {
        const login_end end = console_end();
        if (!unsaid_.empty()) send({});
        co_return end;
    }
    if (!may_use_database() || !within_limits()) co_return login_end{kind::refused};
    // From here on it is a server that is waited for, and the pool that sets the limits.
    deadline_.stop();
    session_.pool_ = &worker_.pool_for(database_, user_);
    bool ready = false;
    if (replication_.empty()) {
        ready = co_await find_server();
    } else {
        ready = co_await open_replication();
    }
    if (!ready) co_return login_end{kind::refused};
    worker_.metrics().client_logins.add(login_result::ok);
    ++session_.pool_->traffic().logins;
    welcome();
    co_return login_end{kind::welcome};
}

bool client_login::wants_tls() const {
    return tls_ == nullptr && !session_.local_ && worker_.live().towards_clients != nullptr;
}

/// Up to the startup packet, through TLS where the client asks for it. `welcome` means that it was read.
pool::task<login_end::kind> client_login::reach_startup() {
    using kind = login_end::kind;
    for (bool asked_tls = false, asked_gss = false;;) {
        const got first = co_await read_first_packet();
        if (first == got::timed_out) worker_.metrics().client_logins.add(login_result::timeout);
        if (first == got::gone) worker_.metrics().client_logins.add(login_result::vanished);
        if (first == got::tls_hello) {
            // Direct TLS: both sides know the protocol by ALPN, or it is somebody else's client.
            if (!may_start_tls(true)) co_return kind::refused;
            if (!co_await start_tls() || !tls_->protocol_agreed()) co_return kind::gone;
            continue;
        }
        if (first != got::message) co_return kind::gone;
        if (packet_.kind == startup_kind::cancel_request) {
            worker_.cancel(packet_.cancel.pid, packet_.cancel.key);
            co_return kind::cancelled;
        }
        if (packet_.kind == startup_kind::violation) {
            worker_.metrics().clients_refused.add(metrics::refusal::protocol);
            refuse(packet_.error, login_result::protocol);
            co_return kind::refused;
        }
        if (packet_.kind == startup_kind::startup) break;
        bool& asked = packet_.kind == startup_kind::ssl_request ? asked_tls : asked_gss;
        if (std::exchange(asked, true)) {
            refuse(
                protocol::sqlstate::protocol_violation, "unsupported frontend protocol",
                login_result::protocol
            );
            co_return kind::refused;
        }
        session_.in_.consume(packet_.size);
        const bool tls = packet_.kind == startup_kind::ssl_request && wants_tls();
        if (tls && session_.in_.empty() && !may_start_tls(false)) co_return kind::refused;
        send({tls ? std::byte{'S'} : std::byte{'N'}});
        // Clear text behind the request may be somebody else's (CVE-2021-23214).
        if (tls && (!session_.in_.empty() || !co_await start_tls())) co_return kind::gone;
    }
    remember(packet_.startup);
    session_.in_.consume(packet_.size);
    co_return kind::welcome;
}

void client_login::remember(const protocol::startup_message& startup) {
    user_ = startup.user;
    database_ = startup.database;
    minor_ = startup.spoken_minor();
    negotiate_ = startup.needs_negotiation();
    unknown_options_.assign(startup.protocol_options.begin(), startup.protocol_options.end());
    partition_key_ = protocol::startup_partition_key(startup);
    physical_replication_ = startup.replication == protocol::replication_mode::physical;
    if (startup.replication != protocol::replication_mode::none) replication_ = startup.find("replication");
    for (const auto& [name, value] : startup.parameters) {
        if (name == "application_name") application_name_ = protocol::kept_application_name(value);
        const bool ours =
            name == "user" || name == "database" || name == "replication" || name == "application_name";
        if (!ours) parameters_.emplace_back(name, value);
    }
    const auto& upstream = worker_.settings().upstream;
    if (const auto& options = upstream.options(); !options.empty()) {
        // Servers with other options, from before a reload, are not for this client.
        partition_key_.append(1, '\0').append("options=").append(options);
        // The client's options come last: they win.
        const auto it = std::find_if(parameters_.begin(), parameters_.end(), [](const auto& parameter) {
            return parameter.first == "options";
        });
        if (it == parameters_.end()) {
            parameters_.emplace_back("options", options);
        } else {
            it->second = options + " " + it->second;
        }
    }
}

bool client_login::for_console() const {
    return is_console(database_) && worker_.options().console != nullptr;
}

login_end client_login::console_end() {
    deadline_.stop();
    const bool same_machine = session_.local_ || is_loopback(address());
    role_ = role_of(worker_.settings(), user_, same_machine);
    if (!proven_ && !same_machine) {
        refuse(
            protocol::sqlstate::invalid_authorization, "the console asks for authentication",
            login_result::wrong_password, "The rule that lets this address in is \"trust\"."
        );
    } else if (role_ == admin_role::none) {
        refuse(
            protocol::sqlstate::insufficient_privilege, "permission denied for database \"" + database_ + '"',
            login_result::wrong_password,
            "User \"" + user_ + "\" is neither in admin.users nor in admin.stats_users."
        );
    } else if (!replication_.empty()) {
        refuse(
            protocol::sqlstate::feature_not_supported, "the console does not replicate",
            login_result::protocol
        );
    } else if (!worker_.admin().console_begins()) {
        refuse(
            protocol::sqlstate::too_many_connections, "too many consoles are open", login_result::unavailable,
            "The limit is " + std::to_string(worker_.settings().admin.max_consoles()) +
                " (admin.max_consoles), 0 remain.",
            "Retry when one of them has left, or ask for a higher limit."
        );
    } else {
        worker_.metrics().client_logins.add(login_result::ok);
        return {login_end::kind::console};
    }
    return {login_end::kind::refused};
}

pool::task<client_login::got> client_login::read_first_packet() {
    for (;;) {
        // No startup packet begins like this: its length would be far beyond the limit.
        constexpr std::byte tls_handshake{0x16};
        const auto bytes = session_.in_.bytes();
        if (!bytes.empty() && bytes[0] == tls_handshake && wants_tls()) co_return got::tls_hello;
        packet_ = protocol::parse_startup(bytes);
        if (packet_.kind != startup_kind::need_more) co_return got::message;
        const pool::io_result result = session_.in_.fill(*session_.io_, packet_.size);
        session_.in_.keep();
        if (result.status == io_status::ok) continue;
        if (result.status != io_status::would_block) co_return got::gone;
        const auto bits = co_await session_.gate_.wait();
        if ((bits & client_session::killed) != 0) co_return got::gone;
        if ((bits & client_session::timed_out) != 0) co_return got::timed_out;
        if ((bits & client_session::drained) != 0) session_.draining_ = true;
    }
}

/// One message of type 'p'; its body is in message_. It answers what was just sent, so that there is nothing
/// to read yet, but what a stream holds inside itself.
pool::task<client_login::got> client_login::read_message() {
    for (bool awaited = session_.io_->buffered() == 0;; awaited = false) {
        std::size_t want = protocol::frame_header_size;
        const auto bytes = session_.in_.bytes();
        if (bytes.size() >= want) {
            const bool valid = protocol::valid_length(bytes.data());
            const auto header = valid ? protocol::decode_header(bytes.data()) : protocol::frame_header{};
            if (!valid || header.type != 'p' || header.size() > longest_login_message) {
                session_.in_.keep();
                co_return got::too_long;
            }
            want = header.size();
            if (bytes.size() >= want) {
                message_.assign(
                    bytes.begin() + protocol::frame_header_size,
                    bytes.begin() + static_cast<std::ptrdiff_t>(want)
                );
                OPENSSL_cleanse(bytes.data(), want);  // it may be a password
                session_.in_.consume(want);
                session_.in_.keep();
                co_return got::message;
            }
        }
        session_.in_.keep();
        if (!awaited) {
            const pool::io_result result = session_.in_.fill(*session_.io_, want);
            if (result.status == io_status::ok) continue;
            if (result.status != io_status::would_block) co_return got::closed;
        }
        const auto bits = co_await session_.gate_.wait();
        if ((bits & client_session::killed) != 0) co_return got::gone;
        if ((bits & client_session::timed_out) != 0) co_return got::timed_out;
        if ((bits & client_session::drained) != 0) session_.draining_ = true;
        if ((bits & client_session::client_writable) != 0) session_.out_.drain(*session_.io_);
    }
}

pool::task<bool> client_login::start_tls() {
    const memory_room::handshake_in_progress going_on;
    auto secured =
        std::make_unique<pool::tls_stream>(std::move(session_.io_), worker_.live().towards_clients);
    pool::tls_stream& tls = *secured;
    tls.hand_over_to(worker_.options().handshakes);
    tls.begin_with(session_.in_.bytes());
    session_.in_.consume(session_.in_.size());
    session_.io_ = std::move(secured);
    tls.watch(session_.gate_, {client_session::client_readable, client_session::client_writable});
    tls.arm(pool::interest::read);
    for (;;) {
        const pool::io_result result = tls.handshake();
        if (result.status == io_status::ok) break;
        if (result.status != io_status::would_block) {
            log::info("client_tls_failed", {{"client", session_.peer_}, {"reason", tls.failure()}});
            co_return false;
        }
        const auto bits = co_await session_.gate_.wait();
        if ((bits & (client_session::killed | client_session::timed_out)) != 0) co_return false;
    }
    tls_ = &tls;
    co_return true;
}

/// Makes sure that a server has been logged in to with these parameters once: its word decides whether the
/// database exists and the parameters are good, and its ParameterStatus values are what the client is greeted
/// with.
pool::task<bool> client_login::find_server() {
    pool::server_pool& pool = *session_.pool_;
    if (const auto& name = worker_.settings().upstream.application_name(); !name.empty()) {
        parameters_.emplace_back("application_name", name);
        partition_key_.append(1, '\0').append("application_name=").append(name);
    }
    session_.partition = pool.partition(partition_key_, parameters_);
    auto& facts = session_.facts_;
    auto& store = worker_.parameters();
    facts.startup = store.empty();
    if (application_name_) facts.startup = store.with(facts.startup, "application_name", &*application_name_);
    facts.settings = facts.startup;
    session_.parameters = facts.settings;
    const auto& settings = worker_.settings();
    const auto by_rule = [&](auto what, auto otherwise) {
        return config::pool_rule_for(settings.pool.rules(), what, database_, user_).value_or(otherwise);
    };
    using config::pool_rule;
    const bool session_mode = by_rule(&pool_rule::mode, settings.pool.mode()) == config::pool_mode::session;
    const auto policy = by_rule(&pool_rule::state, settings.pool.session_state());
    session_.replays_ = by_rule(&pool_rule::replay, settings.replay.mode()) == config::replay_mode::on;
    if (policy == config::session_policy::pin) facts.keep_server();
    if (policy == config::session_policy::off && !session_mode) facts.forget_requests();
    if (session_mode) facts.pins.add(pin_reason::session_mode);
    if (!session_mode) session_.requests_.use_catalog(&worker_.catalog_of(database_));
    const bool reads = settings.reads.mode() != config::read_mode::primary && !session_mode;
    if (reads) session_.may_read(worker_.read_pool(database_, user_), partition_key_, parameters_);
    session_.requests_.use_traffic(&pool.traffic());
    if (pool.facts(session_.partition).welcome == nullptr) {
        pool::server_connection* server = pool.acquire(session_);
        if (server == nullptr) {
            const waited end = co_await wait_for_server();
            if (end == waited::gone) co_return false;
            if (end == waited::too_long) {
                co_return refuse(
                    protocol::sqlstate::cannot_connect_now, "no server answered in time",
                    login_result::timeout
                );
            }
            if (end == waited::refused) {
                const auto why = std::move(session_.refusal_);
                if (!why->error_frame.empty()) {
                    send(why->error_frame);
                    worker_.metrics().client_logins.add(login_result::unavailable);
                    co_return false;
                }
                co_return refuse(
                    why->sqlstate, why->message, login_result::unavailable, why->detail, why->hint
                );
            }
            server = std::exchange(session_.server_, nullptr);
        }
        pool.release(*server, false);
    } else if (worker_.settings().pool.own_server() == config::yes_no::yes && !co_await find_own_server()) {
        co_return false;
    }
    deadline_.stop();
    session_.io_->arm(pool::interest::read);
    facts.told = pool.facts(session_.partition).welcome;
    if (application_name_) facts.told = store.with(facts.told, "application_name", &*application_name_);
    co_return true;
}

/// False when the client is gone. A server that cannot be had now is no reason to keep a client out.
pool::task<bool> client_login::find_own_server() {
    pool::server_pool& pool = *session_.pool_;
    if (!pool.acquire_own(session_)) co_return true;
    deadline_.after(own_server_patience);
    const waited end = co_await wait_for_server();
    deadline_.stop();
    if (end == waited::gone) co_return false;
    pool.withdraw(session_);
    session_.refusal_.reset();
    if (auto* server = std::exchange(session_.server_, nullptr)) pool.release(*server, false);
    co_return true;
}

pool::task<client_login::waited> client_login::wait_for_server() {
    session_.phase_ = session_phase::waiting;
    for (;;) {
        const auto bits = co_await session_.gate_.wait();
        if ((bits & client_session::drained) != 0) session_.draining_ = true;
        if ((bits & client_session::killed) != 0) co_return waited::gone;
        if ((bits & client_session::server_granted) != 0) break;
        if ((bits & client_session::timed_out) != 0) {
            session_.phase_ = session_phase::login;
            co_return waited::too_long;
        }
        if ((bits & client_session::server_refused) != 0) {
            session_.phase_ = session_phase::login;
            co_return waited::refused;
        }
        if (session_.in_.size() > longest_login_message) session_.io_->arm(pool::interest::none);
        // The client may leave while it waits.
        if ((bits & client_session::client_readable) != 0) {
            const auto result = session_.in_.fill(*session_.io_, 0);
            session_.in_.keep();
            if (result.status == io_status::eof || result.status == io_status::error) co_return waited::gone;
        }
    }
    session_.phase_ = session_phase::login;
    co_return waited::granted;
}

pool::task<bool> client_login::open_replication() {
    parameters_.emplace_back("replication", replication_);
    if (application_name_) parameters_.emplace_back("application_name", *application_name_);
    session_.facts_.pins.add(pin_reason::replication);
    auto outcome = std::make_shared<pool::login_outcome>();
    client_session& session = session_;
    // The session outlives the attempt: it ends only after this callback has run.
    session.pool_->open_dedicated(
        parameters_,
        [&session,
         outcome](std::unique_ptr<pool::server_connection> server, const pool::login_outcome& what) {
            session.dedicated_ = std::move(server);
            *outcome = what;
            session.gate_.set(client_session::server_granted);
        }
    );
    while ((co_await session_.gate_.wait() & client_session::server_granted) == 0) {
        session_.io_->arm(pool::interest::none);
    }
    deadline_.stop();
    if (!session_.dedicated_) {
        if (outcome->error_frame.empty())
            co_return refuse(outcome->sqlstate, outcome->message, login_result::unavailable);
        send(outcome->error_frame);
        co_return false;
    }
    session_.facts_.told = session_.dedicated_->reported;
    session_.physical_ = physical_replication_;
    session_.phase_ = session_phase::blind;
    session_.dedicated_->io->watch(
        session_.gate_, {client_session::server_readable, client_session::server_writable}
    );
    session_.gate_.set(client_session::server_readable);
    session_.io_->arm(pool::interest::read);
    co_return true;
}

void client_login::welcome() {
    constexpr std::size_t key_and_ready = 64;
    const std::vector<std::byte>& statuses = statuses_of(*session_.facts_.told);
    std::vector<std::byte> frames;
    frames.reserve(unsaid_.size() + statuses.size() + key_and_ready);
    frames.assign(unsaid_.begin(), unsaid_.end());
    unsaid_.clear();
    frames.insert(frames.end(), statuses.begin(), statuses.end());
    protocol::message_writer writer{frames};
    std::uint32_t pid = 0;
    if (session_.dedicated_) {
        pid = session_.dedicated_->key.pid;
    } else {
        // The backend that is this client's home: what it calls itself there agrees with what we say here.
        auto* home = static_cast<pool::server_connection*>(session_.last.server());
        if (home == nullptr) home = session_.pool_->home_for(session_.partition);
        session_.last.attach(home);
        if (home != nullptr) pid = home->key.pid;
    }
    if (pid == 0) pid = static_cast<std::uint32_t>(worker_.env().random() >> 33) | 1U;
    session_.key_ = worker_.register_key(session_, pid, minor_ >= 2);
    writer.backend_key_data(pid, session_.key_.view());
    writer.ready_for_query(protocol::transaction_status::idle);
    send(frames);
    session_.count_pins();
    log::debug("client_login", {{"client", session_.peer_}, {"user", user_}, {"database", database_}});
}

void client_login::send(const std::vector<std::byte>& bytes) {
    if (unsaid_.empty()) {
        session_.send_made(bytes);
        return;
    }
    say_later(bytes);
    session_.send_made(std::exchange(unsaid_, {}));
}

bool client_login::refuse(
    std::string_view sqlstate, std::string_view message, login_result result, std::string_view detail,
    std::string_view hint
) {
    deadline_.stop();
    worker_.metrics().client_logins.add(result);
    log::info("client_refused", {{"client", session_.peer_}, {"sqlstate", sqlstate}, {"message", message}});
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.error(
        {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint}
    );
    send(frame);
    return false;
}

}  // namespace pgmend::proxy
