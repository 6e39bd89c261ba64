#include "tests/sim/backend_model.hpp"

#include <algorithm>

#include "protocol/bytes.hpp"

namespace pgmend::sim {

using enum protocol::backend_message;
using protocol::backend_message;
using protocol::byte_reader;
using verb = statement::verb;

namespace {

constexpr unsigned text_oid = 25;
/// The dialect has no binary form; requests for one are refused.
constexpr unsigned text_format = 0;

error_fields aborted_transaction() {
    return make_error(
        "25P02", "current transaction is aborted, commands ignored until end of transaction block"
    );
}

}  // namespace

backend_model::backend_model(
    sim_database& database, session_id id, std::string key, std::map<std::string, std::string> defaults
)
    : session_(database, id, std::move(defaults)), key_(std::move(key)) {
    session_.on_notification([this](session_id from, const std::string& channel, const std::string& payload) {
        notifications_.push_back({from, channel, payload});
    });
}

void backend_model::welcome() {
    message_builder(out, authentication).u32(0).end();
    report_parameters();
    message_builder(out, backend_key_data).u32(pid()).raw(key_).end();
    ready_for_query();
}

// ---- messages

void backend_model::receive(const message& what) {
    between_requests_ = false;
    if (doing_ == activity::copy_in) return copy_message(what);
    if (skip_to_sync_ && what.type != 'S' && what.type != 'X') return;
    const byte_reader body(protocol::as_bytes(what.body));
    switch (what.type) {
        case 'Q':
            return simple_query(std::string(byte_reader(body).cstring()));
        case 'P':
            return parse(body);
        case 'B':
            return bind(body);
        case 'D':
            return describe(body);
        case 'E':
            return execute(body);
        case 'C':
            return close(body);
        case 'F':
            return function_call(body);
        case 'H':
            flush_wanted_ = true;
            return;
        case 'S':
            skip_to_sync_ = false;
            session_.end_implicit();
            return ready_for_query();
        case 'X':
            doing_ = activity::gone;
            return;
        case 'd':
        case 'c':
        case 'f':
            // Left over from a COPY that failed; the client had not heard of it yet.
            return;
        default:
            return terminate(
                "08P01",
                "invalid frontend message type " + std::to_string(static_cast<unsigned char>(what.type))
            );
    }
}

void backend_model::simple_query(const std::string& sql) {
    in_simple_query_ = true;
    portals_.erase("");
    // A simple Query destroys the unnamed statement, as the unnamed portal.
    session_.statements().erase("");
    script_ = parse_sql(sql);
    if (script_.empty()) {
        session_.begin_implicit();
        empty_message(empty_query_response);
    }
    std::reverse(script_.begin(), script_.end());
    next_simple_statement();
}

void backend_model::next_simple_statement() {
    if (script_.empty()) {
        in_simple_query_ = false;
        session_.end_implicit();
        return ready_for_query();
    }
    const statement what = std::move(script_.back());
    script_.pop_back();
    if (what.what == verb::unknown) return fail(make_error("42601", "syntax error"));
    if (session_.in_failed_block() && !what.ends_transaction()) return fail(aborted_transaction());
    session_.begin_implicit();
    running next{session_.execute(what, {}), 0, -1, 0, "", false};
    // PostgreSQL commits the last statement before it tells of its completion, and the others with it.
    if (script_.empty() && !next.result.error && !next.result.rows &&
        next.result.copy == outcome::copying::none) {
        session_.end_implicit();
    }
    start(std::move(next), what.name);
}

void backend_model::parse(byte_reader body) {
    const std::string name(body.cstring());
    const auto statements = parse_sql(body.cstring());
    if (body.failed()) return protocol_violation("invalid message format");
    session_.begin_implicit();
    if (name.empty()) session_.statements().erase("");
    if (statements.size() > 1) {
        return fail(make_error("42601", "cannot insert multiple commands into a prepared statement"));
    }
    const statement what = statements.empty() ? statement{} : statements.front();
    if (what.what == verb::unknown) return fail(make_error("42601", "syntax error"));
    if (refused_in_failed_block(&what)) return;
    if (const auto error = session_.analyze(what)) return fail(*error);
    if (!name.empty() && session_.statements().contains(name)) {
        return fail(make_error("42P05", "prepared statement \"" + name + "\" already exists"));
    }
    session_.statements()[name] = {what, false};
    empty_message(parse_complete);
}

void backend_model::bind(byte_reader body) {
    const std::string name(body.cstring());
    const std::string statement_name(body.cstring());
    session_.begin_implicit();
    const auto found = session_.statements().find(statement_name);
    if (found == session_.statements().end()) {
        return fail(make_error(
            "26000", statement_name.empty() ? "unnamed prepared statement does not exist"
                                            : "prepared statement \"" + statement_name + "\" does not exist"
        ));
    }
    bool binary = false;
    for (unsigned formats = body.u16(); formats > 0; --formats)
        binary |= body.u16() != text_format;
    std::vector<text_or_null> arguments;
    const unsigned count = body.u16();
    for (unsigned at = 0; at < count && !body.failed(); ++at) {
        const std::int32_t size = body.i32();
        if (size < 0) {
            arguments.emplace_back();
        } else {
            arguments.emplace_back(protocol::as_text(body.bytes(static_cast<std::size_t>(size))));
        }
    }
    for (unsigned formats = body.u16(); formats > 0 && !body.failed(); --formats)
        binary |= body.u16() != text_format;
    if (body.failed()) return protocol_violation("insufficient data left in message");
    if (arguments.size() != found->second.what.parameters) {
        return protocol_violation(
            "bind message supplies " + std::to_string(arguments.size()) +
            " parameters, but prepared statement \"" + statement_name + "\" requires " +
            std::to_string(found->second.what.parameters)
        );
    }
    if (refused_in_failed_block(&found->second.what)) return;
    if (binary) return fail(make_error("0A000", "the simulated server has no binary format"));
    // A statement is understood anew where search_path or what it names has changed.
    if (const auto error = session_.analyze(found->second.what)) return fail(*error);
    if (!name.empty() && find_portal(name) != nullptr) {
        return fail(make_error("42P03", "cursor \"" + name + "\" already exists"));
    }
    if (const auto error = session_.plan(found->second.what)) return fail(*error);
    portals_.insert_or_assign(
        name,
        portal{found->second.what, std::move(arguments), {}, "", 0, false, session_.transactions_ended()}
    );
    empty_message(bind_complete);
}

void backend_model::describe(byte_reader body) {
    const char kind = static_cast<char>(body.u8());
    const std::string name(body.cstring());
    session_.begin_implicit();
    const statement* what = nullptr;
    if (kind == 'S') {
        const auto found = session_.statements().find(name);
        if (found == session_.statements().end()) {
            return fail(make_error(
                "26000", name.empty() ? "unnamed prepared statement does not exist"
                                      : "prepared statement \"" + name + "\" does not exist"
            ));
        }
        what = &found->second.what;
    } else if (const portal* found = find_portal(name)) {
        what = &found->what;
    } else {
        return fail(make_error("34000", "portal \"" + name + "\" does not exist"));
    }
    const auto columns = session_.columns(*what);
    if (columns && session_.in_failed_block()) return fail(aborted_transaction());
    if (kind == 'S') {
        message_builder builder(out, parameter_description);
        builder.u16(static_cast<unsigned>(what->parameters));
        for (std::size_t at = 0; at < what->parameters; ++at)
            builder.u32(text_oid);
        builder.end();
    }
    if (columns) {
        row_description(*columns);
    } else {
        empty_message(no_data);
    }
}

void backend_model::execute(byte_reader body) {
    const std::string name(body.cstring());
    const std::int32_t limit = body.i32();
    session_.begin_implicit();
    portal* found = find_portal(name);
    if (found == nullptr) return fail(make_error("34000", "portal \"" + name + "\" does not exist"));
    if (found->what.what == verb::empty) return empty_message(empty_query_response);
    if (refused_in_failed_block(&found->what)) return;
    if (found->executed && !found->rows) {
        return fail(make_error("55000", "portal \"" + name + "\" cannot be run"));
    }
    running next{{}, found->position, limit > 0 ? found->position + limit : -1, 0, name, true};
    if (found->rows) {
        next.result.tag = found->tag;
        next.result.rows = std::move(found->rows);
    } else {
        // The portal may end with the transaction the statement ends, so it is not touched after this.
        found->executed = true;
        const statement what = found->what;
        next.result = session_.execute(what, found->arguments);
    }
    start(std::move(next), found->what.name);
}

void backend_model::close(byte_reader body) {
    const char kind = static_cast<char>(body.u8());
    const std::string name(body.cstring());
    if (kind == 'S') {
        session_.statements().erase(name);
    } else {
        portals_.erase(name);
    }
    empty_message(close_complete);
}

void backend_model::function_call(byte_reader body) {
    body.u32();
    in_simple_query_ = true;
    if (session_.in_failed_block()) return fail(aborted_transaction());
    session_.begin_implicit();
    body.u16();
    const unsigned count = body.u16();
    std::string joined;
    for (unsigned at = 0; at < count && !body.failed(); ++at) {
        joined += protocol::as_text(body.bytes(static_cast<std::size_t>(std::max(body.i32(), 0))));
    }
    message_builder(out, function_call_response).value(joined).end();
    next_simple_statement();
}

// ---- errors and ends

void backend_model::fail(const error_fields& error) {
    running_.reset();
    script_.clear();
    doing_ = activity::ready;
    session_.fail();
    send_error(error_response, error);
    if (in_simple_query_) {
        in_simple_query_ = false;
        return ready_for_query();
    }
    skip_to_sync_ = true;
}

void backend_model::protocol_violation(const std::string& text) { fail(make_error("08P01", text)); }

void backend_model::cancel(const std::string& code, const std::string& text) {
    const bool interruptible =
        doing_ == activity::sleeping || doing_ == activity::locking || doing_ == activity::rows;
    if (interruptible) fail(make_error(code, text));
}

void backend_model::terminate(const std::string& code, const std::string& text) {
    if (doing_ == activity::gone) return;
    running_.reset();
    session_.abandon();
    send_error(error_response, make_error(code, text, "FATAL"));
    doing_ = activity::gone;
    flush_wanted_ = true;
}

bool backend_model::refused_in_failed_block(const statement* what) {
    if (!session_.in_failed_block() || what->ends_transaction() || what->what == verb::empty) return false;
    fail(aborted_transaction());
    return true;
}

backend_model::portal* backend_model::find_portal(const std::string& name) {
    // Portals do not outlive the transaction that made them.
    std::erase_if(portals_, [this](const auto& named) {
        return named.second.transaction != session_.transactions_ended();
    });
    const auto found = portals_.find(name);
    return found == portals_.end() ? nullptr : &found->second;
}

}  // namespace pgmend::sim
