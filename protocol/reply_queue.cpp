#include "protocol/reply_queue.hpp"

#include <algorithm>

namespace pgmend::protocol {

namespace {

/// Whether the message changes what one of the client's names stands for; with no name, the unnamed
/// statement.
bool changes_name(const owed_reply& reply) noexcept {
    switch (reply.kind) {
        case reply_kind::parse:
            return reply.action == reply_action::forward || reply.action == reply_action::synthesize;
        case reply_kind::close:
            return reply.action == reply_action::synthesize &&
                   (reply.client != nullptr || !reply.named_on_server);
        case reply_kind::query:
            return reply.action == reply_action::forward;
        default:
            return false;
    }
}

}  // namespace

/// A message that changed a name was skipped. If a later one that is not skipped has changed the same name
/// since, it is that one's past that changes, not the present.
void reply_queue::hand_down(owed_reply& skipped, std::size_t from) {
    if (!changes_name(skipped)) return;
    for (std::size_t i = from; i < count_; ++i) {
        owed_reply& later = at(i);
        if (!changes_name(later) || later.client != skipped.client) continue;
        later.previous = skipped.failed ? statement_ref{} : std::move(skipped.previous);
        skipped.kind = reply_kind::bind;  // nothing is left to undo for the client
        return;
    }
}

bool reply_queue::undecided(const client_statement* client) noexcept {
    for (std::size_t i = count_; i-- > 0;) {
        const owed_reply& reply = at(i);
        if (changes_name(reply) && reply.client == client) return reply.group != group_;
    }
    return false;
}

void reply_queue::grow() {
    std::vector<owed_reply> larger(std::max<std::size_t>(8, ring_.size() * 2));
    for (std::size_t i = 0; i < count_; ++i) {
        larger[i] = std::move(at(i));
    }
    ring_ = std::move(larger);
    first_ = 0;
}

void reply_queue::begin_copy_in() {
    copying_in_ = true;
    // Everything up to the client's end of copy was, or will be, read by the server as part of the copy.
    std::size_t kept = 1;
    std::size_t next = 1;
    for (; next < count_ && at(next).kind != reply_kind::copy_end; ++next) {
        if (at(next).kind == reply_kind::sync) {
            dropped_syncs_ = true;
            continue;
        }
        if (kept != next) at(kept) = std::move(at(next));
        ++kept;
    }
    if (next < count_) {
        copying_in_ = false;  // the end is already on its way
    } else if (front().kind != reply_kind::query) {
        group_open_ = true;
    }
    for (; next < count_; ++next, ++kept) {
        if (kept != next) at(kept) = std::move(at(next));
    }
    shrink(kept);
}

void reply_queue::shrink(std::size_t kept) {
    while (count_ > kept) {
        at(--count_) = owed_reply{};
    }
}

void reply_queue::end_copy() noexcept {
    copying_in_ = false;
    dropped_syncs_ = false;
}

void reply_queue::push_copy_end() {
    copying_in_ = false;
    if (empty()) return;
    push(reply_kind::copy_end);
}

void reply_queue::orphan() noexcept {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count_; ++i) {
        owed_reply& reply = at(i);
        if (reply.action == reply_action::synthesize) continue;  // nobody is left to be told
        reply.client = nullptr;
        reply.previous = {};
        if (reply.action != reply_action::own) reply.action = reply_action::drop;
        if (kept != i) at(kept) = std::move(reply);
        ++kept;
    }
    shrink(kept);
}

}  // namespace pgmend::protocol
