// What the replies of a server mean to its client's session: the pump tells them in their order.

#include <array>

#include "config/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

using protocol::owed_reply;
using protocol::reply_kind;
using protocol::transaction_status;

namespace {
constexpr std::string_view invalid_savepoint = "3B001";
}  // namespace

std::optional<std::string> client_session::reported(std::string_view name, std::string_view value) {
    if (phase_ == session_phase::surveying) return std::nullopt;  // over with our own transaction
    if (server_->standby) return std::nullopt;                    // the client is told of the primary
    facts_.note_reported(name);
    // Told when the request is answered, by whichever server it is then.
    if (phase_ == session_phase::refused_write) return std::nullopt;
    std::string told{facts_.reported(name, value, *server_->reported_at_login)};
    const protocol::parameter_set* before = facts_.told;
    facts_.told = worker_.parameters().with(before, name, &told);
    if (facts_.told == before) return std::nullopt;
    return told;
}

void client_session::own_row(protocol::byte_view body) {
    if (phase_ == session_phase::active && evidence_row(body)) return;
    protocol::byte_reader reader{body};
    if (survey_) {
        std::array<std::string_view, 4> columns;
        if (reader.u16() != columns.size()) return;
        for (std::string_view& column : columns) {
            const std::int32_t length = reader.i32();
            if (length > 0) column = protocol::as_text(reader.bytes(static_cast<std::size_t>(length)));
        }
        if (reader.failed()) own_failed_ = true;
        survey_->row({columns[0], columns[1], columns[2], columns[3]});
        return;
    }
    if (phase_ == session_phase::handing_over) {
        if (reader.u16() != 1) return;
        const std::int32_t length = reader.i32();
        if (length >= 0)
            listening_->heard.emplace_back(protocol::as_text(reader.bytes(static_cast<std::size_t>(length))));
        return;
    }
    if (!row_) row_ = std::make_unique<std::vector<std::optional<std::string>>>();
    const std::uint16_t columns = reader.u16();
    for (std::uint16_t i = 0; i < columns && !reader.failed(); ++i) {
        const std::int32_t length = reader.i32();
        if (length < 0) {
            row_->emplace_back();
        } else {
            row_->emplace_back(protocol::as_text(reader.bytes(static_cast<std::size_t>(length))));
        }
    }
}

void client_session::error(std::string_view sqlstate, std::string_view message, bool fatal, bool own) {
    if (own) {
        if (phase_ == session_phase::active && evidence_failed(sqlstate)) return;
        own_failed_ = true;
        own_ran_out_of_time_ = sqlstate == protocol::sqlstate::query_canceled;
        // A block that is made to fail.
        if (phase_ == session_phase::failing || sqlstate == invalid_savepoint) return;
        log::warning("own_query_failed", {{"sqlstate", sqlstate}, {"message", message}});
        return;
    }
    worker_.metrics().errors.add();
    if (server_ != nullptr && !replaying()) worker_.tallies().failed(requests_.awaited_tally(*server_));
    // A READ ONLY of the client's own says nothing of its server.
    if (sqlstate == protocol::sqlstate::read_only_transaction &&
        (server_->reports_on("in_hot_standby") || server_->reports_on("default_transaction_read_only") ||
         server_->reported->find("in_hot_standby") == nullptr)) {
        worker_.cluster().refused_write(server_->where);
    }
    worker_.cluster().in_trouble(server_->where, sqlstate);
    request_failed_ = true;
    requests_.failed(*server_);
    facts_.failed();
    if (listening_) listening_->sent_unlistens.clear();
    if (fatal && !replaying()) server_said_goodbye_ = true;  // who runs again has not said it to the client
}

