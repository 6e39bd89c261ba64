#include "proxy/admin/admin_command.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "config/spelling.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::array shows{
    show_word{"help", show_topic::help},
    show_word{"version", show_topic::version},
    show_word{"config", show_topic::config},
    show_word{"databases", show_topic::databases},
    show_word{"pools", show_topic::pools},
    show_word{"peer_pools", show_topic::peer_pools},
    show_word{"clients", show_topic::clients},
    show_word{"servers", show_topic::servers},
    show_word{"sockets", show_topic::sockets},
    show_word{"active_sockets", show_topic::active_sockets},
    show_word{"users", show_topic::users},
    show_word{"stats", show_topic::stats},
    show_word{"stats_totals", show_topic::stats_totals},
    show_word{"stats_averages", show_topic::stats_averages},
    show_word{"totals", show_topic::totals},
    show_word{"lists", show_topic::lists},
    show_word{"mem", show_topic::mem},
    show_word{"state", show_topic::state},
    show_word{"dns_hosts", show_topic::dns_hosts},
    show_word{"dns_zones", show_topic::dns_zones},
    show_word{"peers", show_topic::peers},
    show_word{"topology", show_topic::topology},
    show_word{"pins", show_topic::pins},
    show_word{"limits", show_topic::limits},
    show_word{"memory", show_topic::memory},
    show_word{"breakers", show_topic::breakers},
    show_word{"healings", show_topic::healings},
    show_word{"statements", show_topic::statements},
    show_word{"coverage", show_topic::coverage},
    show_word{"protection", show_topic::protection},
    show_word{"health", show_topic::health}};

/// How a command is written behind its first word.
enum class form : std::uint8_t { alone, maybe_name, name, other };

struct verb_word {
    std::string_view word;
    admin_verb verb;
    form takes;
    std::string_view tag;
};
constexpr std::array verbs{
    verb_word{"show", admin_verb::show, form::other, "SHOW"},
    verb_word{"set", admin_verb::set, form::other, "SET"},
    verb_word{"pause", admin_verb::pause, form::maybe_name, "PAUSE"},
    verb_word{"resume", admin_verb::resume, form::maybe_name, "RESUME"},
    verb_word{"reconnect", admin_verb::reconnect, form::maybe_name, "RECONNECT"},
    verb_word{"disable", admin_verb::disable, form::name, "DISABLE"},
    verb_word{"enable", admin_verb::enable, form::name, "ENABLE"},
    verb_word{"kill", admin_verb::kill, form::maybe_name, "KILL"},
    verb_word{"kill_client", admin_verb::kill_client, form::name, "KILL_CLIENT"},
    verb_word{"wait_close", admin_verb::wait_close, form::maybe_name, "WAIT_CLOSE"},
    verb_word{"reload", admin_verb::reload, form::alone, "RELOAD"},
    verb_word{"shutdown", admin_verb::shutdown, form::other, "SHUTDOWN"},
    verb_word{"ban", admin_verb::ban, form::other, "BAN"},
    verb_word{"unban", admin_verb::unban, form::name, "UNBAN"},
    verb_word{"reset", admin_verb::reset_statements, form::other, "RESET"},
    verb_word{"select", admin_verb::select_number, form::other, "SELECT"},
    verb_word{"begin", admin_verb::begin, form::alone, "BEGIN"},
    verb_word{"commit", admin_verb::commit, form::alone, "COMMIT"},
    verb_word{"rollback", admin_verb::rollback, form::alone, "ROLLBACK"}};

struct parameter {
    std::string_view name;
    std::string_view value;
};
constexpr std::array parameters{
    parameter{"client_encoding", "UTF8"},
    parameter{"standard_conforming_strings", "on"},
    parameter{"datestyle", "ISO"},
    parameter{"timezone", "GMT"},
    parameter{"extra_float_digits", "1"},
    parameter{"application_name", ""},
    parameter{"default_transaction_isolation", "read committed"},
    parameter{"default_transaction_read_only", "off"},
    parameter{"transaction_isolation", "read committed"},
    parameter{"transaction_read_only", "off"}};

struct token {
    std::string text;     ///< as written: names keep their case, as in PgBouncer
    std::string folded;   ///< in lower case
    bool quoted = false;  ///< an identifier or a string: it is no keyword
    bool is(std::string_view word) const noexcept { return !quoted && folded == word; }
};

bool in_word(char each) noexcept {
    const auto byte = static_cast<unsigned char>(each);
    return std::isalnum(byte) != 0 || each == '_' || each == '.' || each == '$' || each == '-' ||
           each == '%' || each == ':' || each == '/' || byte >= 0x80;
}

char lower(char each) noexcept { return each >= 'A' && each <= 'Z' ? static_cast<char>(each + 32) : each; }

