// The half of backend_model that runs statements and writes what the client is sent.

#include <algorithm>
#include <limits>

#include "tests/sim/backend_model.hpp"

namespace pgmend::sim {

using enum protocol::backend_message;
using protocol::backend_message;
using protocol::byte_reader;

namespace {

constexpr unsigned text_oid = 25;
constexpr unsigned text_format = 0;

}  // namespace

// ---- running a statement

void backend_model::start(running&& what, const std::string& copy_table) {
    for (const auto& notice : what.result.notices)
        send_error(notice_response, notice);
    if (what.result.error) return fail(*what.result.error);
    running_ = std::move(what);
    copy_table_ = copy_table;
    if (running_->result.sleep_us) {
        sleep_us_ = *running_->result.sleep_us;
        doing_ = activity::sleeping;
        return;
    }
    if (running_->result.lock) {
        doing_ = activity::locking;
        return try_lock();
    }
    after_wait();
}

void backend_model::run_through() {
    for (;;) {
        switch (doing_) {
            case activity::sleeping:
                wake();
                break;
            case activity::locking:
                try_lock();
                break;
            case activity::rows:
                produce(std::numeric_limits<std::size_t>::max());
                break;
            case activity::ready:
            case activity::copy_in:
            case activity::gone:
                return;
        }
    }
}

void backend_model::wake() {
    if (doing_ == activity::sleeping) after_wait();
}

void backend_model::try_lock() {
    if (doing_ != activity::locking) return;
    if (session_.database().try_lock(*running_->result.lock, pid())) after_wait();
}

void backend_model::after_wait() {
    const outcome& result = running_->result;
    if (result.copy == outcome::copying::in) {
        message_builder(out, copy_in_response).u8(0).u16(2).u16(0).u16(0).end();
        flush_wanted_ = true;
        copied_ = 0;
        copy_partial_.clear();
        doing_ = activity::copy_in;
        return;
    }
    if (!result.rows) {
        doing_ = activity::ready;
        const std::string tag = result.tag;
        return complete(tag);
    }
    if (result.copy == outcome::copying::out) {
        message_builder builder(out, copy_out_response);
        builder.u8(0).u16(static_cast<unsigned>(result.rows->columns.size()));
        for (std::size_t at = 0; at < result.rows->columns.size(); ++at)
            builder.u16(0);
        builder.end();
    } else if (!running_->extended) {
        row_description(result.rows->columns);
    }
    doing_ = activity::rows;
}

void backend_model::produce(std::size_t limit) {
    if (doing_ != activity::rows) return;
    row values;
    while (out.size() < limit) {
        running& now = *running_;
        const bool limited = now.limit >= 0 && now.position >= now.limit;
        if (limited || now.position >= now.result.rows->size()) return finish_rows();
        if (const auto error = session_.make_row(*now.result.rows, now.position, values)) return fail(*error);
        ++now.position;
        ++now.sent;
        send_row(values);
    }
}

void backend_model::send_row(const row& values) {
    if (running_->result.copy == outcome::copying::out) {
        std::string line;
        for (const auto& value : values)
            line += (line.empty() ? "" : "\t") + value.value_or("\\N");
        message_builder(out, copy_data).raw(line + "\n").end();
        return;
    }
    message_builder builder(out, data_row);
    builder.u16(static_cast<unsigned>(values.size()));
    for (const auto& value : values)
        builder.value(value);
    builder.end();
}

void backend_model::finish_rows() {
    running& now = *running_;
    doing_ = activity::ready;
    const bool suspended = now.limit >= 0 && now.position >= now.limit;
    if (now.extended) {
        if (portal* from = find_portal(now.portal_name)) {
            from->position = now.position;
            from->tag = now.result.tag;
            from->rows = std::move(now.result.rows);
        }
        if (suspended) {
            running_.reset();
            return empty_message(portal_suspended);
        }
    }
    if (now.result.copy == outcome::copying::out) empty_message(copy_done);
    std::string tag = now.result.tag;
    if (tag != "SHOW") tag += " " + std::to_string(now.sent);
    if (in_simple_query_ && script_.empty()) session_.end_implicit();
    complete(tag);
}

void backend_model::complete(const std::string& tag) {
    running_.reset();
    message_builder(out, command_complete).string(tag).end();
    if (in_simple_query_) next_simple_statement();
}

// ---- COPY FROM STDIN

void backend_model::copy_message(const message& what) {
    switch (what.type) {
        case 'd': {
            copy_partial_ += what.body;
            std::size_t newline;
            while ((newline = copy_partial_.find('\n')) != std::string::npos) {
                const std::string line = copy_partial_.substr(0, newline);
                copy_partial_.erase(0, newline + 1);
                if (const auto error = session_.copy_line(copy_table_, line)) return fail(*error);
                ++copied_;
            }
            return;
        }
        case 'c': {
            doing_ = activity::ready;
            if (in_simple_query_ && script_.empty()) session_.end_implicit();
            return complete("COPY " + std::to_string(copied_));
        }
        case 'f':
            return fail(make_error(
                "57014",
                "COPY from stdin failed: " + std::string(byte_reader(protocol::as_bytes(what.body)).cstring())
            ));
        case 'H':
        case 'S':
            // Ignored in COPY mode, so that a client may send them in one go with Execute.
            return;
        case 'X':
            doing_ = activity::gone;
            return;
        default:
            // It has not read the body, and so has lost its place in the stream.
            send_error(
                backend_message::error_response,
                make_error("08P01", "unexpected message type during COPY from stdin")
            );
            return terminate("08P01", "terminating connection because protocol synchronization was lost");
    }
}

// ---- what is sent

void backend_model::row_description(const std::vector<std::string>& columns) {
    message_builder builder(out, backend_message::row_description);
    builder.u16(static_cast<unsigned>(columns.size()));
    for (const auto& name : columns) {
        builder.string(name).u32(0).u16(0).u32(text_oid).u16(0xffff).u32(0xffffffffU).u16(text_format);
    }
    builder.end();
}

void backend_model::send_error(backend_message type, const error_fields& fields) {
    message_builder(out, type)
        .u8('S')
        .string(fields.severity)
        .u8('V')
        .string(fields.severity)
        .u8('C')
        .string(fields.code)
        .u8('M')
        .string(fields.text)
        .u8(0)
        .end();
    flush_wanted_ = true;
}

void backend_model::report_parameters() {
    for (const auto& known : known_parameters()) {
        if (!known.reported) continue;
        const std::string name(known.name);
        const std::string value = session_.parameter(name);
        const auto told = reported_.find(name);
        if (told != reported_.end() && told->second == value) continue;
        reported_[name] = value;
        message_builder(out, parameter_status).string(name).string(value).end();
    }
}

bool backend_model::deliver_notifications() {
    const bool idle = between_requests_ && doing_ == activity::ready &&
                      session_.status() == protocol::transaction_status::idle;
    if (!idle || notifications_.empty()) return false;
    for (const auto& [from, channel, payload] : notifications_) {
        message_builder(out, notification_response).u32(from).string(channel).string(payload).end();
    }
    notifications_.clear();
    flush_wanted_ = true;
    return true;
}

void backend_model::ready_for_query() {
    between_requests_ = true;
    deliver_notifications();
    report_parameters();
    message_builder(out, backend_message::ready_for_query)
        .u8(static_cast<unsigned char>(session_.status()))
        .end();
    flush_wanted_ = true;
}

}  // namespace pgmend::sim
