#include "pool/server_authentication.hpp"

#include <algorithm>

#include "protocol/md5_auth.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::pool {

namespace {

using config::auth_kind;
using config::channel_binding;
using step = authentication_step;

/// Codes of Authentication messages (PostgreSQL protocol, "Message Formats").
enum authentication_code : std::uint32_t {
    auth_ok = 0,
    auth_cleartext = 3,
    auth_md5 = 5,
    auth_gss = 7,
    auth_gss_continue = 8,
    auth_sspi = 9,
    auth_sasl = 10,
    auth_sasl_continue = 11,
    auth_sasl_final = 12,
};

step failed(std::string_view sqlstate, std::string message) {
    return {step::kind::failed, {}, sqlstate, std::move(message)};
}

step refused(std::string message) {
    return failed(protocol::sqlstate::invalid_authorization, std::move(message));
}

step out_of_step() {
    return failed(protocol::sqlstate::protocol_violation, "unexpected authentication message during login");
}

bool offers_binding(protocol::byte_view offered) {
    protocol::byte_reader reader{offered};
    for (;;) {
        const std::string_view name = reader.cstring();
        if (reader.failed() || name.empty()) return false;
        if (name == protocol::scram_sha_256_plus) return true;
    }
}

}  // namespace

/// Why require_auth forbids this request; empty when it does not.
std::string_view server_authentication::objection(std::uint32_t code) const {
    const auto& methods = facts_.rules.methods;
    switch (code) {
        case auth_ok:
            return answered_ || methods.allows(auth_kind::none) ? ""
                                                                : "server did not complete authentication";
        case auth_cleartext:
            return methods.allows(auth_kind::password) ? "" : "server requested a cleartext password";
        case auth_md5:
            return methods.allows(auth_kind::md5) ? "" : "server requested a hashed password";
        case auth_sasl:
        case auth_sasl_continue:
        case auth_sasl_final:
            return methods.allows(auth_kind::scram_sha_256) ? "" : "server requested SASL authentication";
        case auth_gss:
        case auth_gss_continue:
            return methods.allows(auth_kind::gss) ? "" : "server requested GSSAPI authentication";
        case auth_sspi:
            return methods.allows(auth_kind::sspi) ? "" : "server requested SSPI authentication";
        default:
            return {};
    }
}

authentication_step server_authentication::answer(protocol::byte_view body) {
    protocol::byte_reader reader{body};
    const std::uint32_t code = reader.u32();
    if (reader.failed()) return out_of_step();
    if (const auto reason = objection(code); !reason.empty()) {
        return refused(
            "authentication method requirement \"" + facts_.rules.methods.text +
            "\" failed: " + std::string{reason}
        );
    }
    const bool must_bind = facts_.rules.binding == channel_binding::require;
    const bool sasl = code == auth_sasl || code == auth_sasl_continue || code == auth_sasl_final;
    if (code == auth_ok) return accepted();
    if (must_bind && !sasl) {
        return refused("channel binding required but not supported by server's authentication request");
    }
    const auto& [password, keys] = facts_.credential;
    if (password.empty() && !keys) {
        return failed(
            protocol::sqlstate::invalid_password,
            "the server asks for a password, and none is known for user \"" + facts_.user + "\""
        );
    }
    if (sasl) {
        return code == auth_sasl ? begin_sasl(reader.rest()) : go_on(reader.rest(), code == auth_sasl_final);
    }
    if (password.empty()) {
        return refused(
            "the server asks for a password, and only the SCRAM keys are known for user \"" + facts_.user +
            "\""
        );
    }
    step reply{step::kind::reply};
    protocol::message_writer writer{reply.bytes};
    if (code == auth_cleartext) {
        // The hash would be taken for the password.
        if (protocol::is_md5_hash(password)) {
            return refused(
                "the server asks for the password, and only its md5 hash is known for user \"" + facts_.user +
                "\""
            );
        }
        writer.password(password);
    } else if (code == auth_md5) {
        protocol::md5_salt salt{};
        if (reader.rest().size() != salt.size()) return out_of_step();
        std::ranges::copy(reader.rest(), salt.begin());
        writer.password(protocol::md5_response(password, facts_.user, salt));
    } else {
        return refused(
            "the server asks for authentication method " + std::to_string(code) + ", which is not supported"
        );
    }
    answered_ = true;
    return reply;
}

authentication_step server_authentication::accepted() {
    // A server that has not proven that it knows the password may be anybody.
    if (scram_ && !server_proven_) return out_of_step();
    const bool bound = scram_ && scram_->bound();
    if (facts_.rules.binding == channel_binding::require && !bound) {
        return refused("channel binding required, but server authenticated client without channel binding");
    }
    return {step::kind::done};
}

authentication_step server_authentication::begin_sasl(protocol::byte_view offered) {
    const bool plus = offers_binding(offered);
    if (plus && !facts_.encrypted) {
        return refused("server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection");
    }
    if (facts_.rules.binding == channel_binding::require) {
        if (!facts_.encrypted) return refused("channel binding required, but SSL not in use");
        if (!plus || facts_.end_point.empty()) {
            return refused(
                "channel binding is required, but server did not offer an authentication method that "
                "supports "
                "channel binding"
            );
        }
    }
    const bool bind = facts_.rules.binding != channel_binding::disable;
    const std::string_view end_point = bind ? std::string_view{facts_.end_point} : std::string_view{};
    std::string nonce = protocol::scram_nonce(facts_.random);
    const auto& [password, keys] = facts_.credential;
    scram_ = password.empty()
                 ? std::make_unique<protocol::scram_client>(*keys, std::move(nonce), end_point)
                 : std::make_unique<protocol::scram_client>(password, std::move(nonce), cache_, end_point);
    const protocol::scram_step first = scram_->mechanisms(offered);
    if (first.status == protocol::scram_status::refused) {
        return failed(first.error.sqlstate, first.error.message);
    }
    step reply{step::kind::reply};
    protocol::message_writer{reply.bytes}.sasl_initial_response(scram_->mechanism(), first.message);
    return reply;
}

authentication_step server_authentication::go_on(protocol::byte_view data, bool final) {
    if (!scram_) return out_of_step();
    const auto text = protocol::as_text(data);
    const protocol::scram_step next = final ? scram_->server_final(text) : scram_->server_first(text);
    if (next.status == protocol::scram_status::refused) {
        return failed(next.error.sqlstate, next.error.message);
    }
    if (next.status == protocol::scram_status::done) {
        server_proven_ = true;
        answered_ = true;
        return {step::kind::wait};
    }
    step reply{step::kind::reply};
    protocol::message_writer{reply.bytes}.sasl_response(next.message);
    return reply;
}

}  // namespace pgmend::pool
