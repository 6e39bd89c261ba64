#include "tests/sim/session_model.hpp"

#include <algorithm>

namespace pgmend::sim {

using verb = statement::verb;

error_fields make_error(std::string code, std::string text, std::string severity) {
    return {std::move(severity), std::move(code), std::move(text)};
}

namespace {

/// EXECUTEs within one another: far from the end of any stack, and far beyond what clients mean.
constexpr int deepest = 32;

outcome failure(std::string code, std::string text) {
    outcome out;
    out.error = make_error(std::move(code), std::move(text));
    return out;
}

outcome done(std::string tag) {
    outcome out;
    out.tag = std::move(tag);
    return out;
}

outcome done_with_warning(std::string tag, std::string code, std::string text) {
    outcome out = done(std::move(tag));
    out.notices.push_back(make_error(std::move(code), std::move(text), "WARNING"));
    return out;
}

}  // namespace

session_model::session_model(
    sim_database& database, session_id id, std::map<std::string, std::string> defaults
)
    : database_(database),
      id_(id),
      defaults_(std::move(defaults)),
      on_standby_(defaults_.contains("in_hot_standby") && defaults_.at("in_hot_standby") == "on") {}

session_model::~session_model() {
    abandon();
    database_.forget(id_);
}

// ---- transactions

void session_model::begin_implicit() {
    if (block_ != block::none) return;
    block_ = block::implicit;
    before_ = now_;
    read_only_ = parameter("default_transaction_read_only") == "on";
}

void session_model::end_implicit() {
    if (block_ == block::implicit) commit_values();
}

void session_model::commit_values() {
    if (number_ != 0) database_.number_ended(std::exchange(number_, 0), number_start_, true);
    database_.commit(now_.writes);
    now_.writes.clear();
    now_.local_settings.clear();
    for (const auto& name : now_.dropped_on_commit)
        now_.temp_tables.erase(name);
    now_.dropped_on_commit.clear();
    std::erase_if(now_.cursors, [](const auto& named) { return !named.second.hold; });
    const auto notifications = std::exchange(now_.notifications, {});
    if (now_.channels != before_.channels) database_.listen(id_, now_.channels, notification_sink_);
    end_transaction();
    for (const auto& [channel, payload] : notifications)
        database_.notify(id_, channel, payload);
}

void session_model::roll_back() {
    if (number_ != 0) database_.number_ended(std::exchange(number_, 0), number_start_, false);
    now_ = before_;
    end_transaction();
}

void session_model::end_transaction() {
    savepoints_.clear();
    block_ = block::none;
    ++transactions_ended_;
}

void session_model::fail() {
    if (block_ == block::implicit || block_ == block::none) {
        if (block_ == block::implicit) roll_back();
        return;
    }
    block_ = block::failed;
}

void session_model::abandon() {
    if (block_ != block::none) roll_back();
}

void session_model::lose(bool in_block) {
    abandon();
    if (!in_block) return;
    before_ = now_;
    block_ = block::failed;
}

outcome session_model::begin(const statement& what) {
    if (block_ == block::open) {
        // READ ONLY holds all the same.
        read_only_ = read_only_ || what.read_only.value_or(false);
        return done_with_warning(what.tag, "25001", "there is already a transaction in progress");
    }
    // Inside an implicit transaction, what came before becomes part of the block.
    if (block_ == block::none) before_ = now_;
    block_ = block::open;
    if (what.read_only) read_only_ = *what.read_only;
    return done(what.tag);
}

outcome session_model::finish(const statement& what) {
    const bool was_block = block_ == block::open || block_ == block::failed;
    if (!was_block && what.chain) {
        return failure("25P01", std::string(what.tag) + " AND CHAIN can only be used in transaction blocks");
    }
    // A transaction that failed has forgotten how it was begun, also for the one that is chained to it.
    if (block_ == block::failed) read_only_ = parameter("default_transaction_read_only") == "on";
    const bool committing = what.what == verb::commit && block_ != block::failed;
    if (committing) {
        commit_values();
    } else {
        roll_back();
    }
    if (what.chain) {
        before_ = now_;
        block_ = block::open;
    }
    const std::string tag = committing ? "COMMIT" : "ROLLBACK";
    if (!was_block) return done_with_warning(tag, "25P01", "there is no transaction in progress");
    return done(tag);
}

outcome session_model::savepoint_statement(const statement& what) {
    if (block_ != block::open && block_ != block::failed) {
        return failure(
            "25P01", std::string(
                         what.tag == "RELEASE"            ? "RELEASE SAVEPOINT"
                         : what.what == verb::rollback_to ? "ROLLBACK TO SAVEPOINT"
                                                          : "SAVEPOINT"
                     ) + " can only be used in transaction blocks"
        );
    }
    if (what.what == verb::savepoint) {
        savepoints_.push_back({what.name, now_});
        return done(what.tag);
    }
    const auto found = std::find_if(savepoints_.rbegin(), savepoints_.rend(), [&](const savepoint& known) {
        return known.name == what.name;
    });
    if (found == savepoints_.rend()) {
        return failure("3B001", "savepoint \"" + what.name + "\" does not exist");
    }
    const auto place = static_cast<std::size_t>(savepoints_.rend() - found) - 1;
    if (what.what == verb::release) {
        savepoints_.resize(place);
        return done(what.tag);
    }
    now_ = savepoints_[place].before;
    savepoints_.resize(place + 1);
    block_ = block::open;
    return done(what.tag);
}

protocol::transaction_status session_model::status() const noexcept {
    switch (block_) {
        case block::open:
            return protocol::transaction_status::in_block;
        case block::failed:
            return protocol::transaction_status::failed;
        case block::none:
        case block::implicit:
            break;
    }
    return protocol::transaction_status::idle;
}

// ---- parameters

std::string session_model::parameter(const std::string& canonical) const {
    if (const auto local = now_.local_settings.find(canonical); local != now_.local_settings.end()) {
        return local->second;
    }
    if (const auto set = now_.settings.find(canonical); set != now_.settings.end()) return set->second;
    if (const auto start = defaults_.find(canonical); start != defaults_.end()) return start->second;
    if (canonical == "default_transaction_read_only" && database_.read_only()) return "on";
    const auto* known = find_parameter(canonical);
    return known == nullptr ? "" : std::string(known->default_value);
}

bool session_model::parameter_is_set(const std::string& canonical) const {
    return placeholders_.contains(canonical) || now_.settings.contains(canonical) ||
           now_.local_settings.contains(canonical) || defaults_.contains(canonical);
}

std::string session_model::current_user() const {
    const std::string role = parameter("role");
    return role == "none" ? parameter("session_authorization") : role;
}

outcome session_model::set_value(
    const std::string& name, const std::optional<std::string>& value, bool local
) {
    const auto canonical = canonical_parameter(name);
    if (!canonical) return failure("42704", "unrecognized configuration parameter \"" + name + "\"");
    const auto* known = find_parameter(*canonical);
    if (known != nullptr && !known->settable) {
        return failure("55P02", "parameter \"" + *canonical + "\" cannot be changed");
    }
    auto& settings = local ? now_.local_settings : now_.settings;
    if (!local) now_.local_settings.erase(*canonical);
    if (!value) {
        settings.erase(*canonical);
        return done("SET");
    }
    const auto accepted = canonical_value(*canonical, *value);
    if (!accepted) {
        return failure("22023", "invalid value for parameter \"" + *canonical + "\": \"" + *value + "\"");
    }
    if (is_custom(*canonical)) placeholders_.insert(*canonical);
    settings[*canonical] = *accepted;
    return done("SET");
}

outcome session_model::set(const statement& what) {
    if (what.local && block_ == block::implicit) {
        // It ends with its own implicit transaction; only what stands in the same one sees it.
        outcome out = set_value(what.name, what.value, true);
        out.notices.push_back(
            make_error("25P01", "SET LOCAL can only be used in transaction blocks", "WARNING")
        );
        return out;
    }
    return set_value(what.name, what.value, what.local);
}

// ---- statements by name, cursors, notifications

outcome session_model::prepared_statement(const statement& what) {
    if (what.what == verb::prepare) {
        if (statements_.contains(what.name)) {
            return failure("42P05", "prepared statement \"" + what.name + "\" already exists");
        }
        statements_.emplace(what.name, prepared{*what.inner, true});
        return done(what.tag);
    }
    if (what.what == verb::deallocate && what.name.empty()) {
        std::erase_if(statements_, [](const auto& named) { return !named.first.empty(); });
        return done(what.tag);
    }
    const auto found = statements_.find(what.name);
    if (found == statements_.end()) {
        return failure("26000", "prepared statement \"" + what.name + "\" does not exist");
    }
    if (what.what == verb::deallocate) {
        statements_.erase(found);
        return done(what.tag);
    }
    if (what.outputs.size() != found->second.what.parameters) {
        return failure("42601", "wrong number of parameters for prepared statement \"" + what.name + "\"");
    }
    std::vector<text_or_null> arguments;
    std::optional<error_fields> error;
    scope with{{}, {}, nullptr};
    for (const auto& argument : what.outputs)
        arguments.push_back(evaluate(argument, with, error));
    // A statement may be there, by the protocol, that executes itself.
    if (executing_ == deepest) return failure("54001", "stack depth limit exceeded");
    const statement inner = found->second.what;
    ++executing_;
    outcome result = execute(inner, arguments);
    --executing_;
    return result;
}

outcome session_model::cursor_statement(const statement& what) {
    if (what.what == verb::declare) {
        if (!what.hold && block_ != block::open) {
            return failure("25P01", "DECLARE CURSOR can only be used in transaction blocks");
        }
        if (now_.cursors.contains(what.name)) {
            return failure("42P03", "cursor \"" + what.name + "\" already exists");
        }
        outcome inner = select(*what.inner, {});
        if (inner.error) return inner;
        now_.cursors.emplace(what.name, cursor{std::move(*inner.rows), 0, what.hold});
        return done(what.tag);
    }
    if (what.what == verb::close && what.name.empty()) {
        now_.cursors.clear();
        return done(what.tag);
    }
    const auto found = now_.cursors.find(what.name);
    if (found == now_.cursors.end()) {
        return failure("34000", "cursor \"" + what.name + "\" does not exist");
    }
    if (what.what == verb::close) {
        now_.cursors.erase(found);
        return done(what.tag);
    }
    cursor& from = found->second;
    outcome out = done(what.tag);
    row_source rows;
    rows.columns = from.rows.columns;
    rows.is_fixed = true;
    const std::int64_t last = std::min(from.position + what.count, from.rows.size());
    for (; from.position < last; ++from.position) {
        rows.fixed.emplace_back();
        if (auto error = make_row(from.rows, from.position, rows.fixed.back())) {
            out.error = std::move(error);
            return out;
        }
    }
    out.rows = std::move(rows);
    return out;
}

outcome session_model::notify_statement(const statement& what) {
    if (what.what == verb::notify) {
        now_.notifications.emplace_back(what.name, what.value.value_or(""));
    } else if (what.what == verb::listen) {
        now_.channels.insert(what.name);
    } else if (what.name.empty()) {
        now_.channels.clear();
    } else {
        now_.channels.erase(what.name);
    }
    return done(what.tag);
}

outcome session_model::discard(const statement& what) {
    if (what.name == "temp" || what.name == "temporary") {
        now_.temp_tables.clear();
    } else if (what.name == "all") {
        if (block_ == block::open) {
            return failure("25001", "DISCARD ALL cannot run inside a transaction block");
        }
        database_.unlock_all(id_);
        now_.settings.clear();
        now_.local_settings.clear();
        now_.channels.clear();
        now_.temp_tables.clear();
        now_.cursors.clear();
        std::erase_if(statements_, [](const auto& named) { return !named.first.empty(); });
    } else if (what.name != "plans" && what.name != "sequences") {
        return failure("42601", "syntax error");
    }
    return done(what.tag);
}

std::vector<std::string> session_model::traces() const {
    std::vector<std::string> found;
    if (block_ == block::open || block_ == block::failed) found.push_back("an open transaction");
    if (!now_.temp_tables.empty()) found.push_back("temporary table " + now_.temp_tables.begin()->first);
    if (!now_.channels.empty()) found.push_back("LISTEN " + *now_.channels.begin());
    if (!now_.cursors.empty()) found.push_back("cursor " + now_.cursors.begin()->first);
    if (database_.holds_locks(id_)) found.push_back("a session advisory lock");
    return found;
}

bool session_model::exists_in_catalog(const std::string& name, const std::string& of) const {
    // Nobody but a session changes a parameter here, but for this one.
    if (name == "pg_settings") return of != "default_transaction_read_only" || now_.settings.contains(of);
    if (name == "pg_class") return !now_.temp_tables.empty();
    if (name == "pg_locks") return database_.holds_locks(id_);
    if (name == "pg_listening_channels") return !now_.channels.empty();
    if (name == "pg_prepared_statements") {
        return std::any_of(statements_.begin(), statements_.end(), [](const auto& one) {
            return one.second.from_sql;
        });
    }
    return std::any_of(now_.cursors.begin(), now_.cursors.end(), [](const auto& one) {
        return one.second.hold;
    });
}

// ---- dispatch

outcome session_model::parameter_statement(const statement& what) {
    if (what.what == verb::reset) {
        outcome out = set_value(what.name, std::nullopt, false);
        if (!out.error) out.tag = what.tag;
        return out;
    }
    if (what.what == verb::reset_all) {
        std::erase_if(now_.settings, [](const auto& set) {
            return set.first != "role" && set.first != "session_authorization";
        });
        now_.local_settings.clear();
        return done(what.tag);
    }
    if (what.what == verb::set_transaction && what.read_only && block_ == block::open)
        read_only_ = *what.read_only;
    if (what.what != verb::show) return done("SET");
    const auto canonical = canonical_parameter(what.name);
    const bool unset_custom = canonical && is_custom(*canonical) && !parameter_is_set(*canonical);
    if (!canonical || unset_custom) {
        return failure("42704", "unrecognized configuration parameter \"" + what.name + "\"");
    }
    outcome out = done(what.tag);
    out.rows.emplace();
    out.rows->columns = {*canonical};
    out.rows->is_fixed = true;
    out.rows->fixed = {row{parameter(*canonical)}};
    return out;
}

bool session_model::writes(const statement& what) const {
    if (what.what == verb::create_temp || what.what == verb::drop_table) return true;
    const bool changes_rows = what.what == verb::insert || what.what == verb::update ||
                              what.what == verb::delete_from || what.what == verb::copy_in;
    return changes_rows && is_table(what.name) && !now_.temp_tables.contains(what.name);
}

outcome session_model::execute(const statement& what, const std::vector<text_or_null>& arguments) {
    if (read_only_ && writes(what)) {
        const std::string word = what.what == verb::create_temp  ? "CREATE TABLE"
                                 : what.what == verb::drop_table ? "DROP TABLE"
                                 : what.what == verb::copy_in    ? "COPY FROM"
                                                                 : what.tag;
        return failure("25006", "cannot execute " + word + " in a read-only transaction");
    }
    switch (what.what) {
        case verb::begin:
            return begin(what);
        case verb::commit:
        case verb::rollback:
            return finish(what);
        case verb::savepoint:
        case verb::release:
        case verb::rollback_to:
            return savepoint_statement(what);
        case verb::set:
            return set(what);
        case verb::set_transaction:
        case verb::reset:
        case verb::reset_all:
        case verb::show:
            return parameter_statement(what);
        case verb::select:
            return select(what, arguments);
        case verb::survey:
            return survey(what);
        case verb::source:
            return source(what);
        case verb::evict:
            return evict(what);
        case verb::life:
        case verb::evidence:
        case verb::fate:
            return about_commits(what);
        case verb::insert:
        case verb::update:
        case verb::delete_from:
        case verb::create_temp:
        case verb::drop_table:
            return write(what, arguments);
        case verb::prepare:
        case verb::execute:
        case verb::deallocate:
            return prepared_statement(what);
        case verb::discard:
            return discard(what);
        case verb::listen:
        case verb::unlisten:
        case verb::notify:
            return notify_statement(what);
        case verb::declare:
        case verb::fetch:
        case verb::close:
            return cursor_statement(what);
        case verb::copy_in: {
            if (!is_table(what.name)) {
                return failure("42P01", "relation \"" + what.name + "\" does not exist");
            }
            outcome out = done(what.tag);
            out.copy = outcome::copying::in;
            return out;
        }
        case verb::copy_out: {
            outcome out = select(*what.inner, arguments);
            out.tag = what.tag;
            out.copy = outcome::copying::out;
            return out;
        }
        case verb::empty:
        case verb::unknown:
            break;
    }
    return failure("42601", "syntax error");
}

}  // namespace pgmend::sim