void client_session::command_complete(std::string_view tag) {
    answered_end_ = protocol::transaction_end::unknown;
    switch (tag.empty() ? '\0' : tag.front()) {
        case 'D':
            if (tag == "DEALLOCATE ALL" || tag == "DISCARD ALL") requests_.all_deallocated();
            if (tag == "DEALLOCATE") requests_.deallocated();
            break;
        case 'C':
        case 'P':
            if (tag != "COMMIT" && tag != "PREPARE TRANSACTION") break;
            committed_ = true;
            if (!server_->owed.empty()) answered_end_ = server_->owed.front().ends;
            requests_.answered(tag, answered_end_);
            break;
        case 'B':
        case 'R':
        case 'S':
            if ((tag == "BEGIN" || tag == "ROLLBACK" || tag == "START TRANSACTION") && !server_->owed.empty())
                requests_.answered(tag, server_->owed.front().ends);
            break;
        default:
            break;
    }
    if (listening_) note_tag(tag);
    if (!request_failed_) {
        facts_.completed(tag, {server_->settings, server_->reported_at_login}, worker_.parameters());
    }
}

void client_session::ready() {
    if (holding()) {
        own_over_ = true;
        return;
    }
    if (server_->evidence && server_->evidence->asked && evidence_answered()) return;
    if (listening_ && server_->status == transaction_status::idle) settle_unlistens();
    request_failed_ = false;
    requests_.group_over();
    forget_answers();
    facts_.ready();
    pool::traffic_stats& traffic = pool_->traffic();
    const auto now = worker_.env().now();
    ++traffic.queries;
    // With more under way, the statement that was sent last is not the one that was answered. What is ours
    // alone is not under way for the client: nobody waits for it, and nothing of the client's runs.
    const bool all_answered = server_->owed.empty() || only_evidence_owed();
    if (since != config::time_point{}) {
        const config::duration took = now - since;
        traffic.query_time += took;
        if (all_answered) worker_.tallies().answered(std::exchange(server_->tally, 0), took);
    }
    since = all_answered ? config::time_point{} : now;
    if (limits_) [[unlikely]]
        note_ready(all_answered);
    if (server_->status != transaction_status::idle) return;
    worker_.metrics().transactions.add();
    ++traffic.transactions;
    note_committed();
}

/// Whether its transaction would go on if its server were lost now; else why not.
std::optional<std::string_view> client_session::lost_by_failover() const {
    loss facts = loss_facts();
    facts.may_retry = true;
    const recovery_step step = plan_recovery(facts);
    // Of a commit that is under way it would be found out what became of it.
    if (step.what == recovery::send_again || step.what == recovery::replay ||
        step.what == recovery::ask_outcome) {
        return std::nullopt;
    }
    if (facts.hindrance && asks_for_replay(facts)) return label_word(*facts.hindrance);
    return label_word(step.why);
}

/// More of the request may follow, but what has changed in the session so far is committed.
void client_session::note_committed() noexcept {
    if (facts_.in_doubt() || !facts_.pins.empty()) session_changed_ = true;
}

void client_session::undone(owed_reply& reply) {
    const bool ours =
        reply.action == protocol::reply_action::swallow || reply.action == protocol::reply_action::own;
    const bool of_copy = reply.kind == reply_kind::parse || reply.kind == reply_kind::close;
    if (ours && of_copy && reply.client != nullptr)
        requests_.copy_skipped(reply.client->name(), reply.kind == reply_kind::parse);
    if (ours) return;
    const bool parse_or_close = reply.kind == reply_kind::parse || reply.kind == reply_kind::close;
    if (parse_or_close && reply.client != nullptr) {
        requests_.statements().restore(*reply.client, std::move(reply.previous));
    } else if ((parse_or_close && (reply.previous || reply.statement)) || reply.kind == reply_kind::query) {
        // A Parse of the unnamed statement that failed itself has dropped the old one.
        requests_.statements().unnamed = reply.failed ? protocol::statement_ref{} : std::move(reply.previous);
    }
}

// Replication: a server of the client's own, bytes passed on unread.

}  // namespace pgmend::proxy
