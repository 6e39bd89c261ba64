#include "pool/server_login.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "pool/tls_stream.hpp"
#include "protocol/error_response.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"
#include "protocol/startup.hpp"

namespace pgmend::pool {

namespace {

constexpr event_mask readable = 1;
constexpr event_mask writable = 2;
constexpr event_mask timed_out = 4;
constexpr std::size_t longest_login_message = 1 << 20;

login_outcome failed(connect_result result, std::string_view sqlstate, std::string message) {
    return {result, std::string{sqlstate}, std::move(message), {}};
}

class login {
public:
    login(
        server_connection& server, const login_context& context, const login_settings& settings,
        const startup_parameters& parameters
    )
        : server_(server),
          context_(context),
          settings_(settings),
          parameters_(parameters),
          gate_(context.env),
          deadline_(context.env, gate_, timed_out) {}

    /// Each credential in turn, as long as the server refuses them for what they are.
    task<login_outcome> run() {
        deadline_.after(settings_.timeout);
        tls_ = server_.where.is_unix_socket() ? nullptr : settings_.source->tls();
        std::vector<server_credential> credentials = settings_.source->credentials(settings_.user);
        if (credentials.empty()) credentials.emplace_back();
        login_outcome outcome;
        for (const server_credential& credential : credentials) {
            credential_ = &credential;
            outcome = co_await attempts();
            if (outcome.result == connect_result::ok) settings_.source->accepted(settings_.user, credential);
            if (outcome.result != connect_result::login_failed) break;
        }
        if (outcome.result == connect_result::login_failed && !outcome.error_frame.empty()) {
            outcome.may_pass = settings_.source->refused(settings_.user, context_.env.now());
        }
        for (server_credential& credential : credentials)
            OPENSSL_cleanse(credential.password.data(), credential.password.capacity());
        co_return outcome;
    }

private:
    /// As libpq: `allow` tries TLS when the server refuses clear text, `prefer` the other way round.
    task<login_outcome> attempts() {
        const tls_mode mode = tls_ ? tls_->mode() : tls_mode::disable;
        const bool tls_first = mode != tls_mode::disable && mode != tls_mode::allow;
        login_outcome outcome = co_await attempt(tls_first);
        const bool other_way = outcome.result != connect_result::ok &&
                               outcome.result != connect_result::refused &&
                               outcome.result != connect_result::timeout;
        if (other_way && (mode == tls_mode::allow || (mode == tls_mode::prefer && used_tls_))) {
            login_outcome second = co_await attempt(!tls_first);
            if (second.result == connect_result::ok) outcome = std::move(second);
        }
        co_return outcome;
    }

    task<login_outcome> attempt(bool with_tls) {
        server_.in.clear();
        server_.out.clear();
        consumed_ = 0;
        used_tls_ = false;
        secured_ = false;
        server_.io = context_.net.connect(server_.where);
        server_.io->watch(gate_, {readable, writable});
        login_outcome outcome = co_await connect();
        if (outcome.result == connect_result::ok && with_tls) outcome = co_await start_tls();
        if (outcome.result == connect_result::ok) outcome = co_await authenticate();
        if (outcome.result == connect_result::ok) outcome = co_await greeting();
        co_return outcome;
    }

    task<login_outcome> connect() {
        for (;;) {
            const io_result result = server_.io->connected();
            if (result.status == io_status::ok) break;
            if (result.status != io_status::would_block) {
                co_return failed(
                    connect_result::refused, protocol::sqlstate::cannot_connect_now,
                    server_.where.to_string() + ": " + std::strerror(result.error)
                );
            }
            server_.io->arm(interest::write);
            if ((co_await gate_.wait() & timed_out) != 0) co_return timeout();
        }
        server_.io->arm(interest::read);
        co_return login_outcome{};
    }