std::string folded(std::string text) {
    std::ranges::transform(text, text.begin(), lower);
    return text;
}

admin_error wrong(std::string message, std::string hint) {
    return {protocol::sqlstate::syntax_error, std::move(message), std::move(hint)};
}

/// Takes the text apart, a list of tokens for each command.
class reader {
public:
    explicit reader(std::string_view text) : text_(text) {}

    std::optional<admin_error> read(std::vector<std::vector<token>>& commands) {
        std::vector<token> current;
        for (skip_blanks(); !text_.empty(); skip_blanks()) {
            const char first = text_.front();
            if (first == ';') {
                text_.remove_prefix(1);
                if (!current.empty()) commands.push_back(std::exchange(current, {}));
            } else if (first == '\'' || first == '"') {
                token quoted{{}, {}, true};
                if (!take_quoted(first, quoted.text))
                    return wrong("unterminated quoted text", "Close it with " + std::string(1, first) + ".");
                quoted.folded = folded(quoted.text);
                current.push_back(std::move(quoted));
            } else if (in_word(first)) {
                token word;
                while (!text_.empty() && in_word(text_.front()) && !text_.starts_with("--")) {
                    word.text += text_.front();
                    text_.remove_prefix(1);
                }
                word.folded = folded(word.text);
                current.push_back(std::move(word));
            } else {
                current.push_back({std::string(1, first), std::string(1, first)});
                text_.remove_prefix(1);
            }
        }
        if (!current.empty()) commands.push_back(std::move(current));
        return std::nullopt;
    }

private:
    void skip_blanks() {
        for (;;) {
            const std::size_t begin = text_.find_first_not_of(" \t\r\n\f\v");
            text_.remove_prefix(std::min(begin, text_.size()));
            if (text_.starts_with("--")) {
                text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
            } else if (text_.starts_with("/*")) {
                const std::size_t end = text_.find("*/", 2);
                text_.remove_prefix(end == text_.npos ? text_.size() : end + 2);
            } else {
                return;
            }
        }
    }
    bool take_quoted(char quote, std::string& into) {
        for (text_.remove_prefix(1); !text_.empty(); text_.remove_prefix(1)) {
            if (text_.front() == quote) {
                text_.remove_prefix(1);
                if (text_.empty() || text_.front() != quote) return true;
            }
            into += text_.front();
        }
        return false;
    }

    std::string_view text_;
};

/// The nearest of some words, as a hint; the general one where none is near.
template <class Words>
std::string meant(std::string_view typed, const Words& words, std::string_view prefix) {
    std::string_view best;
    std::size_t best_distance = 3;
    if (typed.size() <= 64) {
        for (const auto& each : words) {
            const std::size_t distance = config::edit_distance(typed, each.word);
            if (distance < best_distance) {
                best_distance = distance;
                best = each.word;
            }
        }
    }
    if (best.empty()) return "SHOW HELP lists all commands.";
    std::string hint = "Did you mean " + std::string(prefix);
    for (const char each : best)
        hint += static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
    return hint + "?";
}

std::string joined(const std::vector<token>& tokens) {
    std::string text;
    for (const token& each : tokens) {
        if (text.size() > 60) return text + " ...";
        text += (text.empty() ? "" : " ") + each.text;
    }
    return text;
}

class command_parser {
public:
    explicit command_parser(const std::vector<token>& tokens) : tokens_(tokens) {}

    std::optional<admin_error> parse(admin_command& into) const {
        const token& first = tokens_.front();
        if (first.is("suspend") && tokens_.size() == 1)
            return admin_error{
                protocol::sqlstate::feature_not_supported, "SUSPEND is not supported",
                "PAUSE holds clients and closes their servers; SHUTDOWN WAIT_FOR_CLIENTS lets another "
                "process take over."};
        if (first.is("start") || first.is("end")) return transaction_word(into);
        const auto* known = std::find_if(verbs.begin(), verbs.end(), [&](const verb_word& each) {
            return first.is(each.word);
        });
        if (known == verbs.end())
            return wrong("invalid command '" + joined(tokens_) + "'", meant(first.folded, verbs, ""));
        into.verb = known->verb;
        if (known->verb == admin_verb::show) return show(into, true);
        if (known->verb == admin_verb::select_number) return select(into);
        if (known->verb == admin_verb::set) return set(into);
        if (known->verb == admin_verb::shutdown) return shutdown(into);
        if (known->verb == admin_verb::reset_statements) {
            if (tokens_.size() == 2 && tokens_[1].is("statements")) return std::nullopt;
            return wrong("invalid command '" + joined(tokens_) + "'", "Write RESET STATEMENTS.");
        }
        if (known->verb == admin_verb::ban) return ban(into);
        if (known->verb == admin_verb::begin || known->verb == admin_verb::commit ||
            known->verb == admin_verb::rollback)
            return transaction_word(into);
        const std::size_t most = known->takes == form::alone ? 1 : 2;
        if (tokens_.size() > most) return wrong("invalid command '" + joined(tokens_) + "'", usage(*known));
        if (tokens_.size() == 2) {
            into.argument = tokens_[1].text;
            // Empty means all of them, which nobody has said.
            if (into.argument.empty())
                return wrong("an empty name in '" + joined(tokens_) + "'", usage(*known));
        } else if (known->takes == form::name) {
            return wrong(std::string(known->tag) + " needs an argument", usage(*known));
        }
        if (into.verb == admin_verb::kill_client) return check_number(into.argument);
        return std::nullopt;
    }

private:
    static std::string usage(const verb_word& verb) {
        std::string text = "Write " + std::string(verb.tag);
        if (verb.verb == admin_verb::kill_client) return text + " and the id that SHOW CLIENTS gives.";
        if (verb.verb == admin_verb::unban) return text + " and a server as SHOW TOPOLOGY has it.";
        if (verb.takes == form::maybe_name) text += ", or " + std::string(verb.tag) + " and a database";
        if (verb.takes == form::name) text += " and a database";
        return text + ".";
    }

