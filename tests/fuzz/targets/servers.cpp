// A hostile server, from its first byte on, before the whole proxy and clients that send all kinds of
// requests: whatever it says, clients are sent frames, no more answers than questions, and nothing is left.

#include <algorithm>
#include <vector>

#include "tests/fuzz/proxy_world.hpp"
#include "tests/fuzz/relay_input.hpp"
#include "tests/fuzz/reply_input.hpp"

namespace pgmend::fuzz {

namespace {

class hostile_server;

/// One connection of it.
class hostile_backend final : private pool::event_sink {
public:
    hostile_backend(hostile_server& server, std::unique_ptr<pool::stream> stream)
        : server_(server), stream_(std::move(stream)) {
        stream_->watch(*this, {1, 1});
        stream_->arm(pool::interest::read);
    }

    void hang_up() { stream_.reset(); }

private:
    void notify(pool::event_mask) noexcept override;
    void answer(char type);

    hostile_server& server_;
    std::unique_ptr<pool::stream> stream_;
    std::string input_;
    std::string output_;
    bool greeted_ = false;
};

/// Connections share what is left of the input; when it is used up, they are closed.
class hostile_server {
public:
    hostile_server(proxy_world& world, dice words) : from(words) {
        world.network().listen(
            proxy_world::server(), sim::link_group::server, proxy_world::links(),
            [this](std::unique_ptr<pool::stream> stream) {
                backends_.push_back(std::make_unique<hostile_backend>(*this, std::move(stream)));
            }
        );
    }

    void hang_up() {
        from = dice({});
        for (const auto& each : backends_)
            each->hang_up();
    }

    dice from;

private:
    std::vector<std::unique_ptr<hostile_backend>> backends_;
};

void hostile_backend::notify(pool::event_mask) noexcept {
    std::byte block[8192];
    while (stream_) {
        const auto result = stream_->read_some(block);
        if (result.status == pool::io_status::would_block) break;
        if (result.status != pool::io_status::ok) return hang_up();
        input_.append(reinterpret_cast<const char*>(block), result.bytes);
    }
    // The first packet has no type.
    while (stream_ && input_.size() >= (greeted_ ? 5U : 4U)) {
        const std::size_t at = greeted_ ? 1 : 0;
        const std::size_t size = protocol::load_u32(protocol::as_bytes(input_).data() + at) + at;
        require(size >= (greeted_ ? 5U : 8U), "a server is sent frames");
        if (input_.size() < size) break;
        const char type = greeted_ ? input_[0] : '\0';
        input_.erase(0, size);
        greeted_ = true;
        answer(type);
    }
    if (!stream_) return;
    while (!output_.empty()) {
        const iovec piece{output_.data(), output_.size()};
        const auto result = stream_->write_some({&piece, 1});
        if (result.status == pool::io_status::would_block) break;
        if (result.status != pool::io_status::ok) return hang_up();
        output_.erase(0, result.bytes);
    }
    stream_->arm(output_.empty() ? pool::interest::read : pool::interest::read_write);
}

void hostile_backend::answer(char type) {
    dice& from = server_.from;
    if (from.done() || type == 'X') return hang_up();
    const std::uint8_t how = from.u8();
    if (type == '\0' || type == 'p') {
        output_ += how < 200 ? good_greeting() : drawn_greeting(from);
    } else if (how < 160) {
        output_ += good_reply(type);
    } else if (how < 250) {
        for (std::size_t count = 1 + how % 3; count > 0; --count)
            output_ += drawn_reply(from);
    } else if (how == 255) {
        hang_up();
    }
}

}  // namespace

void servers(byte_view input) {
    dice from(input);
    const std::uint8_t shape = from.u8();
    proxy_world world(from.u8(), login_method::trust, 1 + (shape & 1U));
    const std::string app = test::u32(196608) + test::z("user") + test::z("app") + '\0';
    for (int count = 0; count < 2; ++count) {
        raw_client::plan plan;
        dice requests(protocol::as_bytes(from.short_text()));
        plan.bytes =
            test::u32(static_cast<std::uint32_t>(app.size() + 4)) + app + drawn_requests(requests, 20);
        plan.piece = (shape & 2U) != 0 ? 97 : 0;
        plan.checks_order = false;
        world.add_client(std::move(plan));
    }
    hostile_server server(world, from);
    world.play(std::chrono::seconds(60));
    // While a server is mute, a session that waits for it does not read, and so does not see that its client
    // has left; a server that is mute for ever is for the keepalive to end.
    server.hang_up();
    world.close_clients();
    world.check_left();
    world.end();
}

}  // namespace pgmend::fuzz
