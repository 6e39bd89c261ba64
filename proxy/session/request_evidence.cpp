// The part of request_relay that has the evidence before the commit begins (HEALING section 7): behind the
// first statement of a block that may have written, the server is asked for the transaction's number in the
// same flight, and COMMIT waits for it; of what is written outside of a block, ahead of the Sync that
// commits.

#include <algorithm>
#include <chrono>

#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "proxy/session/commit_outcome.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::has;
using protocol::reply_action;
using protocol::reply_kind;
using protocol::session_effect;
using protocol::statement_kind;
using protocol::transaction_control;

namespace {

/// How old what is known of a server's life may be: each checkpoint in between costs certainty.
constexpr config::duration life_lasts = std::chrono::seconds{30};

protocol::byte_view piece(std::string_view text) noexcept { return protocol::as_bytes(text); }

bool speaks_of_notify(std::string_view text) noexcept {
    constexpr std::string_view word = "notify";
    const auto same = [](char a, char wanted) { return static_cast<char>(a | 0x20) == wanted; };
    return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
}

/// Whether whatever it writes gives its transaction a number at once.
bool numbers_its_writes(const protocol::statement_traits& traits, std::string_view text) noexcept {
    const bool rows = traits.kind == statement_kind::insert || traits.kind == statement_kind::update ||
                      traits.kind == statement_kind::delete_ || traits.kind == statement_kind::merge ||
                      (traits.kind == statement_kind::select && traits.locks_rows);
    return rows && !traits.multiple && !speaks_of_notify(text);
}

/// Whether the server may be asked right behind it: it has taken a snapshot, so that the question does not
/// take one for the transaction, the server does not read copy data next, and nothing that it may have done
/// unseen is in the way of the question.
bool leaves_room(const protocol::statement_traits& traits) noexcept {
    constexpr session_effect in_the_way =
        session_effect::copy | session_effect::unknown | session_effect::unknown_function;
    if (traits.multiple || traits.cannot_run_in_block || has(traits.effects, in_the_way)) return false;
    switch (traits.kind) {
        case statement_kind::insert:
        case statement_kind::update:
        case statement_kind::delete_:
        case statement_kind::merge:
        case statement_kind::select:
        case statement_kind::values:
        case statement_kind::execute:
        case statement_kind::declare_cursor:
        case statement_kind::ddl:
            return true;
        default:
            return false;
    }
}

}  // namespace

void request_relay::note_commit(const protocol::statement_traits& traits) noexcept {
    using protocol::transaction_end;
    const bool commits = has(traits.control, transaction_control::commit);
    const bool chained = has(traits.control, transaction_control::chain);
    if (traits.control == transaction_control::begin && !traits.multiple) ends_ = transaction_end::begun;
    if (traits.control == transaction_control::rollback) ends_ = transaction_end::rolled_back;
    if (traits.kind == statement_kind::rollback && chained) ends_ = transaction_end::chained;
    if (!commits && !has(
                        traits.control, transaction_control::prepare | transaction_control::prepared |
                                            transaction_control::hidden
                    )) {
        return;
    }
    const bool plain = traits.kind == statement_kind::commit && !traits.multiple &&
                       traits.control == transaction_control::commit;
    commits_sent_ = plain && commits_sent_ == 0 ? std::uint8_t{1} : many_commits;
    const bool ends = commits || has(traits.control, transaction_control::prepare);
    if (traits.multiple || !ends) return;
    ends_ = chained ? transaction_end::chained : transaction_end::idle;
}

void request_relay::note_written(const protocol::statement_traits& traits, std::string_view text) noexcept {
    pool::commit_evidence& evidence = *server_->evidence;
    const bool settled = server_->owed.empty() && !server_->owed.group_open();
    // What is only looked at while there is no number: one scan of the text for most transactions.
    const bool certain = !evidence.xid.empty() || numbers_its_writes(traits, text);
    evidence.written(certain, !leaves_room(traits), settled);
}

