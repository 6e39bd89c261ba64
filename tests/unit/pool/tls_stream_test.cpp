#include "pool/tls_stream.hpp"

#include <malloc.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <string_view>

#include "tests/unit/pool/memory_stream.hpp"
#include "tests/unit/pool/test_certificates.hpp"

using namespace pgmend::pool;
using namespace pgmend::test;

namespace {

/// Two authorities, a server and a client, made once.
struct pki {
    temporary_folder folder;
    tls_files server, client, other_server;
    std::string ca, other_ca;

    pki() : ca(folder.file("ca.crt")), other_ca(folder.file("other_ca.crt")) {
        const certificate authority("authority", "", nullptr);
        const certificate stranger("stranger", "", nullptr);
        authority.save(ca, folder.file("ca.key"));
        stranger.save(other_ca, folder.file("other_ca.key"));
        server = {folder.file("server.crt"), folder.file("server.key"), ""};
        client = {folder.file("client.crt"), folder.file("client.key"), ""};
        other_server = {folder.file("other.crt"), folder.file("other.key"), ""};
        certificate("db.test", "DNS:db.test,DNS:*.wild.test,IP:127.0.0.1", &authority)
            .save(server.cert, server.key);
        certificate("app", "", &authority).save(client.cert, client.key);
        certificate("db.test", "DNS:db.test", &stranger).save(other_server.cert, other_server.key);
    }
};

const pki& files() {
    static const pki made;
    return made;
}

tls_files with_ca(tls_files given, const std::string& ca) {
    given.ca = ca;
    return given;
}

struct recording_sink final : event_sink {
    event_mask seen = 0;
    void notify(event_mask bits) noexcept override { seen |= bits; }
    event_mask take() { return std::exchange(seen, 0); }
};

/// Both sides over one connection in memory.
struct pair {
    std::shared_ptr<memory_pipe> up = std::make_shared<memory_pipe>();
    std::shared_ptr<memory_pipe> down = std::make_shared<memory_pipe>();
    memory_stream* server_below;
    memory_stream* client_below;
    std::unique_ptr<tls_stream> server;
    std::unique_ptr<tls_stream> client;
    recording_sink server_sink, client_sink;

    pair(
        std::shared_ptr<const tls_context> server_context, std::shared_ptr<const tls_context> client_context,
        const std::string& host = "db.test"
    ) {
        auto server_plain = std::make_unique<memory_stream>(up, down);
        auto client_plain = std::make_unique<memory_stream>(down, up);
        server_below = server_plain.get();
        client_below = client_plain.get();
        server = std::make_unique<tls_stream>(std::move(server_plain), std::move(server_context));
        client = std::make_unique<tls_stream>(std::move(client_plain), std::move(client_context), host);
        server->watch(server_sink, {1, 2});
        client->watch(client_sink, {1, 2});
        server->arm(interest::read);
        client->arm(interest::read);
    }
    pair() : pair(plain_server(), plain_client()) {}

    static std::shared_ptr<const tls_context> plain_server() {
        static const auto context = tls_context::towards_clients(files().server, tls_mode::require);
        return context;
    }
    static std::shared_ptr<const tls_context> plain_client() {
        static const auto context = tls_context::towards_servers({}, tls_mode::require);
        return context;
    }

    void deliver() {
        server_below->deliver();
        client_below->deliver();
    }
    /// Steps both handshakes as sessions would, woken by readability alone. True when both are done.
    bool shake_hands() {
        io_status ours = client->handshake().status;
        io_status theirs = server->handshake().status;
        for (int turn = 0; turn < 200'000; ++turn) {
            if (ours == io_status::ok && theirs == io_status::ok) return true;
            if (ours == io_status::error && theirs == io_status::error) return false;
            deliver();
            if ((client_sink.take() & 1) != 0 && ours == io_status::would_block)
                ours = client->handshake().status;
            if ((server_sink.take() & 1) != 0 && theirs == io_status::would_block)
                theirs = server->handshake().status;
            // Whoever failed closes, as a session would.
            if (ours == io_status::error) client->close();
            if (theirs == io_status::error) server->close();
        }
        return false;
    }
};

iovec piece(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

io_result write(tls_stream& to, std::string_view text) {
    const iovec one[] = {piece(text)};
    return to.write_some(one);
}

/// Everything that is there now.
std::string read_all(tls_stream& from) {
    std::string result;
    std::array<std::byte, 5000> block;
    while (true) {
        const io_result got = from.read_some(block);
        if (got.status != io_status::ok) return result;
        result.append(reinterpret_cast<const char*>(block.data()), got.bytes);
    }
}

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = static_cast<char>(i * 31 + (i >> 8));
    }
    return text;
}

