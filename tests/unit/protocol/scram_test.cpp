#include "protocol/scram.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "protocol/base64.hpp"

using namespace pgmend::protocol;

namespace {

using bytes = std::vector<std::byte>;

// RFC 7677, section 3: user "user", password "pencil".
constexpr auto rfc_salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
constexpr auto rfc_client_first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr auto rfc_server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr auto rfc_server_first =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr auto rfc_client_final =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr auto rfc_server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

// What PostgreSQL 15 stored for CREATE ROLE ... PASSWORD 'pencil'.
constexpr auto stored_by_postgres =
    "SCRAM-SHA-256$4096:oTuLdBlWOb1p2jjqPsR3dg==$HRCWez8aX78s4umTufX5hxaBOaAJK9ToF2rDThUkl/E=:"
    "1d61XWNhCP9qMicN1Q2M+1U7Garl0qPwLs7tQDTx7AU=";

/// Few rounds keep the tests that try every bit fast.
const scram_verifier& pencil() {
    static const scram_verifier verifier = derive_scram_verifier("pencil", as_bytes("0123456789abcdef"), 2);
    return verifier;
}

scram_server make_server(scram_verifier verifier = pencil(), std::string_view end_point = {}) {
    return {std::move(verifier), "app", "server-nonce", end_point};
}

scram_step first(scram_server& server, std::string_view data, std::string_view mechanism = scram_sha_256) {
    return server.initial_response({mechanism, data});
}

byte_view offer(bool plus) {
    static const std::string both = std::string("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34);
    return as_bytes(plus ? std::string_view(both) : std::string_view(both).substr(19));
}

struct exchange {
    scram_step server;
    scram_step client;
};

/// A whole login between our two sides.
exchange log_in(scram_server& server, scram_client& client, bool plus = false) {
    exchange end{};
    end.client = client.mechanisms(offer(plus));
    if (end.client.status != scram_status::reply) return end;
    end.server = first(server, end.client.message, client.mechanism());
    if (end.server.status != scram_status::reply) return end;
    end.client = client.server_first(end.server.message);
    if (end.client.status != scram_status::reply) return end;
    end.server = server.response(end.client.message);
    if (end.server.status != scram_status::done) return end;
    end.client = client.server_final(end.server.message);
    return end;
}

void check_refused(const scram_step& step, std::string_view code, std::string_view message) {
    CHECK(step.status == scram_status::refused);
    CHECK(step.message.empty());
    CHECK(step.error.sqlstate == code);
    CHECK(step.error.message == message);
}

}  // namespace

TEST_CASE("scram: a server answers the vector of RFC 7677", "[protocol]") {
    const auto salt = base64_decode(rfc_salt);
    scram_server server(derive_scram_verifier("pencil", as_bytes(*salt), 4096), "user", rfc_server_nonce);
    const scram_step reply = first(server, rfc_client_first);
    REQUIRE(reply.status == scram_status::reply);
    CHECK(reply.message == rfc_server_first);
    const scram_step end = server.response(rfc_client_final);
    REQUIRE(end.status == scram_status::done);
    CHECK(end.message == rfc_server_final);
}

TEST_CASE("scram: a verifier of PostgreSQL lets its password in and no other", "[protocol]") {
    const auto verifier = scram_verifier::parse(stored_by_postgres);
    REQUIRE(verifier);
    CHECK(verifier->iterations == 4096);
    CHECK(verifier->to_string() == stored_by_postgres);
    CHECK(derive_scram_verifier("pencil", as_bytes(verifier->salt), 4096).to_string() == stored_by_postgres);
    CHECK(scram_verify_password(*verifier, "pencil"));
    CHECK_FALSE(scram_verify_password(*verifier, "pencil "));

    scram_key_cache cache(4);
    scram_server right = make_server(*verifier);
    scram_client knows("pencil", "client-nonce", cache);
    const exchange good = log_in(right, knows);
    CHECK(good.server.status == scram_status::done);
    CHECK(good.client.status == scram_status::done);

    scram_server wrong = make_server(*verifier);
    scram_client guesses("Pencil", "client-nonce", cache);
    check_refused(log_in(wrong, guesses).server, "28P01", "password authentication failed for user \"app\"");
}

TEST_CASE("scram: a stored verifier with any byte missing or foreign is not one", "[protocol]") {
    const std::string text = stored_by_postgres;
    for (std::size_t size = 0; size < text.size(); ++size) {
        CHECK_FALSE(scram_verifier::parse(text.substr(0, size)));
    }
    CHECK_FALSE(scram_verifier::parse(text + "="));
    CHECK_FALSE(scram_verifier::parse("SCRAM-SHA-256$0" + text.substr(18)));
    CHECK_FALSE(scram_verifier::parse("SCRAM-SHA-256$-1" + text.substr(18)));
    CHECK_FALSE(scram_verifier::parse("SCRAM-SHA-256$99999999999" + text.substr(18)));
    CHECK_FALSE(scram_verifier::parse("SCRAM-SHA-256$4096::" + text.substr(text.find('$', 14))));
    CHECK_FALSE(scram_verifier::parse("md5c5bf2cd5fc2db8c3e7ee07e0d5ec1d2c"));
}

TEST_CASE("scram: keys are derived once for one password, salt and number of rounds", "[protocol]") {
    scram_key_cache cache(2);
    for (int login = 0; login < 3; ++login) {
        scram_server server = make_server();
        scram_client client("pencil", "client-nonce", cache);
        CHECK(log_in(server, client).client.status == scram_status::done);
    }
    CHECK(cache.derivations() == 1);
    cache.get("pencil", as_bytes("0123456789abcdef"), 3);
    cache.get("pencil", as_bytes("0123456789abcdef"), 2);
    CHECK(cache.derivations() == 2);
    // A third entry takes the place of the one used longest ago.
    cache.get("other", as_bytes("0123456789abcdef"), 2);
    cache.get("pencil", as_bytes("0123456789abcdef"), 2);
    CHECK(cache.derivations() == 3);
    cache.get("pencil", as_bytes("0123456789abcdef"), 3);
    CHECK(cache.derivations() == 4);
}

TEST_CASE("scram: channel binding is used when both sides have it", "[protocol]") {
    scram_key_cache cache(4);
    scram_server server = make_server(pencil(), "certificate");
    scram_client client("pencil", "client-nonce", cache, "certificate");
    const exchange end = log_in(server, client, true);
    CHECK(client.mechanism() == "SCRAM-SHA-256-PLUS");
    CHECK(end.client.status == scram_status::done);
}

TEST_CASE("scram: a man in the middle with another certificate is refused", "[protocol]") {
    scram_key_cache cache(4);
    scram_server server = make_server(pencil(), "certificate");
    scram_client client("pencil", "client-nonce", cache, "other");
    check_refused(log_in(server, client, true).server, "28000", "SCRAM channel binding check failed");
}

TEST_CASE("scram: an offer of channel binding taken away on the road is noticed", "[protocol]") {
    scram_key_cache cache(4);
    scram_server server = make_server(pencil(), "certificate");
    scram_client client("pencil", "client-nonce", cache, "certificate");
    check_refused(log_in(server, client, false).server, "28000", "SCRAM channel binding negotiation error");

    // `y` is right when we did not offer it, and then binds nothing.
    scram_server without = make_server();
    scram_client with("pencil", "client-nonce", cache, "certificate");
    CHECK(log_in(without, with, false).client.status == scram_status::done);
}

TEST_CASE("scram: no mechanism is taken that was not offered", "[protocol]") {
    constexpr auto message = "client selected an invalid SASL authentication mechanism";
    scram_server server = make_server();
    check_refused(first(server, "n,,n=,r=abc", "SCRAM-SHA-1"), "08P01", message);
    scram_server plus = make_server();
    check_refused(first(plus, "p=tls-server-end-point,,n=,r=abc", scram_sha_256_plus), "08P01", message);
    scram_server twice = make_server();
    CHECK(first(twice, "n,,n=,r=abc").status == scram_status::reply);
    check_refused(first(twice, "n,,n=,r=abc"), "08P01", message);
    check_refused(twice.response("c=biws"), "08P01", "unexpected SASL response");
}

TEST_CASE("scram: a client may send its first message after an empty challenge", "[protocol]") {
    scram_server server = make_server();
    const scram_step challenge = server.initial_response({scram_sha_256, std::nullopt});
    CHECK(challenge.status == scram_status::reply);
    CHECK(challenge.message.empty());
    CHECK(server.response("n,,n=,r=abc").status == scram_status::reply);
}

TEST_CASE("scram: malformed first messages are refused in PostgreSQL's words", "[protocol]") {
    constexpr auto malformed = "malformed SCRAM message";
    const auto refuse = [](std::string_view data, std::string_view code, std::string_view message) {
        INFO(data);
        scram_server server = make_server();
        check_refused(first(server, data), code, message);
        check_refused(server.response("n,,n=,r=abc"), "08P01", "unexpected SASL response");
    };
    for (const auto data :
         {"", "n", "n,", "n,,", "n,,n", "n,,n=", "n,,n=,", "n,,n=,r", "n,,n=,r=", "n,,r=abc", "x,,n=,r=abc",
          "nn,n=,r=abc", "n,b=c,n=,r=abc", "n,,n=,r=abc,", "n,,n=,r=abc,x", "n,,n=,r=abc,1=2", "p=,,n=,r=abc",
          "p=tls-server-end-point,,n=,r=abc"}) {
        refuse(data, "08P01", malformed);
    }
    refuse(std::string_view("n,,n=,r=a\0c", 11), "08P01", malformed);
    refuse("n,a=root,n=,r=abc", "0A000", "client uses authorization identity, but it is not supported");
    refuse("n,,m=x,n=,r=abc", "0A000", "client requires an unsupported SCRAM extension");
    refuse("n,,n=,r=a\x7f", "08P01", "non-printable characters in SCRAM nonce");
    refuse("n,,n=,r=a\xc3\xa9", "08P01", "non-printable characters in SCRAM nonce");
    refuse("n,,n=,r=" + std::string(scram_nonce_max + 1, 'a'), "08P01", malformed);
    refuse("n,,n=" + std::string(scram_client_message_max, 'u') + ",r=abc", "08P01", malformed);
    scram_server server = make_server();
    CHECK(first(server, "n,,n=,r=" + std::string(scram_nonce_max, 'a')).status == scram_status::reply);
}

TEST_CASE("scram: every truncation and every flipped bit of a proof is refused", "[protocol]") {
    scram_key_cache cache(4);
    scram_client client("pencil", "client-nonce", cache);
    const std::string client_first = client.mechanisms(offer(false)).message;
    scram_server reference = make_server();
    const std::string server_first = first(reference, client_first).message;
    const std::string client_final = client.server_first(server_first).message;
    REQUIRE(reference.response(client_final).status == scram_status::done);

    const auto answer = [&](std::string_view data) {
        scram_server server = make_server();
        REQUIRE(first(server, client_first).message == server_first);
        return server.response(data);
    };
    for (std::size_t size = 0; size < client_final.size(); ++size) {
        CHECK(answer(client_final.substr(0, size)).status == scram_status::refused);
    }
    for (std::size_t bit = 0; bit < client_final.size() * 8; ++bit) {
        std::string flipped = client_final;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        CHECK(answer(flipped).status == scram_status::refused);
    }
    CHECK(answer(client_final + ",").status == scram_status::refused);
    CHECK(answer(client_final + ",x=y").status == scram_status::refused);
    CHECK(answer(std::string(scram_client_message_max + 1, 'c')).status == scram_status::refused);
}

TEST_CASE(
    "scram: every truncation and every flipped bit of the server's first message is survived", "[protocol]"
) {
    const std::string whole = "r=client-noncexyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2";
    scram_key_cache cache(1);
    const auto answer = [&cache](std::string_view data) {
        scram_client client("pencil", "client-nonce", cache, {}, 100);
        CHECK(client.mechanisms(offer(false)).status == scram_status::reply);
        return client.server_first(data);
    };
    REQUIRE(answer(whole).status == scram_status::reply);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CHECK(answer(whole.substr(0, size)).status == scram_status::refused);
    }
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        const scram_step step = answer(flipped);
        CHECK((step.status == scram_status::refused) == step.message.empty());
    }
}

