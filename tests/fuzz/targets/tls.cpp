// TLS: what comes before it (requests, hellos, clear text smuggled behind them) through the proxy's own
// login, and a conversation damaged on its way, which may break off and may never say anything else.

#include <algorithm>
#include <array>
#include <vector>

#include "pool/tls_stream.hpp"
#include "tests/fuzz/proxy_world.hpp"
#include "tests/sim/sim_postgres.hpp"
#include "tests/support/messages.hpp"
#include "tests/unit/pool/memory_stream.hpp"
#include "tests/unit/pool/test_certificates.hpp"

namespace pgmend::fuzz {

namespace {

using pool::io_status;
using pool::tls_context;
using pool::tls_stream;

struct tls_ends {
    std::shared_ptr<const tls_context> server;
    std::shared_ptr<const tls_context> client;
};

/// Made once for the process; what it says differs in each, what has to hold does not.
const tls_ends& ends() {
    static const tls_ends made = [] {
        const test::temporary_folder folder;
        const pool::tls_files files{folder.file("server.crt"), folder.file("server.key"), ""};
        test::certificate("db.test", "DNS:db.test", nullptr).save(files.cert, files.key);
        return tls_ends{
            tls_context::towards_clients(files, pool::tls_mode::prefer),
            tls_context::towards_servers({}, pool::tls_mode::require)};
    }();
    return made;
}

// ---- before TLS

std::string packet(std::uint32_t code, const std::string& rest) {
    return test::u32(static_cast<std::uint32_t>(rest.size() + 8)) + test::u32(code) + rest;
}

std::string drawn_beginning(dice& from) {
    constexpr std::uint32_t ssl_request = 80877103;
    constexpr std::uint32_t gss_request = 80877104;
    const std::string start = test::z("user") + test::z("app") + '\0';
    switch (from.below(8)) {
        case 0:
            return packet(ssl_request, "");
        case 1:
            return packet(gss_request, "") + packet(ssl_request, "");
        case 2:
            return packet(ssl_request, "") + packet(196608, start);
        case 3:
            return packet(196608, start) + packet(ssl_request, "");
        case 4:
            return packet(ssl_request, std::string(from.short_text()));
        default:
            return {};
    }
}

void before_tls(dice& from) {
    const std::uint8_t shape = from.u8();
    proxy_world world(shape, login_method::trust, 1, ends().server);
    sim::sim_postgres server(world.env(), world.network(), proxy_world::links(), {proxy_world::server()});
    raw_client::plan hostile;
    hostile.piece = (shape & 1U) != 0 ? 1 + from.u8() : 0;
    hostile.hears_tls = true;
    hostile.bytes = drawn_beginning(from);
    hostile.bytes += from.rest_text();
    world.add_client(std::move(hostile));
    world.play(std::chrono::seconds(20));
    world.close_clients();
    world.check_left();
    world.end();
}

// ---- damaged under way

struct damage {
    std::size_t at;
    std::byte flipped;
};

/// Bytes written here arrive as the damages say.
class damaging final : public pool::stream {
public:
    damaging(std::unique_ptr<test::memory_stream> below, std::vector<damage> done)
        : below_(std::move(below)), damages_(std::move(done)) {}
    pool::io_result read_some(std::span<std::byte> into) noexcept override { return below_->read_some(into); }
    pool::io_result write_some(std::span<const iovec> pieces) noexcept override {
        std::vector<std::byte> bytes;
        for (const iovec& piece : pieces) {
            const auto* first = static_cast<const std::byte*>(piece.iov_base);
            bytes.insert(bytes.end(), first, first + piece.iov_len);
        }
        for (const damage& each : damages_) {
            if (each.at >= written_ && each.at - written_ < bytes.size())
                bytes[each.at - written_] ^= each.flipped;
        }
        const iovec all{bytes.data(), bytes.size()};
        const auto result = below_->write_some({&all, 1});
        written_ += result.bytes;
        return result;
    }
    void watch(pool::event_sink& sink, pool::readiness bits) noexcept override { below_->watch(sink, bits); }
    void arm(pool::interest what) noexcept override { below_->arm(what); }
    pool::io_result connected() noexcept override { return below_->connected(); }
    void close() noexcept override { below_->close(); }
    void deliver() { below_->deliver(); }

private:
    std::unique_ptr<test::memory_stream> below_;
    std::vector<damage> damages_;
    std::size_t written_ = 0;
};

/// One end: shakes hands, then says its words and keeps what it hears.
class speaker final : private pool::event_sink {
public:
    speaker(std::unique_ptr<damaging> below, std::shared_ptr<const tls_context> context, std::string words)
        : below_(below.get()),
          tls_(std::move(below), std::move(context), "db.test"),
          words_(std::move(words)) {
        tls_.watch(*this, {1, 1});
        tls_.arm(pool::interest::read);
    }
    void step() {
        if (broken_) return;
        below_->deliver();
        if (!shaken_) {
            const io_status status = tls_.handshake().status;
            shaken_ = status == io_status::ok;
            if (status == io_status::error) return end();
        }
        if (!shaken_) return;
        if (said_ < words_.size()) {
            const iovec left{words_.data() + said_, words_.size() - said_};
            const auto result = tls_.write_some({&left, 1});
            if (result.status == io_status::ok) said_ += result.bytes;
            if (result.status == io_status::error) return end();
        }
        std::array<std::byte, 700> block;
        const auto got = tls_.read_some(block);
        if (got.status == io_status::ok) heard.append(reinterpret_cast<const char*>(block.data()), got.bytes);
        if (got.status == io_status::error) end();
    }
    const std::string& words() const noexcept { return words_; }
    std::string heard;

private:
    void notify(pool::event_mask) noexcept override {}
    void end() {
        require(!tls_.failure().empty(), "what breaks TLS has words");
        std::array<std::byte, 16> block;
        require(tls_.read_some(block).status == io_status::error, "broken stays broken");
        broken_ = true;
        tls_.close();
    }

    damaging* below_;
    tls_stream tls_;
    std::string words_;
    std::size_t said_ = 0;
    bool shaken_ = false;
    bool broken_ = false;
};

void damaged(dice& from) {
    std::array<std::vector<damage>, 2> damages;
    for (std::size_t count = from.below(4); count > 0; --count) {
        std::vector<damage>& direction = damages[from.below(2)];
        const std::size_t high = from.below(16);
        const std::size_t at = high * 256 + from.u8();
        direction.push_back({at, std::byte{from.u8()}});
    }
    const auto up = std::make_shared<test::memory_pipe>();
    const auto down = std::make_shared<test::memory_pipe>();
    up->step = 1 + std::size_t{from.u8()} * 16;
    down->step = 1 + std::size_t{from.u8()} * 16;
    std::string asked(from.short_text());
    std::string answered(std::size_t{from.u8()} * 40, 'a');
    speaker client(
        std::make_unique<damaging>(std::make_unique<test::memory_stream>(down, up), damages[0]),
        ends().client, std::move(asked)
    );
    speaker server(
        std::make_unique<damaging>(std::make_unique<test::memory_stream>(up, down), damages[1]),
        ends().server, std::move(answered)
    );
    for (int turn = 0; turn < 400; ++turn) {
        client.step();
        server.step();
    }
    require(client.words().starts_with(server.heard), "what is heard was said");
    require(server.words().starts_with(client.heard), "what is heard was said");
}

}  // namespace

void tls(byte_view input) {
    dice from(input);
    if (from.coin()) return damaged(from);
    before_tls(from);
}

}  // namespace pgmend::fuzz
