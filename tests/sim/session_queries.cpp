// The half of session_model that reads and writes rows and evaluates expressions.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "tests/sim/session_model.hpp"

namespace pgmend::sim {

using verb = statement::verb;

namespace {

/// Longest text one value may have, so that a script cannot ask for the machine's memory.
constexpr std::int64_t value_bytes_max = 16 * 1024 * 1024;

std::optional<std::int64_t> to_integer(const text_or_null& text) {
    if (!text) return std::nullopt;
    std::int64_t value = 0;
    const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
    if (result.ec != std::errc{} || result.ptr != text->data() + text->size()) return std::nullopt;
    return value;
}

/// Seconds with a fraction, as microseconds; by integers, so that every machine agrees.
std::int64_t to_microseconds(const std::string& seconds) {
    const auto dot = seconds.find('.');
    const auto whole = to_integer(seconds.substr(0, dot)).value_or(0);
    std::string fraction = dot == std::string::npos ? "" : seconds.substr(dot + 1);
    fraction.resize(6, '0');
    return whole * 1'000'000 + to_integer(fraction).value_or(0);
}

text_or_null arithmetic(
    char operation, std::int64_t left, std::int64_t right, std::optional<error_fields>& error
) {
    switch (operation) {
        case '+':
            return std::to_string(left + right);
        case '-':
            return std::to_string(left - right);
        case '*':
            return std::to_string(left * right);
        default:
            break;
    }
    if (right == 0) {
        error = make_error("22012", "division by zero");
        return std::nullopt;
    }
    return std::to_string(left / right);
}

outcome failed_with(std::string code, std::string text) {
    outcome out;
    out.error = make_error(std::move(code), std::move(text));
    return out;
}

outcome changed(const std::string& verb_tag, int rows) {
    outcome out;
    out.tag = verb_tag + " " + std::to_string(rows);
    return out;
}

outcome no_relation(const std::string& name) {
    return failed_with("42P01", "relation \"" + name + "\" does not exist");
}

}  // namespace

text_or_null session_model::evaluate(
    const expression& what, scope& with, std::optional<error_fields>& error
) {
    switch (what.what) {
        case expression::kind::text:
        case expression::kind::number:
            return what.text;
        case expression::kind::parameter:
            if (what.index < with.arguments.size()) return with.arguments[what.index];
            error = make_error("42P02", "there is no parameter $" + std::to_string(what.index + 1));
            return std::nullopt;
        case expression::kind::column:
            if (const auto found = with.columns.find(what.text); found != with.columns.end())
                return found->second;
            if (what.text == "current_user") return current_user();
            if (what.text == "session_user") return parameter("session_authorization");
            error = make_error("42703", "column \"" + what.text + "\" does not exist");
            return std::nullopt;
        case expression::kind::call:
            return call(what, with, error);
        case expression::kind::binary:
            break;
    }
    const auto left = evaluate(what.operands[0], with, error);
    const auto right = evaluate(what.operands[1], with, error);
    if (error || !left || !right) return std::nullopt;
    if (what.text == "||") return *left + *right;
    if (what.text == "<>") return *left != *right ? "t" : "f";
    if (what.text == "or") return *left == "t" || *right == "t" ? "t" : "f";
    const auto left_number = to_integer(left);
    const auto right_number = to_integer(right);
    if (!left_number || !right_number) {
        error = make_error(
            "22P02", "invalid input syntax for type integer: \"" + (left_number ? *right : *left) + "\""
        );
        return std::nullopt;
    }
    return arithmetic(what.text[0], *left_number, *right_number, error);
}

text_or_null session_model::call(const expression& what, scope& with, std::optional<error_fields>& error) {
    std::vector<text_or_null> given;
    for (const auto& operand : what.operands)
        given.push_back(evaluate(operand, with, error));
    if (error) return std::nullopt;
    const std::string& name = what.text;
    const auto text = [&](std::size_t at) { return at < given.size() ? given[at].value_or("") : ""; };
    const auto number = [&](std::size_t at) {
        return at < given.size() ? to_integer(given[at]).value_or(0) : 0;
    };
    if (name == "repeat") {
        std::string out;
        const std::string piece = text(0);
        const auto times = std::min<std::int64_t>(number(1), value_bytes_max);
        out.reserve(piece.size() * static_cast<std::size_t>(std::max<std::int64_t>(times, 0)));
        for (std::int64_t done = 0; done < times; ++done)
            out += piece;
        return out;
    }
    if (name == "exists") return exists_in_catalog(text(0), text(1)) ? "t" : "f";
    if (name == "length") return std::to_string(text(0).size());
    if (name == "pg_backend_pid") return std::to_string(id_);
    if (name == "pg_is_in_recovery") return "f";
    if (name == "current_setting") {
        const auto canonical = canonical_parameter(text(0));
        if (canonical && (!is_custom(*canonical) || parameter_is_set(*canonical)))
            return parameter(*canonical);
        if (text(1) == "true") return std::nullopt;
        error = make_error("42704", "unrecognized configuration parameter \"" + text(0) + "\"");
        return std::nullopt;
    }
    if (name == "set_config") {
        const outcome set = set_value(text(0), text(1), text(2) == "true");
        if (set.error) error = set.error;
        return parameter(canonical_parameter(text(0)).value_or(""));
    }
    if (with.effects != nullptr) {
        if (name == "pg_sleep") return with.effects->sleep_us = to_microseconds(text(0)), "";
        if (name == "pg_advisory_lock") return with.effects->lock = number(0), "";
        if (name == "pg_notify") return now_.notifications.emplace_back(text(0), text(1)), "";
        if (name == "pg_advisory_unlock_all") return database_.unlock_all(id_), "";
        if (name == "pg_advisory_unlock") {
            if (database_.unlock(number(0), id_)) return "t";
            with.effects->notices.push_back(
                make_error("01000", "you don't own a lock of type ExclusiveLock", "WARNING")
            );
            return "f";
        }
    }
    error = make_error("42883", "function " + name + " does not exist");
    return std::nullopt;
}

namespace {

/// The first column of `what` that is not among `known`; empty when all are.
std::string unknown_column(const expression& what, const std::vector<std::string>& known) {
    if (what.what == expression::kind::column) {
        return std::find(known.begin(), known.end(), what.text) == known.end() ? what.text : "";
    }
    for (const auto& operand : what.operands) {
        if (auto name = unknown_column(operand, known); !name.empty()) return name;
    }
    return "";
}

bool divides_by_constant_zero(const expression& what) {
    const bool constant = what.operands.size() == 2 && what.operands[0].what == expression::kind::number &&
                          what.operands[1].what == expression::kind::number;
    if (what.what == expression::kind::binary && what.text == "/" && constant)
        return what.operands[1].text == "0";
    return std::any_of(what.operands.begin(), what.operands.end(), divides_by_constant_zero);
}

}  // namespace

std::optional<error_fields> session_model::analyze(const statement& what) const {
    if (what.what != verb::select) return std::nullopt;
    std::vector<std::string> known = {"current_user", "session_user"};
    if (what.series) known.push_back(what.series->name);
    if (!what.table.empty()) known.insert(known.end(), {"k", "v", "*"});
    if (!what.table.empty() && !is_table(what.table)) {
        return make_error("42P01", "relation \"" + what.table + "\" does not exist");
    }
    for (const auto& output : what.outputs) {
        const std::string name = unknown_column(output, known);
        if (!name.empty()) return make_error("42703", "column \"" + name + "\" does not exist");
    }
    return std::nullopt;
}

std::optional<error_fields> session_model::plan(const statement& what) const {
    const bool broken = what.what == verb::select &&
                        std::any_of(what.outputs.begin(), what.outputs.end(), divides_by_constant_zero);
    if (!broken) return std::nullopt;
    return make_error("22012", "division by zero");
}

std::optional<std::string> session_model::read_row(const std::string& key) const {
    if (const auto own = now_.writes.find(key); own != now_.writes.end()) return own->second;
    return on_standby_ ? database_.replayed_row(key) : database_.row(key);
}

std::optional<std::vector<std::string>> session_model::columns(const statement& what) const {
    if (what.what == verb::select) return what.output_names;
    if (what.what == verb::show)
        return std::vector<std::string>{canonical_parameter(what.name).value_or(what.name)};
    if (what.what == verb::execute) {
        const auto found = statements_.find(what.name);
        if (found != statements_.end()) return columns(found->second.what);
    }
    if (what.what == verb::fetch) {
        const auto found = now_.cursors.find(what.name);
        if (found != now_.cursors.end()) return found->second.rows.columns;
    }
    return std::nullopt;
}

std::optional<error_fields> session_model::make_row(const row_source& from, std::int64_t number, row& into) {
    if (from.is_fixed) {
        into = from.fixed[static_cast<std::size_t>(number)];
        return std::nullopt;
    }
    scope with{from.arguments, {}, nullptr};
    if (!from.series_name.empty()) with.columns[from.series_name] = std::to_string(from.first + number);
    std::optional<error_fields> error;
    into.clear();
    for (const auto& output : from.outputs)
        into.push_back(evaluate(output, with, error));
    return error;
}

outcome session_model::select(const statement& what, const std::vector<text_or_null>& arguments) {
    outcome out;
    out.tag = what.tag;
    row_source rows;
    rows.columns = what.output_names;
    std::optional<error_fields> error;
    scope with{arguments, {}, &out};
    if (what.series) {
        rows.series_name = what.series->name;
        rows.first = to_integer(evaluate(what.series->first, with, error)).value_or(1);
        rows.count = std::max<std::int64_t>(
            to_integer(evaluate(what.series->last, with, error)).value_or(0) - rows.first + 1, 0
        );
        rows.outputs = what.outputs;
        rows.arguments = arguments;
    } else {
        // The rest has few rows and may have effects: computed at once, so that each effect happens once.
        rows.is_fixed = true;
        std::vector<std::map<std::string, std::string>> from;
        if (what.table.empty()) {
            from.emplace_back();
        } else if (!is_table(what.table)) {
            return no_relation(what.table);
        } else if (what.table == "kv") {
            const auto key = what.where ? evaluate(*what.where, with, error) : text_or_null{};
            const auto value = read_row(key.value_or(""));
            if (value) from.push_back({{"k", *key}, {"v", *value}});
        } else {
            for (const auto& value : now_.temp_tables.at(what.table))
                from.push_back({{"v", value}, {"*", value}});
        }
        const bool asks_channels = what.outputs.size() == 1 &&
                                   what.outputs[0].text == "pg_listening_channels" &&
                                   what.outputs[0].what == expression::kind::call;
        if (asks_channels) {
            from.clear();
            for (const auto& channel : now_.channels)
                rows.fixed.push_back({channel});
        }
        for (auto& columns : from) {
            with.columns = std::move(columns);
            rows.fixed.emplace_back();
            for (const auto& output : what.outputs)
                rows.fixed.back().push_back(evaluate(output, with, error));
        }
    }
    if (error) out.error = std::move(error);
    out.rows = std::move(rows);
    return out;
}

outcome session_model::survey(const statement& what) const {
    outcome out;
    out.tag = what.tag;
    row_source rows;
    rows.columns = {"kind", "name", "flags", "extra"};
    rows.is_fixed = true;
    rows.fixed.push_back({"version", "1", "", ""});
    if (!what.hold) {
        rows.fixed.push_back(
            {"function", "audit", "v-plpgsql",
             "BEGIN PERFORM set_config('work_mem', NEW.v, false); RETURN NEW; END"}
        );
        rows.fixed.push_back({"link", "audit", "", "audited"});
    }
    out.rows = std::move(rows);
    return out;
}

outcome session_model::source(const statement& what) const {
    const std::string name = "default_transaction_read_only";
    outcome out;
    out.tag = what.tag;
    row_source rows;
    rows.columns = {"source"};
    rows.is_fixed = true;
    rows.fixed.push_back(
        {now_.settings.contains(name) ? "session"
         : defaults_.contains(name)   ? "client"
         : database_.read_only()      ? "configuration file"
                                      : "default"}
    );
    out.rows = std::move(rows);
    return out;
}

/// One row where the backend was there, and is gone now.
outcome session_model::evict(const statement& what) {
    outcome out;
    out.tag = what.tag;
    row_source rows;
    rows.columns = {"case"};
    rows.is_fixed = true;
    const auto pid = to_integer(what.name);
    if (pid && database_.end_session(static_cast<session_id>(*pid))) rows.fixed.push_back({"t"});
    out.rows = std::move(rows);
    return out;
}

outcome session_model::about_commits(const statement& what) {
    outcome out;
    out.tag = what.tag;
    row_source rows;
    rows.is_fixed = true;
    const std::string start = std::to_string(database_.starts());
    const auto place = [](std::uint64_t bytes) {
        std::array<char, 20> text{};
        const auto end = std::to_chars(text.data(), text.data() + text.size(), bytes, 16).ptr;
        return "0/" + std::string(text.data(), end);
    };
    const std::string where = place(database_.checkpoint());
    std::string timeline = std::to_string(database_.timeline());
    timeline.insert(0, 8 - timeline.size(), '0');
    row columns{"1", start, timeline, where, where};
    if (what.what == verb::life) {
        columns.emplace_back("");
    } else if (what.what == verb::fate) {
        const auto number = to_integer(what.name);
        columns.insert(
            columns.begin(), database_.number_status(static_cast<std::uint64_t>(number.value_or(0)))
        );
        columns.emplace_back("f");
    } else {
        columns = {std::nullopt, std::nullopt, std::nullopt};
        if (number_ != 0) {
            const auto written = database_.write_record();
            columns = {std::to_string(number_), place(written.end), written.token};
        }
    }
    rows.columns.assign(columns.size(), "column");
    rows.fixed.push_back(std::move(columns));
    out.rows = std::move(rows);
    return out;
}

outcome session_model::write(const statement& what, const std::vector<text_or_null>& arguments) {
    outcome out;
    out.tag = what.tag;
    if (what.what == verb::create_temp) {
        if (!now_.temp_tables.try_emplace(what.name).second) {
            return failed_with("42P07", "relation \"" + what.name + "\" already exists");
        }
        if (what.on_commit_drop) now_.dropped_on_commit.insert(what.name);
        return out;
    }
    if (what.what == verb::drop_table) {
        if (now_.temp_tables.erase(what.name) == 0) {
            return failed_with("42P01", "table \"" + what.name + "\" does not exist");
        }
        now_.dropped_on_commit.erase(what.name);
        return out;
    }
    const auto temp = now_.temp_tables.find(what.name);
    const bool insert = what.what == verb::insert;
    if (!is_table(what.name) || (!insert && what.name != "kv")) return no_relation(what.name);

    std::optional<error_fields> error;
    scope with{arguments, {}, nullptr};
    const auto key_of = [&] {
        return insert ? evaluate(what.outputs.at(0), with, error) : evaluate(*what.where, with, error);
    };
    const std::string key = key_of().value_or("");
    if (error) return failed_with(error->code, error->text);
    if (insert && what.name == "audited") {
        const outcome set = set_value("work_mem", key, false);
        return set.error ? failed_with(set.error->code, set.error->text) : changed(what.tag, 1);
    }
    if (insert && what.name != "kv") {
        temp->second.push_back(key);
        return changed(what.tag, 1);
    }
    const auto old = read_row(key);
    if (what.what == verb::delete_from) {
        if (old) take_number();
        if (old) now_.writes[key] = std::nullopt;
        return changed(what.tag, old ? 1 : 0);
    }
    if (insert && old) {
        return failed_with("23505", "duplicate key value violates unique constraint \"kv_pkey\"");
    }
    if (!insert && !old) return changed(what.tag, 0);
    if (!insert) with.columns = {{"k", key}, {"v", *old}};
    if (insert && what.outputs.size() != 2)
        return failed_with("42601", "INSERT has the wrong number of expressions");
    const auto value = evaluate(what.outputs.at(insert ? 1 : 0), with, error);
    if (error) return failed_with(error->code, error->text);
    take_number();
    now_.writes[key] = value.value_or("");
    return changed(what.tag, 1);
}

std::optional<error_fields> session_model::copy_line(const std::string& table, const std::string& line) {
    const auto tab = line.find('\t');
    const std::string key = line.substr(0, tab);
    if (const auto temp = now_.temp_tables.find(table); temp != now_.temp_tables.end()) {
        temp->second.push_back(key);
        return std::nullopt;
    }
    if (tab == std::string::npos) return make_error("22P04", "missing data for column \"v\"");
    if (read_row(key)) {
        return make_error("23505", "duplicate key value violates unique constraint \"kv_pkey\"");
    }
    take_number();
    now_.writes[key] = line.substr(tab + 1);
    return std::nullopt;
}

}  // namespace pgmend::sim