TEST_CASE("scram: a client refuses what a malicious server sends", "[protocol]") {
    scram_key_cache cache(1);
    const auto refuse = [&cache](const std::string& data, std::string_view message) {
        INFO(data.substr(0, 80));
        scram_client client("pencil", "client-nonce", cache);
        CHECK(client.mechanisms(offer(false)).status == scram_status::reply);
        check_refused(client.server_first(data), "08P01", message);
    };
    const std::string tail = ",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2";
    refuse("r=other-nonce" + tail, "invalid SCRAM response (nonce mismatch)");
    refuse("r=client-nonce" + tail, "invalid SCRAM response (nonce mismatch)");
    refuse("r=client-nonce\x01" + tail, "malformed SCRAM message (invalid nonce)");
    refuse("r=client-noncex,s=,i=2", "malformed SCRAM message (invalid salt)");
    refuse("r=client-noncex,s=M,i=2", "malformed SCRAM message (invalid salt)");
    refuse(
        "r=client-noncex,s=" + base64_encode(std::string(scram_salt_max + 1, 's')) + ",i=2",
        "malformed SCRAM message (invalid salt)"
    );
    for (const auto rounds : {"", "0", "-1", "+2", "2x", "1000001", "4294967296", "99999999999999999999"}) {
        refuse(
            std::string("r=client-noncex,s=MDEy,i=") + rounds,
            "malformed SCRAM message (invalid iteration count)"
        );
    }
    refuse("r=client-noncex" + tail + ",m=x", "malformed SCRAM message (server-first-message)");
    refuse("m=x,r=client-noncex" + tail, "malformed SCRAM message (server-first-message)");
    CHECK(cache.derivations() == 0);
}