void request_relay::note_control(const protocol::statement_traits& traits) noexcept {
    if (context_.guard != nullptr && has(traits.control, transaction_control::commit)) note_gap();
    if (!server_->evidence) return;
    pool::commit_evidence& evidence = *server_->evidence;
    if (commits_sent_ == 1 && traits.kind == statement_kind::commit) {
        evidence.seal();
        return;
    }
    // Of savepoints there is nothing to be known: the transaction keeps its number.
    if (traits.control == transaction_control::savepoint) return;
    const bool again = traits.control == transaction_control::begin && !traits.multiple;
    if (again && evidence.under_way() && !evidence.asked_life) return;
    evidence.new_block(server_->owed.group());
    // What stands beside it in the same text may have written.
    if (traits.multiple || has(traits.control, transaction_control::hidden))
        evidence.written(false, true, false);
}

/// Ahead of a block, where no error of it is anybody's: what is known of the server's life, and whether the
/// number of a transaction can be had there.
void request_relay::prepare_evidence() {
    commit_guard& guard = *context_.guard;
    const bool between = server_->status == protocol::transaction_status::idle && server_->owed.empty() &&
                         !server_->owed.group_open();
    if (!between || !facts_.pins.empty()) return;
    const auto now = guard.env.now();
    if (server_->evidence && now - server_->evidence->life_read < life_lasts) return;
    if (!server_->evidence) server_->evidence = std::make_unique<pool::commit_evidence>();
    server_->evidence->life_read = now;
    server_->evidence->life_known = false;
    if (!knows_transaction_numbers(*server_) || guard.refuses(*server_)) return;
    server_->evidence->ask(server_->owed.group(), true);
    std::vector<std::byte> frames;
    protocol::message_writer{frames}.query(life_query());
    owe(reply_kind::query, reply_action::own);
    server_->statements.drop_unnamed();
    inject(frames);
}

/// Whether the server has said that the client's block is open, and the client has not ended it since. Behind
/// a BEGIN that is not answered nobody is asked: where its first statement is refused, for its plan or as the
/// server takes no writes, all is sent again if nothing of ours is owed behind it.
bool request_relay::block_is_known() const noexcept {
    if (server_->status != protocol::transaction_status::in_block) return false;
    return server_->owed.empty() || (block_open_ && server_->evidence->begun(server_->owed.front().group));
}

/// The server is asked for the number of the open transaction, in a group of its own behind what was sent.
void request_relay::ask_evidence() {
    pool::commit_evidence& evidence = *server_->evidence;
    const bool settled = server_->owed.empty();
    if (context_.guard == nullptr || !block_is_known() || !facts_.pins.empty() ||
        server_->owed.copying_in() || server_->owed.group_open() || !evidence.may_ask(settled) ||
        context_.guard->refuses(*server_)) {
        return;
    }
    // What the request may have done unseen forbids to go on without its server, whatever the answer, and may
    // be in the way of the question, which would cost the client its block.
    if (hazard_ != no_hazard && facts_.unverified()) return;
    // What such a server refuses may be sent to another one, as long as nothing is asked behind it.
    if (server_->reports_on("default_transaction_read_only")) return;
    const std::uint32_t group = server_->owed.group();
    if (!ask_for_number(group)) return;
    evidence.ask(group, false);
    inject(context_.guard->run);
    for (const auto kind : {reply_kind::bind, reply_kind::execute, reply_kind::close, reply_kind::sync}) {
        owe(kind, reply_action::own);
    }
}

/// Sees to it that the server has the statement that asks, as part of group `group`. False where that is not
/// known.
bool request_relay::ask_for_number(std::uint32_t group) {
    const protocol::statement_ref& statement = context_.guard->ask;
    const auto presence = server_->statements.use(statement->id, group);
    if (presence != pool::statement_presence::present && presence != pool::statement_presence::absent)
        return false;
    context_.metrics.evidence_asked.add();
    if (presence == pool::statement_presence::absent) {
        evict();
        server_->statements.insert(statement->id, group);
        std::vector<std::byte> frame;
        protocol::message_writer{frame}.parse(
            statement->server_name, statement->text, protocol::as_bytes(statement->types)
        );
        inject(frame);
        protocol::owed_reply& parsed = owe(reply_kind::parse, reply_action::own);
        parsed.named_on_server = true;
        parsed.statement = statement;
    }
    return true;
}

/// Whether the server is to be asked ahead of the Sync of a group that writes outside of a block. Behind a
/// BEGIN or a COMMIT in the group it is not known what its Sync ends.
bool request_relay::guards_group() const noexcept {
    return context_.guard != nullptr && context_.guard->writes != config::write_guard::off && type_ != 'Q' &&
           !controls_group_;
}

