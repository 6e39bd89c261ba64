#include "proxy/session/notification_hub.hpp"

#include <algorithm>

#include "config/log.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

constexpr pool::event_mask readable = 1;
constexpr pool::event_mask writable = 2;
constexpr pool::event_mask ended = 4;
constexpr std::size_t longest_message = 64 * 1024;  // a notification has less than 8 kB
constexpr config::duration pause_between_attempts = std::chrono::seconds{1};

/// Nothing of any client's.
pool::startup_parameters own_parameters() { return {{"application_name", "pgmend listen"}}; }

}  // namespace

subscription::subscription(
    notification_hub& hub, pool::event_gate& gate, hub_events events, std::uint32_t told_pid
)
    : hub_(hub),
      gate_(gate),
      events_(events),
      told_pid_(told_pid),
      // Unlike any of another worker's, or of another process on the same database.
      own_name_(
          std::to_string(hub.worker_.env().random()) + '.' + std::to_string(hub.worker_.env().random())
      ) {
    hub.subscribers_.push_back(*this);
}

subscription::~subscription() {
    hub_.leave(*this);
    if (counted_) hub_.worker_.metrics().clients_listening.sub();
}

bool subscription::hears(std::string_view channel) const {
    const auto found = channels.find(channel);
    return found != channels.end() && found->second.live;
}

bool subscription::left_to_hub(std::string_view channel) const {
    const auto found = channels.find(channel);
    return found != channels.end() && found->second.left;
}

void subscription::leave_to_hub() noexcept {
    marked = true;
    for (auto& [name, channel] : channels) {
        channel.left = true;
    }
}

void subscription::take_back() noexcept {
    expects_mark = false;
    for (auto& [name, channel] : channels) {
        channel.left = channel.live;
    }
}

void subscription::server_taken(std::uint32_t pid, bool foreign) {
    server_pid_ = pid;
    own_server_pid_ = foreign ? 0 : pid;
    if (!foreign) return;
    hub_.fence(*this);
    others_until_ = asked_;
}

const std::string& subscription::new_token() {
    token_ = own_name_ + '.' + std::to_string(++tokens_);
    return token_;
}

protocol::byte_view subscription::take() {
    taken_.clear();
    taken_.swap(pending_);
    return taken_;
}

notification_hub::notification_hub(worker_core& worker, std::string database, std::string user)
    : worker_(worker), database_(std::move(database)), user_(std::move(user)) {
    fire = [](config::timer_node& node) noexcept { static_cast<notification_hub&>(node).connect(); };
}

notification_hub::~notification_hub() { worker_.env().cancel(*this); }

std::string notification_hub::listen_text(const std::map<std::string, bool, std::less<>>& channels) {
    std::string text;
    for (const auto& [name, live] : channels) {
        text += "LISTEN " + protocol::quote_identifier(name) + ";";
    }
    return text;
}

void notification_hub::subscribe(subscription& who, const std::vector<std::string>& heard) {
    std::string text;
    for (const std::string& name : heard) {
        who.channels.try_emplace(name);
        auto& known = channels_[name];
        if (known.subscribers.empty()) text += "LISTEN " + protocol::quote_identifier(name) + ";";
        if (std::find(known.subscribers.begin(), known.subscribers.end(), &who) == known.subscribers.end())
            known.subscribers.push_back(&who);
    }
    ask(who, text);
}

void notification_hub::fence(subscription& who) { ask(who, {}); }

void notification_hub::ask(subscription& who, std::string_view text) {
    ++who.asked_;
    say(text, &who);
}

void notification_hub::say(std::string_view text, subscription* asker) {
    asked_.push_back(asker);
    if (server_ == nullptr) return connect();  // everything is said when there is a connection
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.query(text);
    pool::gather flight;
    flight.add(frame);
    if (!server_->out.send(*server_->io, flight)) gate_->set(ended);
    server_->io->arm(server_->out.blocked() ? pool::interest::read_write : pool::interest::read);
}