    static std::optional<admin_error> check_number(const std::string& text) {
        const bool digits = !text.empty() && text.size() <= 18 &&
                            std::ranges::all_of(text, [](char each) { return each >= '0' && each <= '9'; });
        if (digits) return std::nullopt;
        return admin_error{
            protocol::sqlstate::invalid_parameter_value, "'" + text + "' is no id of a client",
            "SHOW CLIENTS has it in its last column."};
    }

    std::optional<admin_error> show(admin_command& into, bool with_parameters) const {
        if (tokens_.size() < 2) return wrong("SHOW needs to know what", "SHOW HELP lists all commands.");
        std::string topic = tokens_[1].folded;
        if (tokens_.size() > 2) {
            const bool isolation =
                topic == "transaction" && tokens_.size() == 4;  // SHOW TRANSACTION ISOLATION LEVEL
            if (!isolation) return wrong("invalid command '" + joined(tokens_) + "'", "SHOW takes one word.");
            topic = "transaction_isolation";
        }
        into.verb = admin_verb::show;
        const auto* known = std::find_if(shows.begin(), shows.end(), [&](const show_word& each) {
            return topic == each.word;
        });
        if (known != shows.end()) {
            into.topic = known->topic;
            return std::nullopt;
        }
        if (with_parameters && console_parameter(topic)) {
            into.topic = show_topic::parameter;
            into.argument = topic;
            return std::nullopt;
        }
        if (topic == "fds")
            return admin_error{
                protocol::sqlstate::feature_not_supported, "SHOW FDS is not supported",
                "It hands PgBouncer's sockets to a new process. SHOW SOCKETS shows the connections."};
        return wrong("unknown: SHOW " + topic, meant(topic, shows, "SHOW "));
    }

    /// PgBouncer takes SELECT for SHOW; drivers and pools ask SELECT 1.
    std::optional<admin_error> select(admin_command& into) const {
        if (tokens_.size() == 2 && !tokens_[1].text.empty() &&
            std::ranges::all_of(tokens_[1].text, [](char each) { return each >= '0' && each <= '9'; })) {
            if (tokens_[1].text.size() > 9)
                return wrong("invalid command '" + joined(tokens_) + "'", "SHOW HELP lists all commands.");
            into.verb = admin_verb::select_number;
            into.argument = tokens_[1].text;
            return std::nullopt;
        }
        const bool version = tokens_.size() == 4 && tokens_[2].is("(") && tokens_[3].is(")") &&
                             (tokens_[1].is("version") || tokens_[1].is("pg_catalog.version"));
        if (version) {
            into.verb = admin_verb::select_version;
            return std::nullopt;
        }
        if (tokens_.size() != 2)
            return admin_error{
                protocol::sqlstate::feature_not_supported,
                "the console knows no SQL: '" + joined(tokens_) + "'",
                "SHOW HELP lists all commands. Connect to another database for SQL."};
        return show(into, false);
    }

    std::optional<admin_error> set(admin_command& into) const {
        std::size_t at = 1;
        if (at < tokens_.size() && (tokens_[at].is("session") || tokens_[at].is("local"))) ++at;
        if (tokens_.size() < at + 3 || !(tokens_[at + 1].is("=") || tokens_[at + 1].is("to")))
            return wrong("invalid command '" + joined(tokens_) + "'", "Write SET key = value.");
        into.argument = tokens_[at].folded;
        into.value = tokens_[at + 2].text;
        if (tokens_.size() == at + 3) return std::nullopt;
        return wrong(
            "invalid command '" + joined(tokens_) + "'",
            "Write SET key = 'value': more than a word in quotes."
        );
    }