/// Ahead of a group that writes outside of a block it must be known what the server's life is: that is asked
/// first, and waited for.
bool request_relay::write_waits() {
    if (!guards_group() || block_open_) return false;
    prepare_evidence();
    const pool::commit_evidence* evidence = server_->evidence.get();
    return evidence != nullptr && evidence->asked && evidence->asked_life && evidence_is_next();
}

/// Why it could not be found out what becomes of the group that is open, which has written outside of a
/// block.
std::optional<config::metrics::evidence_gap> request_relay::group_gap_now() const {
    using config::metrics::evidence_gap;
    if (!facts_.pins.empty() || facts_.unverified()) return evidence_gap::session_state;
    if (!knows_transaction_numbers(*server_)) return evidence_gap::old_server;
    if (context_.guard->refuses(*server_)) return evidence_gap::refused;
    pool::commit_evidence* evidence = server_->evidence.get();
    if (evidence == nullptr || !evidence->life_known) return evidence_gap::life_unknown;
    const bool alone = server_->status == protocol::transaction_status::idle && !block_open_ &&
                       commits_sent_ == 0 && !outside_effects_ && !server_->owed.copying_in();
    // What such a server refuses may be sent to another one, as long as nothing is asked behind it.
    const bool writable = !server_->reports_on("default_transaction_read_only");
    return alone && writable && evidence->may_ask(false) ? std::optional<evidence_gap>{}
                                                         : evidence_gap::not_alone;
}

/// The Sync comes of the group that has written outside of a block, and commits it: the server is asked for
/// the transaction's number first, with a Flush behind that, so that the answer does not wait for the commit.
/// False where the Sync is not to be sent yet.
bool request_relay::ends_write() {
    // A Sync with a body is an error.
    if (!guards_group() || size_ != protocol::frame_header_size) {
        write_open_ = false;
        return true;
    }
    pool::commit_evidence* evidence = server_->evidence.get();
    const std::uint32_t group = server_->owed.group();
    end_asked_ = evidence != nullptr && evidence->asked && evidence->in_group && evidence->group == group;
    if (!end_asked_ && !server_->owed.skipping()) {
        const auto gap = group_gap_now();
        if (!gap && ask_for_number(group)) {
            evidence->ask_in_group(group);
            inject(context_.guard->run_in_group);
            owe(reply_kind::bind, reply_action::own);
            owe(reply_kind::execute, reply_action::own);
            end_asked_ = true;
        } else {
            context_.metrics.commits_unguarded.add(gap.value_or(config::metrics::evidence_gap::not_alone));
            if (hazard_ == no_hazard) blame(replay_hindrance::wrote_outside);
        }
    }
    const bool strict = end_asked_ && context_.guard->writes == config::write_guard::strict;
    if (strict && !server_->owed.empty()) return false;
    write_open_ = false;
    return true;
}

bool request_relay::lone_write(pool::server_connection& server) const noexcept {
    const pool::commit_evidence* evidence = server.evidence.get();
    if (!end_asked_ || evidence == nullptr || !evidence->asked || !evidence->in_group || commits_sent_ != 0 ||
        mid_message() || server.owed.empty()) {
        return false;
    }
    const std::size_t last = server.owed.size() - 1;
    for (std::size_t i = 0; i <= last; ++i) {
        const protocol::owed_reply& reply = server.owed.at(i);
        if (reply.group != evidence->group || (reply.kind == reply_kind::sync) != (i == last)) return false;
    }
    return true;
}

/// Whether nothing of the client's is owed in front of what the server was asked.
bool request_relay::evidence_is_next() const noexcept {
    return !server_->owed.empty() && server_->owed.front().group == server_->evidence->group;
}

/// A COMMIT waits for the evidence, unless its client has sent it without waiting for what stands before it.
bool request_relay::controls_wait(const protocol::statement_traits& traits) {
    if (has(traits.control, transaction_control::begin)) prepare_evidence();
    if (!has(traits.control, transaction_control::commit) || !server_->evidence || commits_sent_ != 0)
        return false;
    pool::commit_evidence& evidence = *server_->evidence;
    if (!evidence.asked && evidence.due && server_->owed.empty()) ask_evidence();
    return evidence.asked && !evidence.asked_life && evidence.still_meant() && evidence_is_next();
}

