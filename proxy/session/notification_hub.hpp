#pragma once
// LISTEN without a server of the client's own (HEALING section 4): one connection to a database listens to
// the channels of all its clients and hands what comes to those who want it. A client's LISTEN runs on a
// server as always; then a mark, sent as a notification, tells where in the one order of all notifications
// that server's part ends and the shared connection's begins. One worker thread.

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pool/server_pool.hpp"
#include "protocol/bytes.hpp"
#include "proxy/session/session_facts.hpp"

namespace pgmend::proxy {

class worker_core;
class notification_hub;

/// What the subscriber's gate is told.
struct hub_events {
    pool::event_mask arrived;   ///< notifications wait, or there are too many of them
    pool::event_mask answered;  ///< the shared connection has done what was asked of it
    pool::event_mask lost;      ///< notifications may have been missed
};

/// One client's channels at the hub, and what waits for it. Owned by its session.
class subscription final : public shared_channels, public pool::list_node<subscription> {
public:
    subscription(notification_hub& hub, pool::event_gate& gate, hub_events events, std::uint32_t told_pid);
    ~subscription();
    subscription(const subscription&) = delete;
    subscription& operator=(const subscription&) = delete;

    std::vector<std::string> done_unlistens;  ///< answered, in a transaction that is not over
    std::vector<std::string> heard;           ///< channels that a server said the client listens to there
    enum class step : std::uint8_t { names, mark, forget };
    step handing_over = step::names;  ///< what the server was asked
    bool refused = false;             ///< this client keeps its servers: the handing over went wrong
    bool waits = false;               ///< for the hub, before the server can hand over
    bool marked = false;              ///< the server has told of the mark (`leave_to_hub`)
    bool left_out = false;            ///< and of something behind it, which is the hub's to tell
    bool expects_mark = false;        ///< the hub has not met it yet
    bool lost = false;                ///< notifications may have been missed: the client must go
    enum class fence : std::uint8_t { none, waiting, passed };
    fence before_ready = fence::none;  ///< whether the client's own notifications have come
    std::unique_ptr<pool::gate_timer> fence_timer;

    /// The hub tells of this channel.
    bool hears(std::string_view channel) const;
    /// A server of the client's need not tell of it: the hub does, or will when it meets the mark.
    bool left_to_hub(std::string_view channel) const;
    /// The server has told of the mark: what it tells of these channels from now on is the hub's to tell.
    void leave_to_hub() noexcept;
    /// The mark was heard by nobody: the server goes on telling of what the hub does not.
    void take_back() noexcept;
    /// What the next mark says. Unlike the ones before it, which a later connection of the hub's may still
    /// hear.
    const std::string& new_token();
    /// The client has this server: what it notifies is the client's own. What a last client of it (`foreign`)
    /// has notified may still be on its way to the hub, and comes in front of what that answers now.
    void server_taken(std::uint32_t pid, bool foreign);
    /// The hub may still be told of that.
    bool others_may_speak() const noexcept { return others_until_ != 0; }
    void server_left() noexcept { server_pid_ = own_server_pid_ = 0; }
    /// The server is lost, and what it was told of channels with it.
    void server_gone() noexcept {
        server_left();
        sent_unlistens.clear();
        done_unlistens.clear();
        before_ready = fence::none;
    }
    /// Nothing that was asked is under way.
    bool settled() const noexcept { return asked_ == 0; }
    const std::string& token() const noexcept { return token_; }
    bool has_pending() const noexcept { return !pending_.empty(); }
    bool overflowed() const noexcept { return overflowed_; }
    /// The waiting notifications as frames; they stay valid until the next call.
    protocol::byte_view take();

private:
    friend class notification_hub;
    notification_hub& hub_;
    pool::event_gate& gate_;
    const hub_events events_;
    const std::uint32_t told_pid_;
    std::uint32_t server_pid_ = 0;      ///< of the server that the client has
    std::uint32_t own_server_pid_ = 0;  ///< the same, from where on what comes from there is the client's own
    std::size_t others_until_ = 0;      ///< what is still to be answered before that
    std::vector<std::byte> pending_;
    std::vector<std::byte> taken_;
    const std::string own_name_;  ///< in front of each token
    std::string token_;
    std::uint64_t tokens_ = 0;
    std::size_t asked_ = 0;
    std::uint64_t answered_on_ = 0;  ///< the connection that answered last, listening to all channels by then
    bool overflowed_ = false;
    bool counted_ = false;
};

class notification_hub final : private pool::pool_waiter, private config::timer_node {
public:
    notification_hub(worker_core& worker, std::string database, std::string user);
    ~notification_hub();
    notification_hub(const notification_hub&) = delete;
    notification_hub& operator=(const notification_hub&) = delete;

    static constexpr std::string_view mark_channel = "pgmend mark";

    /// Listens to `heard` for this client; `answered` follows, once for each call.
    void subscribe(subscription& who, const std::vector<std::string>& heard);
    /// `answered` follows when all that was notified before has come.
    void fence(subscription& who);
    void unsubscribe(subscription& who, std::string_view channel);
    /// Whether what this client was answered last still holds: the same connection is there.
    bool listens_for(const subscription& who) const noexcept {
        return server_ != nullptr && who.answered_on_ == connection_;
    }
    bool connected() const noexcept { return server_ != nullptr; }
    /// What is known of the servers has changed.
    void reconsider();
    void stop();
    /// Nobody listens and nothing is under way.
    bool idle() const noexcept { return subscribers_.empty() && server_ == nullptr; }

    /// LISTEN for all of `channels`, as one text.
    static std::string listen_text(const std::map<std::string, bool, std::less<>>& channels);

private:
    friend class subscription;
    struct channel {
        std::vector<subscription*> subscribers;
    };
    void granted(pool::server_connection& server) override;
    void refused(const pool::pool_refusal& why) override;
    void connect();
    void leave(subscription& who) noexcept;
    pool::detached run(pool::server_connection& server);
    bool read(pool::server_connection& server);
    void say(std::string_view text, subscription* asker);
    void ask(subscription& who, std::string_view text);
    void answer(subscription* asker) noexcept;
    void notified(protocol::byte_view body);
    void begin(subscription& who) noexcept;
    void deliver(subscription& who, std::uint32_t pid, std::string_view name, std::string_view payload);
    void lost();

    worker_core& worker_;
    const std::string database_;
    const std::string user_;
    std::map<std::string, channel, std::less<>> channels_;
    pool::intrusive_list<subscription> subscribers_;
    /// Who asked for what the connection has been told and has not answered; null: nobody waits for it.
    std::deque<subscription*> asked_;
    pool::server_connection* server_ = nullptr;
    pool::event_gate* gate_ = nullptr;  ///< of the connection's coroutine
    std::uint64_t connection_ = 0;      ///< the present one's number
    bool waiting_ = false;              ///< for a connection
    bool stopping_ = false;
};

}  // namespace pgmend::proxy