std::string load_error(const std::function<void()>& load) {
    try {
        load();
    } catch (const tls_load_error& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("tls_stream: both sides shake hands and talk", "[pool]") {
    pair both;
    CHECK(both.client->connected().status == io_status::would_block);
    REQUIRE(both.shake_hands());
    CHECK(both.client->connected().status == io_status::ok);
    CHECK(both.client->version() == "TLSv1.3");
    CHECK(write(*both.client, "hello").bytes == 5);
    CHECK(read_all(*both.server) == "hello");
    CHECK(write(*both.server, "world").bytes == 5);
    CHECK(read_all(*both.client) == "world");
}

TEST_CASE("tls_stream: the handshake survives every size of fragment and of window", "[pool]") {
    for (std::size_t step = 1; step <= 700; step += step < 70 ? 1 : 37) {
        pair both;
        both.up->step = step;
        both.down->step = step;
        both.up->room = step % 3 == 0 ? step : 1 << 20;
        both.down->room = step % 2 == 0 ? step : 1 << 20;
        INFO("fragments of " << step);
        REQUIRE(both.shake_hands());
        std::string got;
        std::string_view text = "hello";
        for (int turn = 0; turn < 3000 && got != text; ++turn) {
            if (turn == 0) CHECK(write(*both.client, text).bytes == 5);
            both.deliver();
            got += read_all(*both.server);
        }
        CHECK(got == text);
    }
}

TEST_CASE("tls_stream: megabytes arrive whole through a narrow pipe, both ways at once", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands());
    both.up->room = 3001;
    both.down->room = 20'000;
    const std::string text = pattern(1'000'000);
    std::string at_server, at_client;
    std::size_t from_client = 0, from_server = 0;
    both.client->arm(interest::read_write);
    both.server->arm(interest::read_write);
    for (int turn = 0; turn < 100'000 && at_server.size() + at_client.size() < 2 * text.size(); ++turn) {
        both.deliver();
        const auto go_on =
            [&text](tls_stream& stream, recording_sink& sink, std::size_t& sent, std::string& got) {
                const event_mask bits = sink.take();
                if ((bits & 2) != 0 && sent < text.size()) {
                    const io_result moved = write(stream, std::string_view(text).substr(sent, 70'000));
                    if (moved.status == io_status::ok) sent += moved.bytes;
                }
                if ((bits & 1) != 0) got += read_all(stream);
            };
        go_on(*both.client, both.client_sink, from_client, at_client);
        go_on(*both.server, both.server_sink, from_server, at_server);
    }
    CHECK(at_server == text);
    CHECK(at_client == text);
}

TEST_CASE("tls_stream: small pieces leave as one record in one call", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands());
    CHECK(read_all(*both.client).empty());
    both.up->writes = 0;
    const iovec pieces[] = {piece("one "), piece(""), piece("two "), piece("three")};
    CHECK(both.client->write_some(pieces).bytes == 13);
    CHECK(both.up->writes == 1);
    CHECK(both.up->bytes.size() < 13 + 30);
    CHECK(read_all(*both.server) == "one two three");

    // Pieces around the size of a record keep their order.
    const std::string big = pattern(16'380), bigger = pattern(33'000);
    const iovec mixed[] = {piece("a"), piece(big), piece(bigger), piece("z")};
    both.up->writes = 0;
    CHECK(both.client->write_some(mixed).bytes == 2 + big.size() + bigger.size());
    CHECK(both.up->writes == 1);
    CHECK(read_all(*both.server) == "a" + big + bigger + "z");
}

TEST_CASE("tls_stream: what a write has taken leaves without further care", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands());
    CHECK(read_all(*both.client).empty());
    both.up->room = 100;
    const std::string text = pattern(1000);
    CHECK(write(*both.client, text).bytes == 1000);
    // Until then nothing more is taken, so that what waits here is bounded.
    CHECK(write(*both.client, "more").status == io_status::would_block);
    both.client->arm(interest::read_write);
    both.deliver();
    CHECK((both.client_sink.take() & 2) == 0);
    both.client->arm(interest::read);
    std::string got;
    for (int turn = 0; turn < 20; ++turn) {
        both.deliver();
        got += read_all(*both.server);
    }
    CHECK(got == text);
    // Nothing waits any more: the stream below is not asked about writability.
    CHECK(both.client_below->armed() == interest::read);
}

TEST_CASE("tls_stream: a sender is told when there is room again", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands());
    CHECK(read_all(*both.client).empty());
    both.up->room = 100;
    CHECK(write(*both.client, pattern(300)).bytes == 300);
    both.client->arm(interest::write);
    std::string got;
    event_mask bits = 0;
    for (int turn = 0; turn < 20 && (bits & 2) == 0; ++turn) {
        got += read_all(*both.server);
        both.deliver();
        bits = both.client_sink.take();
    }
    CHECK((bits & 2) != 0);
    CHECK(write(*both.client, "more").status == io_status::ok);
}