void notification_hub::answer(subscription* asker) noexcept {
    if (asker == nullptr) return;
    --asker->asked_;
    if (asker->others_until_ != 0 && --asker->others_until_ == 0) asker->own_server_pid_ = asker->server_pid_;
    asker->answered_on_ = connection_;
    asker->gate_.set(asker->events_.answered);
}

void notification_hub::unsubscribe(subscription& who, std::string_view name) {
    if (who.channels.erase(std::string{name}) == 0) return;
    const auto known = channels_.find(name);
    if (known == channels_.end()) return;
    std::erase(known->second.subscribers, &who);
    if (!known->second.subscribers.empty()) return;
    if (server_ != nullptr) say("UNLISTEN " + protocol::quote_identifier(name), nullptr);
    channels_.erase(known);
}

void notification_hub::leave(subscription& who) noexcept {
    pool::intrusive_list<subscription>::remove(who);
    std::replace(asked_.begin(), asked_.end(), &who, static_cast<subscription*>(nullptr));
    while (!who.channels.empty()) {
        unsubscribe(who, std::string{who.channels.begin()->first});
    }
    if (!subscribers_.empty()) return;
    worker_.env().cancel(*this);
    if (waiting_) {
        worker_.listen_pool(database_, user_).withdraw(*this);
        waiting_ = false;
    }
    asked_.clear();
    if (gate_ != nullptr) gate_->set(ended);
}

void notification_hub::stop() {
    stopping_ = true;
    worker_.env().cancel(*this);
    if (waiting_) worker_.listen_pool(database_, user_).withdraw(*this);
    waiting_ = false;
    if (gate_ != nullptr) gate_->set(ended);
}

void notification_hub::reconsider() {
    if (server_ != nullptr && worker_.cluster().must_leave(server_->where)) gate_->set(ended);
}

void notification_hub::connect() {
    if (waiting_ || stopping_ || server_ != nullptr || subscribers_.empty()) return;
    pool::server_pool& pool = worker_.listen_pool(database_, user_);
    partition = pool.partition("listen", own_parameters());
    parameters = worker_.parameters().empty();
    waiting_ = true;
    if (pool::server_connection* server = pool.acquire(*this)) granted(*server);
}

void notification_hub::granted(pool::server_connection& server) {
    waiting_ = false;
    run(server);
}

void notification_hub::refused(const pool::pool_refusal& why) {
    waiting_ = false;
    log::warning("listener_refused", {{"database", database_}, {"reason", why.message}});
    worker_.env().schedule(*this, worker_.env().now() + pause_between_attempts);
}

pool::detached notification_hub::run(pool::server_connection& server) {
    {
        pool::event_gate gate{worker_.env()};
        server_ = &server;
        gate_ = &gate;
        ++connection_;
        server.io->watch(gate, {readable, writable});
        server.io->arm(pool::interest::read);
        // Whoever asked meanwhile is answered when all channels are listened to.
        std::map<std::string, bool, std::less<>> all{{std::string{mark_channel}, true}};
        for (const auto& [name, known] : channels_) {
            all.emplace(name, true);
        }
        std::deque<subscription*> askers;
        askers.swap(asked_);
        say(listen_text(all), nullptr);
        for (subscription* asker : askers) {
            say({}, asker);
        }
        gate.set(readable);
        for (bool good = true; good;) {
            const pool::event_mask bits = co_await gate.wait();
            if ((bits & ended) != 0) break;
            if ((bits & writable) != 0) good = server.out.drain(*server.io);
            if (good && (bits & readable) != 0) good = read(server);
            if (good)
                server.io->arm(server.out.blocked() ? pool::interest::read_write : pool::interest::read);
        }
        server.in.keep();
        gate_ = nullptr;
        server_ = nullptr;
    }
    const bool wanted = !subscribers_.empty() && !stopping_;
    server.broken = true;
    server.pool.discard(
        server,
        wanted ? config::metrics::server_close::lost_in_use : config::metrics::server_close::idle_timeout
    );
    if (wanted) lost();
}