TEST_CASE("scram: CVE-2026-6664, lengths of a first response beyond its body are refused", "[protocol]") {
    const auto body = [](std::uint32_t length, std::string_view data) {
        const std::string_view name("SCRAM-SHA-256\0", 14);
        bytes out(name.size() + 4);
        std::ranges::copy(as_bytes(name), out.begin());
        store_u32(out.data() + name.size(), length);
        out.insert(out.end(), as_bytes(data).begin(), as_bytes(data).end());
        return out;
    };
    const bytes good = body(11, "n,,n=,r=abc");
    const auto parsed = parse_sasl_initial_response(good);
    REQUIRE(parsed);
    CHECK(parsed->mechanism == "SCRAM-SHA-256");
    CHECK(parsed->data == "n,,n=,r=abc");
    const bytes without = body(0xffffffffU, "");
    REQUIRE(parse_sasl_initial_response(without));
    CHECK_FALSE(parse_sasl_initial_response(without)->data);
    for (const std::uint32_t length :
         {0U, 1U, 10U, 12U, 0x7fffffffU, 0x80000000U, 0xfffffff0U, 0xfffffffeU, 0xffffffffU}) {
        CHECK_FALSE(parse_sasl_initial_response(body(length, "n,,n=,r=abc")));
    }
    for (std::size_t size = 0; size < good.size(); ++size) {
        CHECK_FALSE(parse_sasl_initial_response(byte_view(good).first(size)));
    }
}