TEST_CASE("tls_stream: buffered says whether a read would find something without readiness", "[pool]") {
    pair both;
    REQUIRE(both.shake_hands());
    CHECK(read_all(*both.server).empty());
    CHECK(both.server->buffered() == 0);
    CHECK(write(*both.client, pattern(100)).bytes == 100);
    CHECK(write(*both.client, "second").bytes == 6);
    std::array<std::byte, 40> small;
    CHECK(both.server->read_some(small).bytes == 40);
    CHECK(both.up->bytes.empty());
    CHECK(both.server->buffered() > 0);
    CHECK(read_all(*both.server) == pattern(100).substr(40) + "second");
    CHECK(both.server->buffered() == 0);
    // The beginning of a record is nothing to read.
    CHECK(write(*both.client, pattern(100)).bytes == 100);
    const auto rest = std::vector(both.up->bytes.begin() + 50, both.up->bytes.end());
    both.up->bytes.resize(50);
    CHECK(both.server->read_some(small).status == io_status::would_block);
    CHECK(both.server->buffered() == 0);
    both.up->bytes = rest;
    CHECK(read_all(*both.server) == pattern(100));
}

TEST_CASE("tls_stream: closing says good-bye and an end without it is an error", "[pool]") {
    std::array<std::byte, 10> block;
    pair polite;
    REQUIRE(polite.shake_hands());
    CHECK(write(*polite.client, "bye").bytes == 3);
    polite.client->close();
    CHECK(polite.client->read_some(block).status == io_status::error);
    CHECK(polite.server->read_some(block).bytes == 3);
    CHECK(polite.server->read_some(block).status == io_status::eof);
    CHECK(polite.server->read_some(block).status == io_status::eof);

    pair cut;
    REQUIRE(cut.shake_hands());
    CHECK(write(*cut.client, "last").bytes == 4);
    cut.client_below->close();
    CHECK(cut.server->read_some(block).bytes == 4);
    CHECK(cut.server->read_some(block).status == io_status::error);
    CHECK(cut.server->read_some(block).error == ECONNRESET);
    CHECK(write(*cut.server, "x").status == io_status::error);
}

TEST_CASE("tls_stream: a flipped bit anywhere breaks the stream and nothing else", "[pool]") {
    for (std::size_t at = 0; at < 30; ++at) {
        pair both;
        REQUIRE(both.shake_hands());
        CHECK(write(*both.client, "hello").bytes == 5);
        REQUIRE(at < both.up->bytes.size());
        both.up->bytes[at] ^= std::byte{0x40};
        CHECK(read_all(*both.server).empty());
        // A longer length makes it wait for more; everything else is noticed at once.
        if (at != 3 && at != 4) {
            CHECK(both.server->connected().status == io_status::error);
            CHECK_FALSE(both.server->failure().empty());
        }
        if (at == 24) break;
    }
}