/// Why it could not be found out what becomes of the COMMIT that is sent now; nothing: it could, or there is
/// nothing that could be lost.
std::optional<config::metrics::evidence_gap> request_relay::evidence_gap_now() const {
    using config::metrics::evidence_gap;
    const pool::commit_evidence* evidence = server_->evidence.get();
    const bool settled = server_->owed.empty() || server_->owed.front().group == server_->owed.group();
    const bool failed = settled && server_->status == protocol::transaction_status::failed;
    if (!may_have_written_ || failed) return std::nullopt;
    if (evidence != nullptr && evidence->nothing_written() && hazard_ == no_hazard) return std::nullopt;
    if (facts_.unverified()) return evidence_gap::session_state;
    if (!knows_transaction_numbers(*server_)) return evidence_gap::old_server;
    if (context_.guard->refuses(*server_)) return evidence_gap::refused;
    if (evidence == nullptr || commits_sent_ != 1 || wrote_outside_) return evidence_gap::not_alone;
    if (!evidence->xid.empty()) return std::nullopt;
    const bool under_way = evidence->asked && !evidence->asked_life && evidence->still_meant();
    if (under_way) return std::nullopt;
    if (!evidence->asked && !evidence->life_known) return evidence_gap::life_unknown;
    return evidence->none_yet ? evidence_gap::no_number : evidence_gap::not_alone;
}

/// A COMMIT is sent: if its answer is lost, what became of it may be unknown for good.
void request_relay::note_gap() {
    const auto gap = evidence_gap_now();
    if (!gap) return;
    context_.metrics.commits_unguarded.add(*gap);
    if (unprotected() || commit_unguarded_) return;  // it has been counted
    commit_unguarded_ = true;
    blame(replay_hindrance::commit_sent);
}

bool request_relay::lone_commit(pool::server_connection& server) const noexcept {
    if (commits_sent_ != 1 || mid_message() || server.body_left != 0 || server.owed.empty()) return false;
    const std::size_t last = server.owed.size() - 1;
    std::size_t commits = 0;
    for (std::size_t i = 0; i <= last; ++i) {
        const protocol::owed_reply& reply = server.owed.at(i);
        if (reply.ends == protocol::transaction_end::idle) ++commits;
        const bool ends_group = reply.kind == reply_kind::sync || reply.kind == reply_kind::query;
        if (ends_group != (i == last) || reply.action == reply_action::own ||
            reply.action == reply_action::substitute || reply.kind == reply_kind::function_call ||
            reply.kind == reply_kind::copy_end) {
            return false;
        }
    }
    return commits == 1;
}

std::vector<std::byte> request_relay::commit_answer(pool::server_connection& server) const {
    std::vector<std::byte> frames;
    protocol::message_writer writer{frames};
    const auto complete = [&writer] {
        writer.frame('C', {piece("COMMIT"), piece(std::string_view{"\0", 1})});
    };
    for (std::size_t i = 0; i < server.owed.size(); ++i) {
        const protocol::owed_reply& reply = server.owed.at(i);
        if (reply.action == reply_action::swallow || reply.action == reply_action::own) continue;
        switch (reply.kind) {
            case reply_kind::parse:
                writer.frame('1', {});
                break;
            case reply_kind::bind:
                writer.frame('2', {});
                break;
            case reply_kind::close:
                writer.frame('3', {});
                break;
            case reply_kind::describe:
                if (!reply.of_portal)
                    writer.frame('t', {piece(std::string_view{"\0\0", 2})});  // no parameters
                writer.frame('n', {});
                break;
            case reply_kind::execute:
                // An Execute of something else in this group is not known well enough.
                if (reply.ends != protocol::transaction_end::idle) return {};
                complete();
                break;
            case reply_kind::query:
                complete();
                writer.ready_for_query(protocol::transaction_status::idle);
                break;
            case reply_kind::sync:
                writer.ready_for_query(protocol::transaction_status::idle);
                break;
            case reply_kind::function_call:
            case reply_kind::copy_end:
                return {};
        }
    }
    return frames;
}

}  // namespace pgmend::proxy