TEST_CASE("scram: CVE-2026-6665, a server nonce of any length leaves memory alone", "[protocol]") {
    scram_key_cache cache(1);
    for (const std::size_t size : {501UL, 2000UL, 4000UL, 100'000UL, 10'000'000UL}) {
        scram_client client("pencil", "client-nonce", cache);
        CHECK(client.mechanisms(offer(false)).status == scram_status::reply);
        const scram_step step =
            client.server_first("r=client-nonce" + std::string(size, 'x') + ",s=MDEy,i=2");
        CHECK(step.status == scram_status::refused);
        CHECK(step.error.sqlstate == "08P01");
    }
    scram_client longest("pencil", "client-nonce", cache);
    CHECK(longest.mechanisms(offer(false)).status == scram_status::reply);
    CHECK(
        longest.server_first("r=client-nonce" + std::string(500, 'x') + ",s=MDEy,i=2").status ==
        scram_status::reply
    );
}

TEST_CASE("scram: a server that does not know the password is not believed", "[protocol]") {
    scram_key_cache cache(1);
    const auto end_with = [&cache](const auto& change) {
        scram_server server = make_server();
        scram_client client("pencil", "client-nonce", cache);
        const std::string server_first = first(server, client.mechanisms(offer(false)).message).message;
        const scram_step end = server.response(client.server_first(server_first).message);
        REQUIRE(end.status == scram_status::done);
        return client.server_final(change(end.message));
    };
    CHECK(end_with([](std::string text) { return text; }).status == scram_status::done);
    for (std::size_t at = 0; at < 46; ++at) {
        CHECK(end_with([at](const std::string& text) {
                  return text.substr(0, at);
              }).status == scram_status::refused);
        CHECK(end_with([at](std::string text) {
                  text[at] = static_cast<char>(text[at] ^ 2);
                  return text;
              }).status == scram_status::refused);
    }
    check_refused(
        end_with([](const std::string&) { return "v=" + base64_encode(std::string(32, 'x')); }), "08P01",
        "incorrect server signature"
    );
    check_refused(
        end_with([](const std::string&) { return std::string("e=other-error"); }), "08P01",
        "error received from server in SCRAM exchange: other-error"
    );
    // Success without the exchange.
    scram_client early("pencil", "client-nonce", cache);
    check_refused(early.server_final("v=AAAA"), "08P01", "unexpected SASL completion");
    check_refused(early.server_first("r=x"), "08P01", "unexpected SASL continuation");
}

TEST_CASE("scram: a user who does not exist looks like one with a wrong password", "[protocol]") {
    const auto secret = as_bytes("per process");
    const scram_verifier mock = mock_scram_verifier(secret, "nobody", 2);
    CHECK(mock.salt == mock_scram_verifier(secret, "nobody", 2).salt);
    CHECK(mock.salt != mock_scram_verifier(secret, "somebody", 2).salt);
    CHECK(mock.salt != mock_scram_verifier(as_bytes("another"), "nobody", 2).salt);
    CHECK(mock.salt.size() == pencil().salt.size());
    CHECK_FALSE(scram_verify_password(mock, "pencil"));

    scram_key_cache cache(4);
    scram_server unknown = make_server(mock);
    scram_client client("pencil", "client-nonce", cache);
    const exchange end = log_in(unknown, client);
    check_refused(end.server, "28P01", "password authentication failed for user \"app\"");
    // The client was given a whole challenge.
    CHECK(end.client.status == scram_status::reply);

    // Not even keys that fit the mock come in.
    scram_verifier fits = pencil();
    fits.mock = true;
    scram_server server = make_server(fits);
    scram_client knows("pencil", "client-nonce", cache);
    CHECK(log_in(server, knows).server.status == scram_status::refused);
}

TEST_CASE("scram: lists of mechanisms are read to their end and no further", "[protocol]") {
    scram_key_cache cache(1);
    const auto answer = [&cache](std::string_view list) {
        scram_client client("pencil", "client-nonce", cache);
        return client.mechanisms(as_bytes(list));
    };
    using namespace std::string_view_literals;
    CHECK(answer("SCRAM-SHA-256\0\0"sv).message == "n,,n=,r=client-nonce");
    CHECK(answer("GSSAPI\0SCRAM-SHA-256\0\0"sv).status == scram_status::reply);
    check_refused(
        answer("SCRAM-SHA-256-PLUS\0\0"sv), "08P01",
        "none of the server's SASL authentication mechanisms are supported"
    );
    for (const auto list : {""sv, "SCRAM-SHA-256"sv, "SCRAM-SHA-256\0"sv, "SCRAM-SHA-256\0\0x"sv}) {
        check_refused(answer(list), "08P01", "malformed list of SASL mechanisms");
    }
}

TEST_CASE("scram: nonces are printable and as random as their bits", "[protocol]") {
    const std::string nonce = scram_nonce({1, 2, 3});
    CHECK(nonce.size() == 32);
    CHECK(nonce != scram_nonce({1, 2, 4}));
    CHECK(nonce.find(',') == std::string::npos);
}

TEST_CASE("base64: a value has one spelling only", "[protocol]") {
    for (std::size_t size = 0; size < 20; ++size) {
        std::string data;
        for (std::size_t i = 0; i < size; ++i) {
            data += static_cast<char>(i * 37 + size);
        }
        CHECK(base64_decode(base64_encode(data)) == data);
    }
    CHECK(base64_encode("fo") == "Zm8=");
    for (const auto text :
         {"Zg", "Zg=", "Zh==", "Zm9=", "=", "====", "Z===", "Zg==Zg==", "Z g=", "Zm8-", "Zm8=\n"}) {
        CHECK_FALSE(base64_decode(text));
    }
}