TEST_CASE("tls_stream: clear text instead of TLS is refused", "[pool]") {
    pair both;
    const auto text = std::string_view("Q\0\0\0\x0dSELECT 1\0", 14);
    for (const char c : text) {
        both.up->bytes.push_back(static_cast<std::byte>(c));
    }
    CHECK(both.server->handshake().status == io_status::error);
    CHECK_FALSE(both.server->failure().empty());
}

TEST_CASE("tls_stream: a peer that gives up the handshake is an error", "[pool]") {
    pair both;
    CHECK(both.client->handshake().status == io_status::would_block);
    both.server_below->close();
    CHECK(both.client->handshake().status == io_status::error);
    CHECK(both.client->failure() == "the connection ended without TLS saying so");
}

TEST_CASE("tls_stream: verify-ca wants our authority and verify-full the host as well", "[pool]") {
    struct row {
        const tls_files* server;
        tls_mode mode;
        const std::string* ca;
        std::string host;
        std::string failure;  ///< empty: accepted
    };
    const pki& all = files();
    const row rows[] = {
        {&all.server, tls_mode::require, nullptr, "elsewhere.test", ""},
        {&all.server, tls_mode::verify_ca, &all.ca, "elsewhere.test", ""},
        {&all.server, tls_mode::verify_full, &all.ca, "db.test", ""},
        {&all.server, tls_mode::verify_full, &all.ca, "x.wild.test", ""},
        {&all.server, tls_mode::verify_full, &all.ca, "127.0.0.1", ""},
        {&all.server, tls_mode::verify_full, &all.ca, "127.0.0.2", "IP address mismatch"},
        {&all.server, tls_mode::verify_full, &all.ca, "elsewhere.test", "hostname mismatch"},
        {&all.server, tls_mode::verify_full, &all.ca, "a.b.wild.test", "hostname mismatch"},
        {&all.server, tls_mode::verify_ca, &all.other_ca, "db.test",
         "unable to get local issuer certificate"},
        {&all.other_server, tls_mode::verify_full, &all.ca, "db.test",
         "unable to get local issuer certificate"},
        // A root file that is there is used in every mode, as libpq does.
        {&all.other_server, tls_mode::require, &all.ca, "db.test", "unable to get local issuer certificate"},
        {&all.other_server, tls_mode::prefer, &all.ca, "db.test", "unable to get local issuer certificate"},
    };
    for (const row& given : rows) {
        INFO(given.host << ' ' << given.failure);
        pair both(
            tls_context::towards_clients(*given.server, tls_mode::require),
            tls_context::towards_servers(with_ca({}, given.ca != nullptr ? *given.ca : ""), given.mode),
            given.host
        );
        CHECK(both.shake_hands() == given.failure.empty());
        if (given.failure.empty()) {
            CHECK(both.client->failure().empty());
        } else {
            CHECK(both.client->failure() == "certificate refused: " + given.failure);
        }
    }
}

TEST_CASE("tls_stream: verify-full to no name at all is refused", "[pool]") {
    pair both(
        pair::plain_server(), tls_context::towards_servers(with_ca({}, files().ca), tls_mode::verify_full), ""
    );
    CHECK(both.client->handshake().status == io_status::error);
    CHECK(both.client->connected().status == io_status::error);
}

TEST_CASE("tls_stream: clients are asked for a certificate as the mode says", "[pool]") {
    const pki& all = files();
    const auto accepts = [&all](tls_mode mode, const tls_files& shown) {
        pair both(
            tls_context::towards_clients(with_ca(all.server, all.ca), mode),
            tls_context::towards_servers(shown, tls_mode::require)
        );
        both.shake_hands();
        return both.server->connected().status == io_status::ok;
    };
    CHECK(accepts(tls_mode::require, {}));
    CHECK(accepts(tls_mode::verify_ca, all.client));
    CHECK_FALSE(accepts(tls_mode::verify_ca, {}));
    CHECK_FALSE(accepts(tls_mode::verify_full, all.other_server));
    CHECK_FALSE(accepts(tls_mode::require, all.other_server));
}

