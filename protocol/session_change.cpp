#include "protocol/session_change.hpp"

#include "protocol/sql_scanner.hpp"
#include "protocol/statement_parser.h"

#include <algorithm>
#include <optional>

namespace pgmend::protocol {
namespace {

using kind = session_change_kind;

std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }

/// ASCII alone, as PostgreSQL folds parameter names.
std::string folded(std::string name) {
    for (char& c : name) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return name;
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\n\r\f";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) + 1 - first);
}

bool ends_with_transaction(std::string_view parameter) {
    return parameter == "transaction_isolation" || parameter == "transaction_read_only" ||
           parameter == "transaction_deferrable";
}

/// Parameters whose value is a list of names (GUC_LIST_QUOTE) that a session may set. SET takes them one by
/// one; set_config takes the list as one text.
bool is_name_list(std::string_view parameter) {
    return parameter == "search_path" || parameter == "temp_tablespaces" ||
           parameter == "local_preload_libraries" || parameter == "session_preload_libraries";
}

/// `"$user", Public` → `'$user', 'public'`. Empty where PostgreSQL would not read it as a list.
std::optional<std::string> requote_name_list(std::string_view list) {
    std::string out;
    list = trimmed(list);
    if (list.empty()) return "''";
    while (true) {
        std::string name;
        if (!list.empty() && list[0] == '"') {
            std::size_t at = 1;
            for (; at < list.size(); ++at) {
                if (list[at] == '"') {
                    if (at + 1 >= list.size() || list[at + 1] != '"') break;
                    ++at;
                }
                name += list[at];
            }
            if (at >= list.size()) return std::nullopt;
            list.remove_prefix(at + 1);
        } else {
            const auto end = std::min(list.find_first_of(", \t\n\r\f"), list.size());
            // PostgreSQL folds what stands unquoted; beyond ASCII it does so by the server's locale.
            name = folded(std::string(list.substr(0, end)));
            if (std::any_of(name.begin(), name.end(), [](char c) { return c == '"' || c < 0; })) {
                return std::nullopt;
            }
            list.remove_prefix(end);
        }
        if (name.empty()) return std::nullopt;
        out += quote_literal(name);
        list = trimmed(list);
        if (list.empty()) return out;
        if (list[0] != ',') return std::nullopt;
        list = trimmed(list.substr(1));
        out += ", ";
    }
}

class change_collector {
public:
    explicit change_collector(std::string_view text) : text_(text) {}

    static void receive(void* context, const parsed_fact* fact) noexcept {
        static_cast<change_collector*>(context)->take(*fact);
    }

    std::vector<session_change> result() {
        finish_statement();
        return std::move(changes_);
    }

private:
    void take(const parsed_fact& fact) {
        switch (fact.kind) {
            case fact_statement:
                return statement(fact);
            case fact_set:
                return set(fact);
            case fact_set_text:
                return add_value(quote_literal(text_of(fact.value)));
            case fact_set_number:
                return add_value(text_of(fact.value));
            case fact_set_opaque:
                opaque_ = true;
                return;
            case fact_config:
                return config(fact);
            case fact_discard:
                return discard(text_of(fact.name));
            case fact_function:
                // One that a fact_config explains is taken off the count again.
                if (text_of(fact.name) == "set_config") ++unexplained_configs_;
                return;
            case fact_write:
                if (text_of(fact.name) == "pg_settings") unclear_ = true;
                return;
            case fact_nested:
                return nested(fact);
            case fact_not_understood:
                unclear_ = true;
                return;
            case fact_planned_call:
            case fact_relation:
            case fact_row_lock:
            case fact_no_block:
            case fact_outside:
            case fact_hides:
            case fact_hold:
                return;  // effects, but nothing that could be said again elsewhere
        }
    }

    session_change& add(kind what, std::string name = {}, bool is_local = false) {
        session_change& change = changes_.emplace_back();
        change.kind = what;
        change.statement = statement_ - 1;
        change.name = std::move(name);
        change.is_local = is_local;
        return change;
    }

    void add_value(std::string_view value) {
        if (changes_.empty() || changes_.back().kind == kind::set_transaction) return;
        std::string& whole = changes_.back().value;
        if (!whole.empty()) whole += ", ";
        whole += value;
    }

    /// What could not be expressed makes one `other` of the statement's own.
    void finish_statement() {
        if (statement_ == 0) return;
        if (opaque_) {
            // The SET whose value has no plain form is the last one: SET has values in one statement alone.
            changes_.back().kind = kind::other;
            changes_.back().value.clear();
        }
        if (unclear_ || unexplained_configs_ > 0) add(kind::other);
        opaque_ = unclear_ = false;
        unexplained_configs_ = 0;
    }