    /// Asks the server for TLS, unless both know that it begins at once. `used_tls_` says what it answered.
    task<login_outcome> ask_for_tls() {
        if (tls_->direct()) {
            used_tls_ = true;
            co_return login_outcome{};
        }
        std::vector<std::byte> request;
        protocol::append_ssl_request(request);
        if (!send(request)) co_return lost();
        std::array<std::byte, 1> answer{};
        for (;;) {
            const io_result result = server_.io->read_some(answer);
            if (result.status == io_status::ok) break;
            if (result.status != io_status::would_block) co_return lost();
            if ((co_await gate_.wait() & timed_out) != 0) co_return timeout();
        }
        const char code = static_cast<char>(answer[0]);
        if (code != 'S') {
            // 'N', or an old server's error message: no TLS here.
            if (tls_->mode() == tls_mode::prefer && code == 'N') co_return login_outcome{};
            co_return failed(
                connect_result::tls_failed, protocol::sqlstate::connection_failure,
                "the server does not support TLS, but TLS is required"
            );
        }
        // Only the one byte was read: what somebody put behind it in clear becomes a broken handshake
        // (CVE-2021-23222).
        used_tls_ = true;
        co_return login_outcome{};
    }

    task<login_outcome> start_tls() {
        login_outcome asked = co_await ask_for_tls();
        if (asked.result != connect_result::ok || !used_tls_) co_return asked;
        auto secured = std::make_unique<tls_stream>(
            std::move(server_.io), tls_, settings_.source->tls_name(server_.where)
        );
        tls_stream& tls = *secured;
        server_.io = std::move(secured);
        tls.watch(gate_, {readable, writable});
        tls.arm(interest::read);
        for (;;) {
            const io_result result = tls.handshake();
            if (result.status == io_status::ok) break;
            if (result.status != io_status::would_block) {
                co_return failed(
                    connect_result::tls_failed, protocol::sqlstate::connection_failure,
                    "TLS with " + server_.where.to_string() + ": " + tls.failure()
                );
            }
            if ((co_await gate_.wait() & timed_out) != 0) co_return timeout();
        }
        if (tls_->direct() && !tls.protocol_agreed()) {
            co_return failed(
                connect_result::tls_failed, protocol::sqlstate::connection_failure,
                "direct SSL connection was established without ALPN protocol negotiation extension"
            );
        }
        secured_ = true;
        co_return login_outcome{};
    }

    task<login_outcome> authenticate() {
        std::vector<protocol::startup_parameter> parameters{
            {"user", settings_.user}, {"database", settings_.database}};
        for (const auto& [name, value] : parameters_) {
            parameters.push_back({name, value});
        }
        std::vector<std::byte> packet;
        protocol::append_startup(packet, 0, parameters);
        if (!send(packet)) co_return lost();
        const auto* const tls = secured_ ? static_cast<const tls_stream*>(server_.io.get()) : nullptr;
        authentication_facts facts{settings_.user, *credential_, settings_.rules};
        facts.encrypted = tls != nullptr;
        if (tls != nullptr) facts.end_point = tls->end_point();
        for (std::uint64_t& word : facts.random)
            word = context_.env.random();
        server_authentication authentication{std::move(facts), context_.scram_keys};
        for (;;) {
            login_outcome outcome = co_await next_message();
            if (outcome.result != connect_result::ok) co_return outcome;
            if (type_ == 'N' || type_ == 'v') continue;
            if (type_ == 'E') co_return server_error();
            if (type_ != 'R') co_return out_of_step();
            const authentication_step step = authentication.answer(body_);
            switch (step.what) {
                case authentication_step::kind::done:
                    co_return login_outcome{};
                case authentication_step::kind::wait:
                    break;
                case authentication_step::kind::failed:
                    co_return failed(connect_result::login_failed, step.sqlstate, step.message);
                case authentication_step::kind::reply:
                    if (!send(step.bytes)) co_return lost();
                    break;
            }
        }
    }

    task<login_outcome> greeting() {
        protocol::parameter_map reported;
        for (;;) {
            login_outcome outcome = co_await next_message();
            if (outcome.result != connect_result::ok) co_return outcome;
            protocol::byte_reader reader{body_};
            switch (type_) {
                case 'S': {
                    const std::string name{reader.cstring()};
                    reported.insert_or_assign(name, std::string{reader.cstring()});
                    break;
                }
                case 'K': {
                    server_.key.pid = reader.u32();
                    server_.key.secret.assign(reader.rest().begin(), reader.rest().end());
                    break;
                }
                case 'N':
                case 'A':
                    break;
                case 'E':
                    co_return server_error();
                case 'Z':
                    server_.status = protocol::transaction_status::idle;
                    server_.reported = context_.parameters.intern(std::move(reported));
                    server_.in.consume(consumed_);
                    server_.in.keep();
                    server_.io->watch(server_, {readable, writable});
                    server_.io->arm(interest::read);
                    if (!server_.in.empty() || server_.io->buffered() != 0) server_.notify(readable);
                    co_return login_outcome{};
                default:
                    co_return out_of_step();
            }
            if (reader.failed()) co_return out_of_step();
        }
    }

