#include <catch2/catch.hpp>
#include <string_view>

#include "pool/tls_stream.hpp"
#include "tests/unit/pool/memory_stream.hpp"
#include "tests/unit/pool/test_certificates.hpp"

using namespace pgmend::pool;
using namespace pgmend::test;

namespace {

struct pki {
    temporary_folder folder;
    tls_files server, other, client;

    pki() {
        const certificate authority("authority", "", nullptr);
        authority.save(folder.file("ca.crt"), folder.file("ca.key"));
        server = {folder.file("server.crt"), folder.file("server.key"), folder.file("ca.crt")};
        other = {folder.file("other.crt"), folder.file("other.key"), ""};
        certificate("other.test", "DNS:other.test,DNS:*.many.test", &authority).save(other.cert, other.key);
        client = {folder.file("client.crt"), folder.file("client.key"), folder.file("ca.crt")};
        certificate("db.test", "DNS:db.test", &authority).save(server.cert, server.key);
        certificate("app", "DNS:app.test,email:app@test,IP:1.2.3.4", &authority)
            .save(client.cert, client.key);
    }
};

const pki& files() {
    static const pki made;
    return made;
}

/// A connection in memory, shaken hands on.
struct connection {
    std::shared_ptr<memory_pipe> up = std::make_shared<memory_pipe>();
    std::shared_ptr<memory_pipe> down = std::make_shared<memory_pipe>();
    memory_stream* server_below = nullptr;
    memory_stream* client_below = nullptr;
    std::unique_ptr<tls_stream> server, client;
    bool good = false;

    explicit connection(
        const tls_rules& ours = {}, const tls_rules& theirs = {}, const tls_files& shown = files().client,
        std::size_t early = 0, const std::string& host = "db.test", const std::vector<tls_files>& others = {}
    ) {
        auto server_plain = std::make_unique<memory_stream>(up, down);
        auto client_plain = std::make_unique<memory_stream>(down, up);
        server_below = server_plain.get();
        client_below = client_plain.get();
        client = std::make_unique<tls_stream>(
            std::move(client_plain), tls_context::towards_servers(shown, tls_mode::verify_full, ours), host
        );
        io_status client_status = client->handshake().status;
        deliver();
        std::vector<std::byte> begun(early);
        if (early > 0) begun.resize(server_below->read_some(begun).bytes);
        server = std::make_unique<tls_stream>(
            std::move(server_plain),
            tls_context::towards_clients(files().server, tls_mode::require, theirs, others)
        );
        server->begin_with(begun);
        io_status server_status = io_status::would_block;
        for (int turn = 0; turn < 100; ++turn) {
            if (server_status == io_status::would_block) server_status = server->handshake().status;
            deliver();
            if (client_status == io_status::would_block) client_status = client->handshake().status;
            deliver();
        }
        good = client_status == io_status::ok && server_status == io_status::ok;
    }
    void deliver() {
        server_below->deliver();
        client_below->deliver();
    }
};

}  // namespace

TEST_CASE("tls: both ends bind SCRAM to the same certificate", "[pool]") {
    connection one;
    REQUIRE(one.good);
    CHECK(one.server->end_point().size() == 32);
    CHECK(one.server->end_point() == one.client->end_point());
    CHECK(one.server->protocol_agreed());
    CHECK(one.client->protocol_agreed());
}

TEST_CASE("tls: who names a host is shown its certificate, and binds to it", "[pool]") {
    for (const tls_version version : {tls_version::tls_1_2, tls_version::tls_1_3}) {
        tls_rules rules;
        rules.highest = version;
        const auto to = [&](const std::string& host) {
            return connection(rules, {}, files().client, 0, host, {files().other});
        };
        connection first = to("db.test");
        connection other = to("other.test");
        connection wild = to("a.many.test");
        REQUIRE(first.good);
        REQUIRE(other.good);
        REQUIRE(wild.good);
        CHECK(other.server->end_point() == other.client->end_point());
        CHECK(other.server->end_point() != first.server->end_point());
        CHECK(wild.server->end_point() == other.server->end_point());
        CHECK(other.server->protocol_agreed());
        CHECK(other.server->peer()->common_name == "app");
        // The name is in no certificate: the first one is shown, and this client refuses it.
        CHECK_FALSE(to("third.test").good);
    }
    const std::vector<tls_files> unusable{tls_files{files().other.cert, "", ""}};
    CHECK_THROWS_AS(
        tls_context::towards_clients(files().server, tls_mode::require, {}, unusable), tls_load_error
    );
}

TEST_CASE("tls: what was read before there was TLS is part of it", "[pool]") {
    for (const std::size_t early : {std::size_t{1}, std::size_t{5}, std::size_t{100}, std::size_t{4000}}) {
        connection one({}, {}, files().client, early);
        CHECK(one.good);
    }
}

TEST_CASE("tls: the names in a client's certificate are read", "[pool]") {
    connection one;
    REQUIRE(one.good);
    const auto peer = one.server->peer();
    REQUIRE(peer);
    CHECK(peer->common_name == "app");
    CHECK(peer->distinguished_name == "CN=app");
    CHECK(peer->alternative_names == std::vector<std::string>{"app.test", "app@test"});
    connection anonymous({}, {}, {"", "", files().client.ca});
    REQUIRE(anonymous.good);
    CHECK_FALSE(anonymous.server->peer());
}

TEST_CASE("tls: versions are bounded on both sides", "[pool]") {
    tls_rules old;
    old.highest = tls_version::tls_1_2;
    tls_rules fresh;
    fresh.lowest = tls_version::tls_1_3;
    connection both;
    CHECK(both.client->version() == "TLSv1.3");
    connection older(old);
    REQUIRE(older.good);
    CHECK(older.client->version() == "TLSv1.2");
    CHECK(older.client->end_point() == older.server->end_point());
    connection never(old, fresh);
    CHECK_FALSE(never.good);
    connection neither(fresh, old);
    CHECK_FALSE(neither.good);
}

TEST_CASE("tls: a revocation list that is none is named", "[pool]") {
    tls_files wrong = files().client;
    wrong.crl = files().client.cert;
    // A certificate is no list: nothing is loaded from it, and every chain lacks its list.
    connection one({}, {}, wrong);
    CHECK_FALSE(one.good);
    wrong.crl = files().folder.file("absent");
    CHECK_THROWS_AS(tls_context::towards_servers(wrong, tls_mode::verify_full), tls_load_error);
}