    void statement(const parsed_fact& fact) {
        finish_statement();
        ++statement_;
        if (const auto control = control_of(fact.node)) {
            add(*control, text_of(fact.name));
        } else if (fact.node == parsed_prepare) {
            const auto whole =
                fact.length != 0 ? text_.substr(fact.offset, fact.length) : text_.substr(fact.offset);
            add(kind::prepare, text_of(fact.name)).value = trimmed(whole);
        } else if (fact.node == parsed_execute) {
            add(kind::execute, text_of(fact.name));
        } else if (fact.node == parsed_deallocate) {
            add(fact.name == nullptr ? kind::deallocate_all : kind::deallocate, text_of(fact.name));
        } else if (fact.node == parsed_listen) {
            add(kind::listen, text_of(fact.name));
        } else if (fact.node == parsed_unlisten) {
            add(fact.name == nullptr ? kind::unlisten_all : kind::unlisten, text_of(fact.name));
        } else if (fact.node == parsed_other) {
            unclear_ = true;
        }
        at_top_ = true;
    }

    static std::optional<kind> control_of(parsed_node node) {
        if (node == parsed_begin) return kind::begin;
        if (node == parsed_commit || node == parsed_prepare_transaction) return kind::commit;
        if (node == parsed_rollback) return kind::rollback;
        if (node == parsed_savepoint) return kind::savepoint;
        if (node == parsed_release) return kind::release;
        if (node == parsed_rollback_to) return kind::rollback_to;
        return std::nullopt;
    }

    /// Every statement that is no expression is reported as nested in itself first.
    void nested(const parsed_fact& fact) {
        if (!at_top_ && fact.node == parsed_execute) add(kind::execute, text_of(fact.name));
        at_top_ = false;
    }

    void set(const parsed_fact& fact) {
        const bool is_local = fact.flag != 0;
        std::string name = folded(text_of(fact.name));
        if (fact.form == set_form_all) {
            add(kind::reset_all);
        } else if (fact.form == set_form_transaction || ends_with_transaction(name)) {
            add(kind::set_transaction);
        } else {
            parameter(std::move(name), fact.form == set_form_default, is_local);
        }
    }

    void parameter(std::string name, bool to_default, bool is_local) {
        if (name == "role") {
            add(to_default ? kind::reset_role : kind::set_role, {}, is_local);
        } else if (name == "session_authorization") {
            add(to_default ? kind::reset_session_authorization : kind::set_session_authorization, {},
                is_local);
        } else {
            add(to_default ? kind::reset_parameter : kind::set_parameter, std::move(name), is_local);
        }
    }

    void config(const parsed_fact& fact) {
        --unexplained_configs_;
        std::string name = folded(text_of(fact.name));
        const std::string value = text_of(fact.value);
        if (ends_with_transaction(name)) {
            add(kind::set_transaction);
            return;
        }
        const auto quoted = is_name_list(name) ? requote_name_list(value) : quote_literal(value);
        parameter(std::move(name), false, fact.flag != 0);
        if (quoted) {
            add_value(*quoted);
        } else {
            changes_.back().kind = kind::other;
        }
    }

    void discard(std::string_view what) {
        if (what == "all") {
            add(kind::discard_all);
        } else if (what == "plans") {
            add(kind::discard_plans);
        } else if (what == "sequences") {
            add(kind::discard_sequences);
        } else {
            add(kind::discard_temp);
        }
    }

    std::string_view text_;
    std::vector<session_change> changes_;
    std::uint32_t statement_ = 0;  // how many have begun
    int unexplained_configs_ = 0;  // calls of set_config whose effect is not in the list
    bool at_top_ = false;
    bool opaque_ = false;
    bool unclear_ = false;
};

std::string quoted(std::string_view text, char quote) {
    std::string out(1, quote);
    for (const char c : text) {
        if (c == quote) out += c;
        out += c;
    }
    out += quote;
    return out;
}

}  // namespace

std::vector<session_change> session_changes(std::string_view text, std::size_t max_text_bytes) {
    const std::vector<session_change> unreadable(1);
    if (text.size() > max_text_bytes || text.find('\0') != std::string_view::npos) return unreadable;
    const auto plain = without_comments(text);
    if (!plain) return unreadable;
    change_collector changes(*plain);
    if (parse_statements(plain->c_str(), &change_collector::receive, &changes) == 0) return unreadable;
    return changes.result();
}

bool names_word(std::string_view text, std::string_view word) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    const auto same = [&lower](char a, char b) { return lower(a) == lower(b); };
    const auto part_of_word = [&lower](char c) {
        return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
               static_cast<unsigned char>(c) >= 0x80;
    };
    for (auto at = text.begin(); !word.empty();) {
        at = std::search(at, text.end(), word.begin(), word.end(), same);
        if (at == text.end()) return false;
        const auto behind = at + static_cast<std::ptrdiff_t>(word.size());
        const bool whole =
            (at == text.begin() || !part_of_word(at[-1])) && (behind == text.end() || !part_of_word(*behind));
        if (whole) return true;
        ++at;
    }
    return false;
}

bool speaks_of_logins(std::string_view ddl) noexcept {
    return names_word(ddl, "database") || names_word(ddl, "role") || names_word(ddl, "user") ||
           names_word(ddl, "group");
}

std::string quote_identifier(std::string_view name) { return quoted(name, '"'); }

std::string quote_literal(std::string_view value) {
    if (value.find('\\') == std::string_view::npos) return quoted(value, '\'');
    std::string escaped;
    for (const char c : value) {
        if (c == '\\') escaped += c;
        escaped += c;
    }
    return "E" + quoted(escaped, '\'');
}

}  // namespace pgmend::protocol
