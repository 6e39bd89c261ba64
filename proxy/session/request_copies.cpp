// The part of request_relay that lets SQL and the protocol speak of the same statements: EXECUTE finds what
// the client prepared by the protocol, DEALLOCATE takes it away.

#include <algorithm>
#include <array>

#include "protocol/message_writer.hpp"
#include "protocol/session_change.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::reply_action;
using protocol::reply_kind;
using protocol::session_change_kind;

namespace {

constexpr std::size_t most_materialized = 500;  // statements of the client's that one text of SQL finds
constexpr std::array<std::byte, 2> no_types{};

}  // namespace

/// What the text of `statement` names is on the server when it is parsed, bound, described or run there.
/// False: answers must tell first what the names stand for.
bool request_relay::provide_names(const protocol::prepared_statement& statement) {
    if (failure_may_be_over() || names_undecided(statement.text)) return false;
    materialize(statement.text, reply_action::swallow);
    return true;
}

/// Whether the server's transaction has failed as far as is known, and an earlier group may have ended it.
bool request_relay::failure_may_be_over() const noexcept {
    return server_->status == protocol::transaction_status::failed && !server_->owed.empty() &&
           server_->owed.front().group != server_->owed.group();
}

/// SQL is about to name statements that the client prepared by the protocol: the server gets them under the
/// client's own names, until the client's Sync or the end of its Query. `action` is `own` around a simple
/// Query, where an error of theirs must not become the client's, and `swallow` inside a group, where it must.
/// What is only to be taken away, or in the way of a PREPARE, is there as an empty statement: its own may be
/// one that cannot be parsed any more.
void request_relay::materialize(std::string_view text, reply_action action) {
    if (action == reply_action::swallow && surely_failed()) return;
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    for (const auto& change : protocol::session_changes(text)) {
        const bool names_one = change.kind == session_change_kind::prepare ||
                               change.kind == session_change_kind::execute ||
                               change.kind == session_change_kind::deallocate;
        if (!names_one) continue;
        if (change.name.starts_with(protocol::server_name_prefix)) {
            server_->close_when_free = true;  // it may have touched what others rely on
            continue;
        }
        protocol::client_statement* entry = statements_.find(change.name);
        server_copy* copy = copy_of(change.name);
        const bool uncertain =
            change.kind == session_change_kind::prepare || facts_.pins.has(pin_reason::sql_prepare);
        if (copy != nullptr && uncertain) copy->uncertain = true;
        if (entry == nullptr) continue;
        // EXECUTE alone needs what the name stands for, and in a group an empty copy may have come before it.
        const bool runs = change.kind == session_change_kind::execute;
        const bool there = copy != nullptr && copy->holds && (!runs || copy->full);
        if (there || (copy == nullptr && materialized_.size() == most_materialized)) continue;
        writer.close_statement(change.name);
        if (runs) {
            writer.parse(change.name, entry->statement->text, protocol::as_bytes(entry->statement->types));
        } else {
            writer.parse(change.name, "", no_types);
        }
        owe(reply_kind::close, action);
        owe(reply_kind::parse, action).client = entry;
        if (copy == nullptr)
            copy = &materialized_.emplace_back(server_copy{.name = change.name, .uncertain = uncertain});
        copy->holds = true;
        copy->full = runs;
    }
    if (frames.empty()) return;
    if (action == reply_action::own) {
        writer.sync();
        owe(reply_kind::sync, reply_action::own);
    }
    inject(frames);
}

/// Takes back what `materialize` did, in a group of its own: nothing of the client's can keep it from
/// happening. Where the name may be SQL's own, given before or meanwhile, the answers are waited for.
void request_relay::dematerialize() {
    if (materialized_.empty()) return;
    const auto stays = [this](const server_copy& copy) {
        return copy.uncertain || (copy.for_portal && block_open_);
    };
    const auto first = std::stable_partition(materialized_.begin(), materialized_.end(), stays);
    const bool waits =
        std::any_of(materialized_.begin(), first, [](const auto& copy) { return copy.uncertain; });
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    for (auto copy = first; copy != materialized_.end(); ++copy) {
        writer.close_statement(copy->name);
        owe(reply_kind::close, reply_action::own);
    }
    materialized_.erase(first, materialized_.end());
    if (waits) barrier_ = barrier::now;
    if (frames.empty()) return;
    writer.sync();
    owe(reply_kind::sync, reply_action::own);
    inject(frames);
}

/// A named portal of EXECUTE looks for the names when it is run or described: until its transaction ends.
void request_relay::keep_copies(std::string_view text) {
    for (const auto& change : protocol::session_changes(text)) {
        server_copy* copy = copy_of(change.name);
        if (copy != nullptr) copy->for_portal = true;
    }
}

void request_relay::copy_skipped(std::string_view name, bool was_made) noexcept {
    if (server_copy* copy = copy_of(name)) copy->holds = !was_made;
}

/// Everything has been answered: what SQL has not forgotten of the copies is still there.
void request_relay::take_back_copies() {
    std::erase_if(materialized_, [](const server_copy& copy) { return !copy.holds; });
    for (server_copy& copy : materialized_)
        copy.uncertain = false;
    dematerialize();
}

request_relay::server_copy* request_relay::copy_of(std::string_view name) noexcept {
    const auto found = std::find_if(materialized_.begin(), materialized_.end(), [name](const auto& copy) {
        return copy.name == name;
    });
    return found == materialized_.end() ? nullptr : &*found;
}

/// DEALLOCATE will be answered for each of these names in turn, whosever they are.
void request_relay::expect_deallocations(std::string_view text) {
    for (const auto& change : protocol::session_changes(text)) {
        if (change.kind == session_change_kind::deallocate) deallocating_.push_back(change.name);
    }
}

void request_relay::deallocated() {
    if (deallocating_.empty()) return;
    const std::string name = std::move(deallocating_.front());
    deallocating_.erase(deallocating_.begin());
    if (auto* entry = statements_.find(name)) statements_.close(*entry);
    // Whatever has the name on the server from now on is not ours to close.
    std::erase_if(materialized_, [&name](const server_copy& copy) { return copy.name == name; });
}

void request_relay::all_deallocated() {
    statements_.clear_named();
    materialized_.clear();
}

/// The copy that SQL was given of a statement goes with it: the name may soon mean another one.
void request_relay::close_copy(protocol::client_statement& entry) {
    server_copy* copy = copy_of(entry.name());
    if (copy == nullptr || !std::exchange(copy->holds, false)) return;
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.close_statement(entry.name());
    inject(frame);
    owe(reply_kind::close, reply_action::swallow).client = &entry;
}

}  // namespace pgmend::proxy