    /// Reads one message into type_ and body_; they are valid until the next call.
    task<login_outcome> next_message() {
        server_.in.consume(consumed_);
        consumed_ = 0;
        server_.in.keep();
        for (;;) {
            std::size_t want = protocol::frame_header_size;
            const auto bytes = server_.in.bytes();
            if (bytes.size() >= want) {
                if (!protocol::valid_length(bytes.data())) co_return out_of_step();
                const auto header = protocol::decode_header(bytes.data());
                if (header.size() > longest_login_message) co_return out_of_step();
                want = header.size();
                if (bytes.size() >= want) {
                    type_ = header.type;
                    body_ = bytes.subspan(protocol::frame_header_size, header.body);
                    consumed_ = want;
                    co_return login_outcome{};
                }
            }
            const io_result result = server_.in.fill(*server_.io, want);
            server_.in.keep();
            if (result.status == io_status::ok) continue;
            if (result.status != io_status::would_block) co_return lost();
            server_.io->arm(server_.out.blocked() ? interest::read_write : interest::read);
            if ((co_await gate_.wait() & timed_out) != 0) co_return timeout();
            if (!server_.out.drain(*server_.io)) co_return lost();
        }
    }

    bool send(std::span<const std::byte> bytes) {
        gather flight;
        flight.add(bytes);
        return server_.out.send(*server_.io, flight);
    }

    login_outcome server_error() const {
        const protocol::error_view error = protocol::read_error(body_);
        const bool credentials = error.sqlstate.starts_with("28");
        login_outcome outcome = failed(
            credentials ? connect_result::login_failed : connect_result::server_error, error.sqlstate,
            std::string{error.message}
        );
        const std::byte* begin = body_.data() - protocol::frame_header_size;
        outcome.error_frame.assign(begin, begin + protocol::frame_header_size + body_.size());
        return outcome;
    }
    login_outcome timeout() const {
        return failed(
            connect_result::timeout, protocol::sqlstate::cannot_connect_now,
            server_.where.to_string() + ": no answer within the time for connecting"
        );
    }
    login_outcome lost() const {
        return failed(
            connect_result::lost, protocol::sqlstate::cannot_connect_now,
            server_.where.to_string() + ": the server closed the connection during login"
        );
    }
    login_outcome out_of_step() const {
        return failed(
            connect_result::server_error, protocol::sqlstate::protocol_violation,
            server_.where.to_string() + ": unexpected message during login"
        );
    }

    server_connection& server_;
    const login_context& context_;
    const login_settings& settings_;
    const startup_parameters& parameters_;
    event_gate gate_;
    gate_timer deadline_;
    char type_ = 0;
    protocol::byte_view body_;
    std::size_t consumed_ = 0;
    std::shared_ptr<const tls_context> tls_;  ///< of this login; null: none
    const server_credential* credential_ = nullptr;
    bool used_tls_ = false;
    bool secured_ = false;  ///< server_.io is a tls_stream with its handshake done
};

}  // namespace

bool login_outcome::worth_retrying() const noexcept {
    switch (result) {
        case connect_result::refused:
        case connect_result::timeout:
        case connect_result::lost:
        case connect_result::wrong_role:
            return true;
        case connect_result::ok:
        case connect_result::tls_failed:
        case connect_result::login_failed:
            return false;
        case connect_result::server_error: {
            static constexpr std::array<std::string_view, 6> later{"57P01", "57P02", "57P03",
                                                                   "08001", "08004", "53300"};
            return std::find(later.begin(), later.end(), sqlstate) != later.end();
        }
    }
    return false;
}

task<login_outcome> log_in(
    server_connection& server, const login_context& context, const login_settings& settings,
    const startup_parameters& parameters
) {
    login machine{server, context, settings, parameters};
    login_outcome outcome = co_await machine.run();
    if (outcome.result != connect_result::ok && server.io) server.io->close();
    co_return outcome;
}

}  // namespace pgmend::pool