    std::optional<admin_error> ban(admin_command& into) const {
        std::size_t at = 1;
        if (at < tokens_.size()) into.argument = tokens_[at++].text;
        const bool digits =
            at < tokens_.size() && !tokens_[at].text.empty() && tokens_[at].text.size() <= 8 &&
            std::ranges::all_of(tokens_[at].text, [](char each) { return each >= '0' && each <= '9'; });
        if (digits) into.value = tokens_[at++].text;
        if (at < tokens_.size() && tokens_[at].is("force")) {
            into.forced = true;
            ++at;
        }
        if (!into.argument.empty() && at == tokens_.size() && into.value != "0") return std::nullopt;
        return wrong(
            "invalid command '" + joined(tokens_) + "'",
            "Write BAN and a server as SHOW TOPOLOGY has it, then, if you like, for how many seconds, and "
            "FORCE."
        );
    }

    std::optional<admin_error> shutdown(admin_command& into) const {
        if (tokens_.size() == 1) return std::nullopt;
        if (tokens_.size() == 2 && tokens_[1].is("wait_for_servers")) {
            into.wait = shutdown_wait::for_servers;
            return std::nullopt;
        }
        if (tokens_.size() == 2 && tokens_[1].is("wait_for_clients")) {
            into.wait = shutdown_wait::for_clients;
            return std::nullopt;
        }
        return wrong(
            "invalid command '" + joined(tokens_) + "'",
            "Write SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or "
            "SHUTDOWN WAIT_FOR_CLIENTS."
        );
    }

    /// Drivers wrap what they send in a block. Nothing on the console can be undone, so that only SHOW may
    /// stand in one: the console sees to that.
    std::optional<admin_error> transaction_word(admin_command& into) const {
        const token& first = tokens_.front();
        if (first.is("commit") || first.is("end")) {
            into.verb = admin_verb::commit;
        } else if (first.is("rollback")) {
            into.verb = admin_verb::rollback;
        } else {
            into.verb = admin_verb::begin;
        }
        const bool plain = tokens_.size() == 1 || into.verb == admin_verb::begin ||
                           (tokens_.size() == 2 && (tokens_[1].is("work") || tokens_[1].is("transaction")));
        if (plain && !(first.is("start") && tokens_.size() == 1)) return std::nullopt;
        return wrong("invalid command '" + joined(tokens_) + "'", "SHOW HELP lists all commands.");
    }

    const std::vector<token>& tokens_;
};

}  // namespace

std::span<const show_word> show_words() noexcept { return shows; }

admin_parse parse_admin(std::string_view text) {
    admin_parse parsed;
    std::vector<std::vector<token>> commands;
    parsed.error = reader{text}.read(commands);
    for (const auto& tokens : commands) {
        if (parsed.error) break;
        admin_command command;
        parsed.error = command_parser{tokens}.parse(command);
        parsed.commands.push_back(std::move(command));
    }
    if (parsed.error) parsed.commands.clear();
    return parsed;
}

bool changes_something(const admin_command& command) noexcept {
    switch (command.verb) {
        case admin_verb::show:
        case admin_verb::select_number:
        case admin_verb::select_version:
        case admin_verb::begin:
        case admin_verb::commit:
        case admin_verb::rollback:
            return false;
        case admin_verb::set:
            return !console_parameter(command.argument);
        case admin_verb::pause:
        case admin_verb::resume:
        case admin_verb::reconnect:
        case admin_verb::disable:
        case admin_verb::enable:
        case admin_verb::kill:
        case admin_verb::kill_client:
        case admin_verb::wait_close:
        case admin_verb::reload:
        case admin_verb::shutdown:
        case admin_verb::reset_statements:
        case admin_verb::ban:
        case admin_verb::unban:
            return true;
    }
    return true;
}

std::string_view tag_of(const admin_command& command) noexcept {
    if (command.verb == admin_verb::select_number || command.verb == admin_verb::select_version)
        return "SELECT 1";
    const auto* known = std::find_if(verbs.begin(), verbs.end(), [&](const verb_word& each) {
        return each.verb == command.verb;
    });
    return known == verbs.end() ? std::string_view() : known->tag;
}

std::optional<std::string_view> console_parameter(std::string_view name) noexcept {
    for (const parameter& each : parameters) {
        if (name.size() == each.name.size() &&
            std::equal(name.begin(), name.end(), each.name.begin(), [](char left, char right) {
                return lower(left) == right;
            }))
            return each.value;
    }
    return std::nullopt;
}

}  // namespace pgmend::proxy
