#include "protocol/function_body.hpp"

#include "protocol/builtin_functions.hpp"
#include "protocol/sql_name.hpp"

#include <algorithm>
#include <string>

namespace pgmend::protocol {
namespace {

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) noexcept {
    return std::find(words.begin(), words.end(), word) != words.end();
}

struct word {
    sql_token token;
    std::string name;    // spelled out; empty for what is no name
    bool plain = false;  // not quoted: may be a keyword
};

class body_reader {
public:
    body_facts read(std::string_view body) {
        // With standard_conforming_strings off, a quote behind a backslash does not end a constant.
        if (body.find("\\'") != std::string_view::npos) facts_.hides = true;
        sql_scanner scanner(body);
        for (sql_token token = scanner.next(); token.kind != sql_token_kind::end; token = scanner.next()) {
            if (token.kind == sql_token_kind::error) {
                facts_.hides = true;
                break;
            }
            auto name = spelled_name(token);
            const bool named =
                token.kind == sql_token_kind::identifier || token.kind == sql_token_kind::quoted_identifier;
            if (named && !name) facts_.hides = true;
            if (token.names_temp_schema) facts_.hides = true;
            words_.push_back({token, name.value_or(""), token.kind == sql_token_kind::identifier});
        }
        for (std::size_t i = 0; i < words_.size(); ++i) {
            judge(i);
        }
        std::sort(facts_.names.begin(), facts_.names.end());
        facts_.names.erase(std::unique(facts_.names.begin(), facts_.names.end()), facts_.names.end());
        return std::move(facts_);
    }

private:
    bool is(std::size_t at, std::string_view text) const noexcept {
        return at < words_.size() && (words_[at].plain ? words_[at].name : words_[at].token.text) == text;
    }

    /// A statement may begin here: at the start, behind a semicolon, or where plpgsql opens a block.
    bool begins_statement(std::size_t at) const noexcept {
        if (at == 0) return true;
        const word& before = words_[at - 1];
        if (before.plain) return is_one_of(before.name, {"begin", "then", "else", "loop", "atomic"});
        return before.token.text == ";" || before.token.text == ">>";
    }

    void judge(std::size_t at) {
        const word& one = words_[at];
        if (one.name.empty()) return;
        facts_.names.push_back(name_number(one.name));
        if (is(at + 1, "(")) call(at);
        if (!one.plain) return;
        // Dynamic SQL is in no text.
        if (one.name == "execute") facts_.hides = facts_.changes_schema = true;
        if (is_one_of(one.name, {"temp", "temporary"})) temporary(at);
        if (one.name == "with" && is(at + 1, "hold")) facts_.hides = true;
        const bool assigned = is(at + 1, ":=") || is(at + 1, "=") || is(at + 1, ".") || is(at + 1, "[");
        if (assigned || !begins_statement(at)) return;
        if (one.name == "do" && is(at + 1, "nothing")) return;  // of MERGE
        if (one.name == "set") {
            if (!is(at + 1, "local") && !is(at + 1, "transaction") && !is(at + 1, "constraints"))
                facts_.hides = true;
        } else if (is_one_of(
                       one.name,
                       {"reset", "prepare", "deallocate", "listen", "unlisten", "load", "discard", "do"}
                   )) {
            facts_.hides = true;
            facts_.changes_schema = facts_.changes_schema || one.name == "do";
        } else if (one.name == "copy") {
            facts_.beyond = true;  // there is no client in a function, only files and programs
        } else if (is_one_of(one.name, {"create", "alter", "drop"})) {
            facts_.changes_schema = true;
        }
    }

    void call(std::size_t at) {
        const std::string& name = words_[at].name;
        // A name that is not PostgreSQL's own is one of the database's: those are judged by themselves.
        if (!is_builtin_function(name)) return;
        const session_effect all = find_builtin_function("", name).effects;
        if (has(all, beyond_effects)) facts_.beyond = true;
        const session_effect effects = all & hiding_effects;
        if (effects == session_effect::none) return;
        if (effects == session_effect::calls_set_config && sets_locally(at + 1)) return;
        facts_.hides = true;
    }

    /// Whether the third and last argument is the constant TRUE. `at` is the opening parenthesis.
    bool sets_locally(std::size_t at) const noexcept {
        std::size_t depth = 0;
        std::size_t commas = 0;
        for (std::size_t i = at; i < words_.size(); ++i) {
            if (is(i, "(") || is(i, "[")) ++depth;
            if (is(i, ",") && depth == 1) ++commas;
            if (!is(i, ")") && !is(i, "]")) continue;
            if (--depth != 0) continue;
            const bool named =
                (is(i - 2, "=>") || is(i - 2, ":=")) && is(i - 3, "is_local") && is(i - 4, ",");
            return commas == 2 && is(i - 1, "true") && (is(i - 2, ",") || named);
        }
        return false;
    }

    /// CREATE TEMP … and SELECT INTO TEMP leave a relation behind, unless it goes with its transaction.
    void temporary(std::size_t at) {
        const bool creates = at != 0 && words_[at - 1].plain &&
                             is_one_of(words_[at - 1].name, {"create", "into", "replace", "local", "global"});
        if (!creates) return;
        for (std::size_t i = at; i < words_.size() && !is(i, ";"); ++i) {
            if (is(i, "on") && is(i + 1, "commit") && is(i + 2, "drop")) return;
        }
        facts_.hides = true;
    }

    std::vector<word> words_;
    body_facts facts_;
};

}  // namespace

body_facts judge_body(std::string_view language, std::string_view body) {
    if (language != "sql" && language != "plpgsql") return {true, true, true, {}};
    return body_reader{}.read(body);
}

}  // namespace pgmend::protocol
