#include "pool/server_authentication.hpp"

#include <catch2/catch.hpp>

#include "protocol/message_writer.hpp"

using namespace pgmend::pool;
using namespace pgmend::protocol;
namespace config = pgmend::config;
using kind = authentication_step::kind;

namespace {

constexpr std::uint32_t ok = 0, cleartext = 3, md5 = 5, gss = 7, sasl = 10, sasl_continue = 11,
                        sasl_final = 12;
const std::string user = "app";
const std::string plain_offer{"SCRAM-SHA-256\0\0", 15};
const std::string both_offer{"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34};

std::vector<std::byte> body_of(std::uint32_t code, std::string_view data = {}) {
    std::vector<std::byte> body(4);
    store_u32(body.data(), code);
    for (const char each : data)
        body.push_back(static_cast<std::byte>(each));
    return body;
}

login_rules rules(config::channel_binding binding, std::string_view methods = "") {
    return {binding, *config::parse_auth_requirement(methods).value};
}

struct attempt {
    server_credential credential{"secret", nullptr};
    login_rules demanded;
    scram_key_cache cache{4};
    std::unique_ptr<server_authentication> machine;

    attempt(
        login_rules wanted, bool encrypted = false, std::string end_point = {},
        std::string password = "secret"
    )
        : credential{std::move(password), nullptr}, demanded(std::move(wanted)) {
        authentication_facts facts{user, credential, demanded};
        facts.encrypted = encrypted;
        facts.end_point = std::move(end_point);
        facts.random = {1, 2, 3};
        machine = std::make_unique<server_authentication>(std::move(facts), cache);
    }
    authentication_step say(std::uint32_t code, std::string_view data = {}) {
        return machine->answer(body_of(code, data));
    }
};

/// The data of the frame a step wants sent, behind type and length.
std::string_view sent(const authentication_step& step) { return as_text(step.bytes).substr(5); }

/// Plays the server's part; the last step, which lets the client in.
authentication_step whole_scram(attempt& client, const std::string& offer, const std::string& end_point) {
    scram_server server{derive_scram_verifier("secret", as_bytes("salt"), 2), user, "nonce", end_point};
    const auto first = client.say(sasl, offer);
    REQUIRE(first.what == kind::reply);
    const auto initial = parse_sasl_initial_response(as_bytes(sent(first)));
    REQUIRE(initial);
    const auto challenge = server.initial_response(*initial);
    const auto second = client.say(sasl_continue, challenge.message);
    REQUIRE(second.what == kind::reply);
    const auto proof = server.response(sent(second));
    REQUIRE(proof.status == scram_status::done);
    REQUIRE(client.say(sasl_final, proof.message).what == kind::wait);
    return client.say(ok);
}

using config::channel_binding;

}  // namespace

TEST_CASE("server authentication: passwords and SCRAM are answered") {
    attempt trusting(rules(channel_binding::prefer));
    CHECK(trusting.say(ok).what == kind::done);
    attempt clear(rules(channel_binding::prefer));
    CHECK(sent(clear.say(cleartext)) == std::string_view("secret\0", 7));
    CHECK(clear.say(ok).what == kind::done);
    attempt hashed(rules(channel_binding::prefer));
    CHECK(hashed.say(md5, "abcd").what == kind::reply);
    CHECK(hashed.say(md5, "abc").what == kind::failed);
    attempt scram(rules(channel_binding::prefer));
    CHECK(whole_scram(scram, plain_offer, "").what == kind::done);
}

TEST_CASE("server authentication: channel_binding means what it means to libpq") {
    const auto message = [](attempt&& made, std::uint32_t code, std::string_view data) {
        const auto step = made.say(code, data);
        CHECK(step.what == kind::failed);
        return step.message;
    };
    const auto required = rules(channel_binding::require);
    attempt bound(required, true, "hash");
    CHECK(whole_scram(bound, both_offer, "hash").what == kind::done);
    attempt preferred(rules(channel_binding::prefer), true, "hash");
    CHECK(sent(preferred.say(sasl, both_offer)).starts_with("SCRAM-SHA-256-PLUS"));
    attempt disabled(rules(channel_binding::disable), true, "hash");
    CHECK(sent(disabled.say(sasl, both_offer)).find("n,,n=") != std::string_view::npos);
    CHECK(message({required, false}, sasl, plain_offer) == "channel binding required, but SSL not in use");
    CHECK(
        message({required, true, "hash"}, sasl, plain_offer) ==
        "channel binding is required, but server did not offer an authentication method that supports "
        "channel "
        "binding"
    );
    CHECK(
        message({required, true, "hash"}, ok, "") ==
        "channel binding required, but server authenticated client without channel binding"
    );
    CHECK(
        message({required, true, "hash"}, cleartext, "") ==
        "channel binding required but not supported by server's authentication request"
    );
    CHECK(
        message({rules(channel_binding::prefer), false}, sasl, both_offer) ==
        "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection"
    );
}

TEST_CASE("server authentication: require_auth means what it means to libpq") {
    const auto message = [](std::string_view methods, std::uint32_t code, std::string_view data = {}) {
        attempt made(rules(channel_binding::prefer, methods));
        const auto step = made.say(code, data);
        return step.what == kind::failed ? step.message : "allowed";
    };
    CHECK(
        message("scram-sha-256", cleartext) ==
        "authentication method requirement \"scram-sha-256\" failed: server requested a cleartext password"
    );
    CHECK(message("scram-sha-256", md5, "abcd").ends_with("server requested a hashed password"));
    CHECK(message("md5", sasl, plain_offer).ends_with("server requested SASL authentication"));
    CHECK(message("md5", gss).ends_with("server requested GSSAPI authentication"));
    CHECK(message("scram-sha-256", ok).ends_with("server did not complete authentication"));
    CHECK(message("none,scram-sha-256", ok) == "allowed");
    CHECK(message("!password", cleartext).ends_with("server requested a cleartext password"));
    CHECK(message("!password", md5, "abcd") == "allowed");
    attempt scram(rules(channel_binding::prefer, "scram-sha-256"));
    CHECK(whole_scram(scram, plain_offer, "").what == kind::done);
}

TEST_CASE("server authentication: what is not known is not invented") {
    attempt none(rules(channel_binding::prefer), false, "", "");
    CHECK(none.say(cleartext).sqlstate == "28P01");
    attempt hash(rules(channel_binding::prefer), false, "", "md5a3556571e93b0d20722ba62be61e8c2d");
    CHECK(hash.say(cleartext).what == kind::failed);
    attempt odd(rules(channel_binding::prefer));
    CHECK(odd.say(99).message == "the server asks for authentication method 99, which is not supported");
    CHECK(odd.machine->answer({}).what == kind::failed);
    CHECK(odd.say(sasl_continue, "r=x").what == kind::failed);
    // A server that breaks off its own proof is not believed.
    attempt cut(rules(channel_binding::prefer));
    cut.say(sasl, plain_offer);
    CHECK(cut.say(ok).what == kind::failed);
}

TEST_CASE("server authentication: a client's keys do where the server keeps the same verifier") {
    const scram_verifier verifier = derive_scram_verifier("secret", as_bytes("salt"), 2);
    // A client proves itself to us with its password ...
    scram_key_cache cache{1};
    scram_client client{"secret", "client", cache};
    scram_server towards{verifier, user, "ours"};
    const auto first = client.mechanisms(as_bytes(plain_offer));
    const auto challenge = towards.initial_response({scram_sha_256, first.message});
    const auto proof = client.server_first(challenge.message);
    REQUIRE(towards.response(proof.message).status == scram_status::done);
    REQUIRE(towards.recovered());
    // ... and we to the server with what that gave away.
    attempt passed_through(rules(channel_binding::prefer), false, "", "");
    passed_through.credential.keys = std::make_shared<const scram_login_keys>(*towards.recovered());
    CHECK(whole_scram(passed_through, plain_offer, "").what == kind::done);
    attempt other_salt(rules(channel_binding::prefer), false, "", "");
    other_salt.credential.keys = passed_through.credential.keys;
    scram_server foreign{derive_scram_verifier("secret", as_bytes("other"), 2), user, "nonce"};
    const auto begun = other_salt.say(sasl, plain_offer);
    const auto asked = foreign.initial_response(*parse_sasl_initial_response(as_bytes(sent(begun))));
    CHECK(
        other_salt.say(sasl_continue, asked.message).message ==
        "the server's SCRAM verifier is not the one that the client's keys belong to"
    );
}
