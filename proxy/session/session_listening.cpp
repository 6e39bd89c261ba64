// The part of client_session that gives a listening client its server back: its channels go over to the
// connection that listens for all clients of the database, and what comes there is passed on between the
// client's requests, as PostgreSQL does.

#include <algorithm>

#include "config/log.hpp"
#include "protocol/session_change.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {
/// A committed NOTIFY is told to its client before the end of its request, but not at any price.
constexpr config::duration longest_fence = std::chrono::seconds{1};
constexpr std::string_view ask_names = "SELECT pg_catalog.pg_listening_channels()";
constexpr std::string_view forget_all = "UNLISTEN *";
using step = subscription::step;
}  // namespace

/// Between requests: true when the server is asked something, so that its channels can go over.
bool client_session::hand_channels_over() {
    if (listening_ && !facts_.pins.has(pin_reason::listen)) {
        // Nothing is left of what the server told; the hub's own part may go on.
        listening_->waits = false;
        if (!listening_->expects_mark) drop_channels([](bool live) { return !live; });
        if (listening_->channels.empty()) {
            facts_.shared = nullptr;
            if (server_ != nullptr) server_->hold_ready = false;
            listening_.reset();
        }
        return false;
    }
    const bool may = facts_.pins.only(pin_reason::listen) && requests_.catalog() != nullptr &&
                     worker_.settings().listen.max_channels() != 0 && same_encoding();
    if (!may) return false;
    if (!listening_) {
        listening_ = std::make_unique<subscription>(
            hub(), gate_, hub_events{notified, hub_answered, hub_lost}, key_.pid
        );
        facts_.shared = listening_.get();
        server_->hold_ready = true;
        listening_->server_taken(server_->key.pid, false);
    }
    if (listening_->refused || !listening_->settled() || listening_->expects_mark) {
        listening_->waits = !listening_->refused;
        return false;
    }
    listening_->waits = false;
    listening_->heard.clear();
    listening_->handing_over = step::names;
    listening_->marked = listening_->left_out = false;
    own_query(ask_names, session_phase::handing_over);
    return true;
}

/// Names of channels and what is sent over them come in the client's encoding; what the hub hears comes in
/// the database's.
bool client_session::same_encoding() const {
    const std::string* own = server_->reported->find("client_encoding");
    const std::string* database = server_->reported->find("server_encoding");
    return own != nullptr && database != nullptr && *own == *database;
}

/// One answer further. The server keeps its channels until the shared connection listens to all of them.
void client_session::handing_over_goes_on() {
    phase_ = session_phase::active;
    const auto& heard = listening_->heard;
    // Once the mark is sent there is no way back, whatever the limit is by then: from it on the shared
    // connection tells of the channels, and a server that was kept would tell of them once more.
    const bool too_many =
        listening_->handing_over == step::names &&
        heard.size() + listening_->channels.size() > worker_.settings().listen.max_channels();
    if (own_failed_ || too_many) {
        listening_->refused = true;
        return;
    }
    switch (listening_->handing_over) {
        case step::names: {
            drop_channels([](bool live) { return !live; }, &heard);
            const auto& known = listening_->channels;
            const bool all = std::all_of(heard.begin(), heard.end(), [&known](const std::string& name) {
                return known.contains(name);
            });
            if (!all) {
                hub().subscribe(*listening_, heard);
                return;
            }
            if (!hub().listens_for(*listening_)) return hub().fence(*listening_);
            listening_->handing_over = step::mark;
            listening_->expects_mark = true;
            const std::string mark = protocol::quote_identifier(notification_hub::mark_channel);
            own_query(
                "LISTEN " + mark + "; NOTIFY " + mark + ", " +
                    protocol::quote_literal(listening_->new_token()),
                session_phase::handing_over
            );
            return;
        }
        case step::mark:
            if (listening_->expects_mark && !hub().listens_for(*listening_)) {
                // Nobody hears the mark. The server still listens: once more, unless something was left to
                // the hub already.
                listening_->take_back();
                listening_->lost = listening_->lost || listening_->left_out;
                return hub().fence(*listening_);
            }
            listening_->handing_over = step::forget;
            own_query(forget_all, session_phase::handing_over);
            return;
        case step::forget:
            facts_.pins.remove(pin_reason::listen);
            return;
    }
}

notification_hub& client_session::hub() {
    return worker_.hub_for(pool_->login().database, pool_->login().user);
}

void client_session::drop_channels(bool (*which)(bool live), const std::vector<std::string>* but) {
    std::vector<std::string> gone;
    for (const auto& [name, channel] : listening_->channels) {
        const bool kept = but != nullptr && std::find(but->begin(), but->end(), name) != but->end();
        if (which(channel.live) && !kept) gone.push_back(name);
    }
    for (const std::string& name : gone) {
        hub().unsubscribe(*listening_, name);
    }
}

