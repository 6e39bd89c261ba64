#include "tests/sim/faulty_relay.hpp"

#include <algorithm>

#include "pool/buffer_pool.hpp"
#include "protocol/bytes.hpp"
#include "protocol/frame.hpp"
#include "tests/sim/wire.hpp"

namespace pgmend::sim {

namespace {

constexpr std::array<std::string_view, planted_bugs_count> names = {
    "none",
    "drop_reply",
    "repeat_ready",
    "swap_replies",
    "reorder",
    "leak_parameter",
    "lose_flush",
    "ignore_budget",
    "keep_session",
    "leave_timer",
    "misdirect_cancel",
    "write_twice",
    "break_length",
    "hang_up",
    "spin",
    "lose_notification",
    "leak_lease",
    "stay_down",
    "lose_cancel",
    "roll_dice",
    "take_any_password",
    "wait_for_rest",
    "follow_nobody",
    "repeat_parameter",
    "share_key",
    "hide_notifier",
};

constexpr std::uint32_t authentication_cleartext = 3;
constexpr std::size_t buffered_max = 65'536;
/// One message in so many meets a bug that strikes "now and then".
constexpr std::uint64_t strike_one_in = 20;

class faulty_relay;

/// One client with its server connection.
class relayed_client final : private pool::event_sink {
public:
    relayed_client(faulty_relay& owner, std::unique_ptr<pool::stream> client);

    void end() {
        client_.reset();
        server_.reset();
    }
    bool over() const noexcept { return !client_ && !server_; }
    /// A message meant for somebody else.
    void inject(const std::string& bytes) {
        if (!client_ || key_.empty()) return;
        to_client_ += bytes;
        pump();
    }
    const std::string& key() const noexcept { return key_; }

private:
    void notify(pool::event_mask) noexcept override { pump(); }
    void pump();
    bool fill(pool::stream& from, std::string& input);
    bool drain(pool::stream& to, std::string& output);
    void take_from_client();
    void take_from_server();
    bool take_first_packet();
    void client_message(const std::string& bytes, char type);
    void server_message(std::string bytes, char type);
    void close_side();
    void arm(pool::stream& stream, bool reading, bool writing);

    faulty_relay& owner_;
    std::unique_ptr<pool::stream> client_;
    std::unique_ptr<pool::stream> server_;
    std::string from_client_;
    std::string from_server_;
    std::string to_client_;
    std::string to_server_;
    std::string held_back_;  ///< a message that changes places with its successor
    std::string key_;
    bool started_ = false;
    bool cancel_ = false;
    std::size_t ssl_answers_ = 0;
    std::size_t swallow_ready_ = 0;
};

class faulty_relay final : public subject {
public:
    faulty_relay(const subject_setup& setup, planted_bug bug) : setup_(setup), bug_(bug), dice_(setup.seed) {
        if (bug == planted_bug::roll_dice) {
            static std::uint64_t runs = 0;
            dice_ = prng(++runs);
        }
        timer_.fire = [](config::timer_node&) noexcept {};
        setup_.network.listen(
            at_, link_group::client, setup.client_links,
            [this](std::unique_ptr<pool::stream> client) {
                if (bug_ == planted_bug::leak_lease) {
                    leaked_.push_back(std::make_unique<pool::leased_buffer>(buffers_));
                    leaked_.back()->append(protocol::as_bytes("kept"));
                }
                clients_.push_back(std::make_unique<relayed_client>(*this, std::move(client)));
            }
        );
    }
    ~faulty_relay() override {
        setup_.network.stop_listening(at_);
        setup_.env.cancel(timer_);
    }

    pool::endpoint client_endpoint() const override { return at_; }
    bool follows_primary() const override { return true; }
    void servers_seen(const std::vector<seen_server>& servers, std::uint32_t) override {
        if (bug_ != planted_bug::follow_nobody)
            primary_ = servers.back().primary ? setup_.standby : std::nullopt;
    }
    /// Where the connection of a new client goes.
    const pool::endpoint& primary() const { return primary_ ? *primary_ : setup_.server; }
    bool keeps_budget() const override { return bug_ == planted_bug::ignore_budget; }
    void stop() override {
        if (bug_ == planted_bug::leave_timer)
            setup_.env.schedule(timer_, setup_.env.now() + std::chrono::hours(1));
        if (bug_ == planted_bug::keep_session) return;
        for (const auto& client : clients_)
            client->end();
    }

    std::vector<std::string> leftovers() const override {
        if (buffers_.leased_blocks() == 0) return {};
        return {std::to_string(buffers_.leased_blocks()) + " leased buffers"};
    }

    std::vector<std::string> marks() const override {
        if (!passed_cancel_) return {};
        return {"a cancel was passed on"};
    }