/// False when the connection is of no more use.
bool notification_hub::read(pool::server_connection& server) {
    std::size_t want = 0;
    for (;;) {
        const pool::io_result result = server.in.fill(*server.io, want);
        if (result.status == pool::io_status::would_block) return true;
        if (result.status != pool::io_status::ok) return false;
        if (server.heard != nullptr) {
            server.heard->store(worker_.env().now().time_since_epoch().count(), std::memory_order_relaxed);
        }
        for (want = protocol::frame_header_size; server.in.size() >= want;) {
            const auto bytes = server.in.bytes();
            if (!protocol::valid_length(bytes.data())) return false;
            const auto header = protocol::decode_header(bytes.data());
            want = header.size();
            if (want > longest_message) return false;
            if (bytes.size() < want) break;
            const auto body = bytes.subspan(protocol::frame_header_size, header.body);
            if (header.type == 'E') return false;
            if (header.type == 'A') notified(body);
            if (header.type == 'Z') {
                if (asked_.empty()) return false;
                subscription* asker = asked_.front();
                asked_.pop_front();
                answer(asker);
            }
            server.in.consume(want);
            want = protocol::frame_header_size;
        }
        server.in.keep();
    }
}

/// From here on the hub tells this client of its channels.
void notification_hub::begin(subscription& who) noexcept {
    for (auto& [name, known] : who.channels) {
        known.live = true;
    }
    who.expects_mark = false;
    if (!std::exchange(who.counted_, true)) worker_.metrics().clients_listening.add();
    who.gate_.set(who.events_.answered);
}

void notification_hub::notified(protocol::byte_view body) {
    protocol::byte_reader reader{body};
    const std::uint32_t pid = reader.u32();
    const std::string_view name = reader.cstring();
    const std::string_view payload = reader.cstring();
    if (reader.failed()) return;
    if (name == mark_channel) {
        for (subscription* who = subscribers_.front(); who != nullptr;
             who = pool::intrusive_list<subscription>::next(*who)) {
            if (who->token_ == payload) begin(*who);
        }
        return;
    }
    const auto known = channels_.find(name);
    if (known == channels_.end()) return;
    for (subscription* who : known->second.subscribers) {
        if (who->hears(name)) deliver(*who, pid, name, payload);
    }
}

void notification_hub::deliver(
    subscription& who, std::uint32_t pid, std::string_view name, std::string_view payload
) {
    if (who.overflowed_) return;
    who.gate_.set(who.events_.arrived);
    if (who.pending_.size() + payload.size() > worker_.settings().listen.max_notifications().bytes) {
        who.overflowed_ = true;
        return;
    }
    // The client knows itself by what it was told at its login, and takes nobody else for itself.
    if (pid == who.own_server_pid_) {
        pid = who.told_pid_;
    } else if (pid == who.told_pid_) {
        pid = server_->key.pid;
    }
    std::array<std::byte, 4> number;
    protocol::store_u32(number.data(), pid);
    constexpr std::string_view end{"\0", 1};
    protocol::message_writer{who.pending_}.frame(
        'A', {number, protocol::as_bytes(name), protocol::as_bytes(end), protocol::as_bytes(payload),
              protocol::as_bytes(end)}
    );
    worker_.metrics().notifications.add();
}

void notification_hub::lost() {
    worker_.metrics().listeners_lost.add();
    log::warning("listener_lost", {{"database", database_}, {"channels", channels_.size()}});
    std::deque<subscription*> askers;
    askers.swap(asked_);
    const bool close = worker_.settings().listen.on_loss() == config::listener_loss::close;
    for (subscription* who = subscribers_.front(); who != nullptr;
         who = pool::intrusive_list<subscription>::next(*who)) {
        // The mark may be among what was missed. Who still has its own server to hear it from begins anew.
        if (who->expects_mark && who->handing_over != subscription::step::mark) begin(*who);
        const auto hears = [](const auto& one) { return one.second.live; };
        if (close && std::any_of(who->channels.begin(), who->channels.end(), hears))
            who->gate_.set(who->events_.lost);
    }
    // The next connection answers those who still wait, when it listens to everything again.
    for (subscription* asker : askers) {
        asked_.push_back(asker);
    }
    connect();
}

}  // namespace pgmend::proxy