/// The transaction is over: what it said of channels that the hub listens to holds, or does not.
void client_session::settle_unlistens() {
    auto done = std::exchange(listening_->done_unlistens, {});
    if (request_failed_) return;
    for (const std::string& name : done) {
        if (name == "*") {
            drop_channels([](bool) { return true; });
        } else {
            hub().unsubscribe(*listening_, name);
        }
    }
}

void client_session::note_tag(std::string_view tag) {
    auto& sent = listening_->sent_unlistens;
    if (tag == "ROLLBACK") listening_->done_unlistens.clear();
    if ((tag != "UNLISTEN" && tag != "DISCARD ALL") || sent.empty()) return;
    listening_->done_unlistens.push_back(sent.front());
    sent.erase(sent.begin());
}

/// What the hub has to say, in its place in the order of all events. False when the session is over.
bool client_session::hear(pool::event_mask bits) {
    if ((bits & hub_lost) != 0) listening_->lost = true;
    const bool answered = (bits & hub_answered) != 0 && listening_->settled();
    if ((answered || (bits & fence_over) != 0) && !release_ready()) return false;
    if (phase_ == session_phase::handing_over && !prepared_) others_awaited(bits);
    const bool between =
        phase_ == session_phase::idle && !replaying() && (server_ == nullptr || at_safe_point());
    if (!between) return true;
    if (listening_->lost || listening_->overflowed()) return end_listening();
    if (listening_->waits && answered && server_ != nullptr && in_.empty()) {
        phase_ = session_phase::active;  // the channels can go over now
        return true;
    }
    return tell_notifications();
}

void client_session::start_fence_timer() {
    auto& timer = listening_->fence_timer;
    if (!timer) timer = std::make_unique<pool::gate_timer>(worker_.env(), gate_, fence_over);
    timer->after(longest_fence);
}

/// What the last client of this server has notified may still be on its way to the hub. A request that
/// notifies waits for that: then it is known whose its notifications are.
bool client_session::await_others() {
    constexpr std::string_view word = "notify";
    const auto same = [](char a, char wanted) { return static_cast<char>(a | 0x20) == wanted; };
    const std::string_view text = protocol::as_text(in_.bytes());
    if (!listening_->others_may_speak() || !hub().connected() ||
        std::search(text.begin(), text.end(), word.begin(), word.end(), same) == text.end()) {
        return false;
    }
    phase_ = session_phase::handing_over;
    start_fence_timer();
    return true;
}

void client_session::others_awaited(pool::event_mask bits) {
    if (listening_->others_may_speak() && (bits & fence_over) == 0) return;
    listening_->fence_timer->stop();
    phase_ = session_phase::active;
    prepare_server();
}

/// The end of a request that waited for the client's own notifications may be told.
bool client_session::release_ready() {
    if (listening_->before_ready != subscription::fence::waiting) return true;
    listening_->before_ready = subscription::fence::passed;
    return server_ == nullptr || pump_server();
}

bool client_session::end_listening() {
    if (listening_->overflowed()) {
        return fail(
            "53400", "too many notifications wait for this client", "The limit is listen.max_notifications."
        );
    }
    return fail(
        protocol::sqlstate::admin_shutdown, "the connection that listened for notifications was lost",
        "Notifications may have been missed."
    );
}

bool client_session::tell_notifications() {
    if (!listening_->has_pending() || out_.blocked()) return true;
    worker_.flight_to_client().add(listening_->take());
    return to_client();
}

/// Before ReadyForQuery outside a block: what has come by now goes first, and what this request itself has
/// notified comes with it.
protocol::byte_view client_session::before_ready(bool& wait) {
    using fence = subscription::fence;
    wait = false;
    if (holding()) return {};
    if (listening_->before_ready == fence::none && requests_.may_have_written()) {
        listening_->before_ready = fence::waiting;
        hub().fence(*listening_);
        start_fence_timer();
    }
    wait = listening_->before_ready == fence::waiting;
    if (wait) return {};
    if (listening_->fence_timer) listening_->fence_timer->stop();
    listening_->before_ready = fence::none;
    return listening_->take();
}

/// A server tells of a notification: whether it goes on to the client, who knows itself by the pid that it
/// was told at its login, and takes nobody else for itself.
bool client_session::notification(std::span<std::byte> body) {
    protocol::byte_reader reader{body};
    const std::uint32_t pid = reader.u32();
    const std::uint32_t server_pid = server_->key.pid;
    if (reader.failed() || key_.pid == 0) return true;
    if (pid == server_pid) {
        protocol::store_u32(body.data(), key_.pid);
    } else if (pid == key_.pid) {
        protocol::store_u32(body.data(), server_pid);
    }
    if (!listening_) return true;
    const std::string_view name = reader.cstring();
    if (reader.failed()) return true;
    if (name == notification_hub::mark_channel) {
        // Others hand over too, and what comes between their mark and ours is ours to be told.
        if (reader.cstring() == listening_->token()) listening_->leave_to_hub();
        return false;
    }
    if (phase_ == session_phase::handing_over && listening_->marked) {
        listening_->left_out = true;
        return false;
    }
    return !listening_->left_to_hub(name);
}

}  // namespace pgmend::proxy