    const subject_setup& setup() const noexcept { return setup_; }
    void passed_cancel() noexcept { passed_cancel_ = true; }
    void server_broke() noexcept { down_ = down_ || bug_ == planted_bug::stay_down; }
    bool down() const noexcept { return down_; }
    bool has(planted_bug bug) const noexcept { return bug_ == bug; }
    /// The bug strikes this time.
    bool strikes(planted_bug bug) noexcept { return bug_ == bug && dice_.chance(1, strike_one_in); }
    relayed_client* another(const relayed_client& than) {
        std::vector<relayed_client*> others;
        for (const auto& client : clients_) {
            if (client.get() != &than && !client->over() && !client->key().empty())
                others.push_back(client.get());
        }
        return others.empty() ? nullptr : dice_.pick(others);
    }
    prng& dice() noexcept { return dice_; }

private:
    subject_setup setup_;
    planted_bug bug_;
    prng dice_;
    pool::endpoint at_{"relay", 6432};
    std::optional<pool::endpoint> primary_;  ///< nothing: the first server
    config::timer_node timer_;
    bool passed_cancel_ = false;
    bool down_ = false;
    pool::buffer_pool buffers_;
    std::vector<std::unique_ptr<pool::leased_buffer>> leaked_;
    std::vector<std::unique_ptr<relayed_client>> clients_;
};

relayed_client::relayed_client(faulty_relay& owner, std::unique_ptr<pool::stream> client)
    : owner_(owner), client_(std::move(client)), server_(owner.setup().network.connect(owner.primary())) {
    client_->watch(*this, {1, 1});
    server_->watch(*this, {1, 1});
    client_->arm(pool::interest::read);
    server_->arm(pool::interest::write);
}

/// Reads what there is. False when the stream has ended.
bool relayed_client::fill(pool::stream& from, std::string& input) {
    std::byte block[8192];
    const auto result = from.read_some(block);
    if (result.status == pool::io_status::ok)
        input.append(reinterpret_cast<const char*>(block), result.bytes);
    return result.status == pool::io_status::ok || result.status == pool::io_status::would_block;
}

bool relayed_client::drain(pool::stream& to, std::string& output) {
    while (!output.empty()) {
        const iovec piece{output.data(), output.size()};
        const auto result = to.write_some({&piece, 1});
        if (result.status == pool::io_status::would_block) return true;
        if (result.status != pool::io_status::ok) return false;
        output.erase(0, result.bytes);
    }
    return true;
}

void relayed_client::close_side() {
    if (client_) drain(*client_, to_client_);
    if (server_) drain(*server_, to_server_);
    client_.reset();
    if (!owner_.has(planted_bug::keep_session) || !server_) return server_.reset();
    server_->arm(pool::interest::none);
}

void relayed_client::arm(pool::stream& stream, bool reading, bool writing) {
    stream.arm(static_cast<pool::interest>((reading ? 1 : 0) | (writing ? 2 : 0)));
}

void relayed_client::pump() {
    if (!client_ || !server_) return;
    if (owner_.down()) {
        client_->arm(pool::interest::none);
        return server_->arm(pool::interest::none);
    }
    if (server_->connected().status == pool::io_status::would_block)
        return client_->arm(pool::interest::none);
    if (server_->connected().status == pool::io_status::error) {
        owner_.server_broke();
        return close_side();
    }
    const bool room = to_server_.size() < buffered_max && to_client_.size() < buffered_max;
    const bool client_lives = !room || fill(*client_, from_client_);
    const bool server_lives = !room || fill(*server_, from_server_);
    if (!server_lives) owner_.server_broke();
    take_from_client();
    take_from_server();
    if (!client_ || !server_) return;
    const bool broke_off = !from_server_.empty() && from_server_.size() < protocol::frame_header_size;
    if (!server_lives && broke_off && owner_.has(planted_bug::wait_for_rest)) {
        client_->arm(pool::interest::none);
        return server_->arm(pool::interest::none);
    }
    if (!client_lives || !server_lives || !drain(*client_, to_client_) || !drain(*server_, to_server_)) {
        return close_side();
    }
    const bool still_room = to_server_.size() < buffered_max && to_client_.size() < buffered_max;
    arm(*client_, still_room, !to_client_.empty() || owner_.has(planted_bug::spin));
    arm(*server_, still_room, !to_server_.empty());
}

bool relayed_client::take_first_packet() {
    if (from_client_.size() < 8) return false;
    const auto* bytes = reinterpret_cast<const std::byte*>(from_client_.data());
    const std::uint32_t length = protocol::load_u32(bytes);
    if (from_client_.size() < length) return false;
    const std::uint32_t code = protocol::load_u32(bytes + 4);
    std::string packet = from_client_.substr(0, length);
    from_client_.erase(0, length);
    if (length == 8) ++ssl_answers_;
    cancel_ = code == 80877102;
    const relayed_client* other =
        cancel_ && owner_.has(planted_bug::misdirect_cancel) ? owner_.another(*this) : nullptr;
    if (other != nullptr) {
        packet = frontend::cancel_request(
            protocol::load_u32(reinterpret_cast<const std::byte*>(other->key().data())),
            other->key().substr(4)
        );
    }
    if (cancel_ && owner_.has(planted_bug::lose_cancel)) {
        packet.back() = static_cast<char>(~packet.back());
    } else if (cancel_) {
        owner_.passed_cancel();
    }
    to_server_ += packet;
    started_ = length != 8;
    return true;
}

void relayed_client::take_from_client() {
    while (!started_ && take_first_packet()) {
    }
    std::size_t at = 0;
    for (std::size_t start = 0; started_; start = at) {
        const auto next = next_message(from_client_, at);
        if (!next || next->type == 0) break;
        client_message(from_client_.substr(start, at - start), next->type);
    }
    from_client_.erase(0, at);
}

void relayed_client::client_message(const std::string& bytes, char type) {
    if (type == 'H' && owner_.has(planted_bug::lose_flush)) return;
    if (type == 'p' && owner_.has(planted_bug::take_any_password)) return;
    to_server_ += bytes;
    if (type == 'Q' && owner_.has(planted_bug::write_twice) && bytes.find("UPDATE") == 5) {
        to_server_ += bytes;
        ++swallow_ready_;
    }
}

void relayed_client::take_from_server() {
    for (; ssl_answers_ > 0 && !from_server_.empty(); --ssl_answers_) {
        to_client_ += from_server_.front();
        from_server_.erase(0, 1);
    }
    std::size_t at = 0;
    for (std::size_t start = 0; client_ && !cancel_; start = at) {
        const auto next = next_message(from_server_, at);
        if (!next || next->type == 0) break;
        server_message(from_server_.substr(start, at - start), next->type);
    }
    from_server_.erase(0, at);
}

void relayed_client::server_message(std::string bytes, char type) {
    if (type == 'K') key_ = bytes.substr(5);
    // What was the primary when the client came is none by now: nothing of it is shown.
    const bool standby =
        type == 'S' && key_.empty() && bytes.find("in_hot_standby") == 5 && bytes.find("on", 20) == 20;
    if (standby && !owner_.has(planted_bug::follow_nobody)) {
        to_client_.clear();
        return end();
    }
    if (type == 'R' && owner_.has(planted_bug::take_any_password))
        message_builder(to_client_, type).u32(authentication_cleartext).end();
    if (swallow_ready_ > 0 && !key_.empty() && type != 'K') {
        // Of two answers the first is dropped and the second one shown.
        if (type == 'Z') --swallow_ready_;
        return;
    }
    relayed_client* other = owner_.another(*this);
    if (type == 'A' && owner_.has(planted_bug::lose_notification)) return;
    if (type == 'A' && owner_.has(planted_bug::hide_notifier)) bytes.replace(5, 4, 4, '\0');
    if (type == 'C' && owner_.strikes(planted_bug::drop_reply)) return;
    if (type == 'Z' && owner_.strikes(planted_bug::hang_up)) return end();
    if (type == 'Z' && owner_.strikes(planted_bug::roll_dice)) {
        owner_.setup().env.note(owner_.dice().next());
    }
    if (type == 'Z' && owner_.strikes(planted_bug::repeat_ready)) to_client_ += bytes;
    if (type == 'D' && other != nullptr && owner_.strikes(planted_bug::swap_replies))
        return other->inject(bytes);
    if (type == 'S' && other != nullptr && owner_.has(planted_bug::leak_parameter)) other->inject(bytes);
    if (type == 'S' && owner_.strikes(planted_bug::repeat_parameter)) to_client_ += bytes;
    if (type == 'K' && other != nullptr && owner_.has(planted_bug::share_key))
        bytes.replace(5, other->key().size(), other->key());
    if (type == 'C' && owner_.strikes(planted_bug::break_length)) bytes.replace(1, 4, 4, '\0');
    if (type == 'T' && owner_.strikes(planted_bug::reorder)) {
        held_back_ = bytes;
        return;
    }
    to_client_ += bytes;
    to_client_ += std::exchange(held_back_, {});
}

}  // namespace

std::string_view to_string(planted_bug which) noexcept { return names[static_cast<std::size_t>(which)]; }

std::unique_ptr<subject> make_faulty_relay(const subject_setup& setup, planted_bug bug) {
    return std::make_unique<faulty_relay>(setup, bug);
}

}  // namespace pgmend::sim