TEST_CASE("tls_context: what cannot be loaded is named", "[pool]") {
    const pki& all = files();
    const std::string missing = all.folder.file("missing.pem");
    const auto clients = [](const tls_files& given, tls_mode mode) {
        return load_error([&] { tls_context::towards_clients(given, mode); });
    };
    const auto servers = [](const tls_files& given, tls_mode mode) {
        return load_error([&] { tls_context::towards_servers(given, mode); });
    };
    CHECK(
        clients({missing, all.server.key, ""}, tls_mode::require) ==
        "could not load certificate \"" + missing + "\": No such file or directory"
    );
    CHECK(
        clients({all.server.cert, missing, ""}, tls_mode::require) ==
        "could not load private key \"" + missing + "\": No such file or directory"
    );
    CHECK(
        clients({all.server.cert, all.client.key, ""}, tls_mode::require) ==
        "could not load private key \"" + all.client.key + "\": key values mismatch"
    );
    CHECK(clients(with_ca(all.server, missing), tls_mode::require).find(missing) != std::string::npos);
    CHECK(
        clients(all.server, tls_mode::verify_ca) == "a root certificate file must be given to verify clients"
    );
    CHECK(servers({}, tls_mode::verify_full) == "a root certificate file must be given to verify servers");
    CHECK(servers(with_ca({}, missing), tls_mode::verify_full).find(missing) != std::string::npos);
    CHECK(servers({}, tls_mode::require).empty());
}

TEST_CASE("tls_context: libpq's files under the home directory are found", "[pool]") {
    temporary_folder home;
    std::filesystem::create_directory(home.file(".postgresql"));
    CHECK(with_libpq_defaults({}, home.file(""), tls_mode::require).ca.empty());
    const std::string root = home.file("") + "/.postgresql/root.crt";
    CHECK(with_libpq_defaults({}, home.file(""), tls_mode::verify_ca).ca == root);
    std::ofstream(root) << "x";
    std::ofstream(home.file(".postgresql/postgresql.crt")) << "x";
    const tls_files found = with_libpq_defaults({}, home.file(""), tls_mode::prefer);
    CHECK(found.ca == root);
    CHECK(found.cert.ends_with("/.postgresql/postgresql.crt"));
    CHECK(found.key.ends_with("/.postgresql/postgresql.key"));
    CHECK(with_libpq_defaults({"a", "b", "c"}, home.file(""), tls_mode::prefer).ca == "c");
}

TEST_CASE("tls_context: modes have libpq's names", "[pool]") {
    CHECK(parse_tls_mode("verify-full") == tls_mode::verify_full);
    CHECK(parse_tls_mode("disable") == tls_mode::disable);
    CHECK_FALSE(parse_tls_mode("verify_full"));
    CHECK_FALSE(parse_tls_mode(""));
}

#ifndef __SANITIZE_ADDRESS__
TEST_CASE("tls_stream: an idle connection owns no buffers", "[pool]") {
    const auto idle = [] {
        auto both = std::make_unique<pair>();
        REQUIRE(both->shake_hands());
        // Twice: a ticket takes a buffer that the next write gives back.
        for (int turn = 0; turn < 2; ++turn) {
            CHECK(write(*both->client, pattern(30'000)).bytes == 30'000);
            CHECK(read_all(*both->server).size() == 30'000);
            CHECK(write(*both->server, pattern(30'000)).bytes == 30'000);
            CHECK(read_all(*both->client).size() == 30'000);
        }
        both->up->bytes.shrink_to_fit();
        both->down->bytes.shrink_to_fit();
        return both;
    };
    idle();
    std::vector<std::unique_ptr<pair>> pairs;
    const std::size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 50; ++i) {
        pairs.push_back(idle());
    }
    const std::size_t both = (mallinfo2().uordblks - before) / pairs.size();
    for (const auto& each : pairs) {
        each->server.reset();
    }
    const std::size_t client = (mallinfo2().uordblks - before) / pairs.size();
    INFO("bytes of the client side and of both: " << client << ' ' << both);
    CHECK(both - client <= 16'000);
    // This side also keeps the certificates it was shown.
    CHECK(client <= 22'000);
}
#endif
