#include "tests/sim/sql_dialect.hpp"

#include <algorithm>

#include "tests/sim/sql_tokens.hpp"

namespace pgmend::sim {

namespace {

using verb = statement::verb;

/// One statement's grammar, by its first word.
class statement_parser {
public:
    explicit statement_parser(token_cursor& cursor) : cursor_(cursor) {}
    statement parse();

private:
    expression any();
    expression comparison();
    expression sum();
    expression product();
    expression exists();
    expression primary();
    std::vector<expression> list(std::string_view close);
    void literal_value(statement& out);
    void transaction_words(statement& out);
    void access_mode(statement& out);
    void set(statement& out);
    void select(statement& out);
    void create(statement& out);
    void copy(statement& out);
    void declare(statement& out);
    void named(statement& out, verb what, std::string tag);
    bool transaction_control(statement& out);
    bool data_statement(statement& out);
    bool session_statement(statement& out);
    std::string dotted_name();

    token_cursor& cursor_;
    std::size_t parameters_ = 0;
};

// ---- expressions

expression statement_parser::primary() {
    expression out;
    const sql_token token = cursor_.peek();
    if (cursor_.accept_symbol("(")) {
        out = any();
        cursor_.expect_symbol(")");
    } else if (cursor_.accept("exists")) {
        out = exists();
    } else if (token.what == sql_token::kind::text || token.what == sql_token::kind::number) {
        out.what = token.what == sql_token::kind::text ? expression::kind::text : expression::kind::number;
        out.text = token.text;
        cursor_.next();
    } else if (token.what == sql_token::kind::parameter) {
        cursor_.next();
        const auto number = static_cast<std::size_t>(std::stoul(token.text));
        out.what = expression::kind::parameter;
        out.index = number - 1;
        parameters_ = std::max(parameters_, number);
    } else {
        out.what = expression::kind::column;
        out.text = cursor_.name();
        if (out.text == "true" || out.text == "false") out.what = expression::kind::text;
        if (out.text == "pg_catalog" && cursor_.accept_symbol(".")) out.text = cursor_.name();
        if (cursor_.accept_symbol("(")) {
            out.what = expression::kind::call;
            out.operands = list(")");
        }
    }
    while (cursor_.accept_symbol("::"))
        cursor_.name();
    return out;
}

expression statement_parser::product() {
    expression left = primary();
    while (cursor_.is_symbol("*") || cursor_.is_symbol("/")) {
        expression whole{expression::kind::binary, cursor_.next().text, 0, {}};
        whole.operands.push_back(std::move(left));
        whole.operands.push_back(primary());
        left = std::move(whole);
    }
    return left;
}

expression statement_parser::sum() {
    expression left = product();
    while (cursor_.is_symbol("+") || cursor_.is_symbol("-") || cursor_.is_symbol("||")) {
        expression whole{expression::kind::binary, cursor_.next().text, 0, {}};
        whole.operands.push_back(std::move(left));
        whole.operands.push_back(product());
        left = std::move(whole);
    }
    return left;
}

expression statement_parser::comparison() {
    expression left = sum();
    if (!cursor_.is_symbol("<>")) return left;
    expression whole{expression::kind::binary, cursor_.next().text, 0, {}};
    whole.operands.push_back(std::move(left));
    whole.operands.push_back(sum());
    return whole;
}

expression statement_parser::any() {
    expression left = comparison();
    while (cursor_.is_word("or")) {
        expression whole{expression::kind::binary, cursor_.next().text, 0, {}};
        whole.operands.push_back(std::move(left));
        whole.operands.push_back(comparison());
        left = std::move(whole);
    }
    return left;
}

/// EXISTS (SELECT … FROM a catalog …): the catalog's name says what is asked, with the last constant among
/// the conditions; these are taken for granted.
expression statement_parser::exists() {
    expression out{expression::kind::call, "exists", 0, {}};
    cursor_.expect_symbol("(");
    while (!cursor_.at_end() && !cursor_.accept("from"))
        cursor_.next();
    std::string name = dotted_name();
    if (name.starts_with("pg_catalog.")) name.erase(0, std::string_view("pg_catalog.").size());
    out.operands.push_back({expression::kind::text, name, 0, {}});
    std::string of;
    for (int open = 1; open > 0;) {
        if (cursor_.at_end()) {
            cursor_.fail();
            break;
        }
        const sql_token token = cursor_.next();
        if (token.what == sql_token::kind::text) of = token.text;
        if (token.text == "(") ++open;
        if (token.text == ")") --open;
    }
    out.operands.push_back({expression::kind::text, of, 0, {}});
    return out;
}

std::vector<expression> statement_parser::list(std::string_view close) {
    std::vector<expression> out;
    if (cursor_.accept_symbol(close)) return out;
    do {
        if (cursor_.accept_symbol("*")) {
            out.push_back({expression::kind::column, "*", 0, {}});
        } else {
            out.push_back(any());
        }
    } while (cursor_.accept_symbol(","));
    cursor_.expect_symbol(close);
    return out;
}

// ---- statements

std::string statement_parser::dotted_name() {
    std::string name = cursor_.name();
    while (cursor_.accept_symbol("."))
        name += "." + cursor_.name();
    return name;
}

void statement_parser::literal_value(statement& out) {
    if (cursor_.accept("default")) return;
    std::string value;
    do {
        if (!value.empty()) value += ", ";
        if (cursor_.accept_symbol("-")) value += "-";
        if (cursor_.at_end()) return cursor_.fail();
        value += cursor_.next().text;
    } while (cursor_.accept_symbol(","));
    out.value = std::move(value);
}

void statement_parser::transaction_words(statement& out) {
    if (!cursor_.accept("work")) cursor_.accept("transaction");
    if (cursor_.accept("and")) {
        out.chain = !cursor_.accept("no");
        cursor_.expect("chain");
    }
}

/// The isolation level does not matter to the model.
void statement_parser::access_mode(statement& out) {
    while (!cursor_.at_end() && !cursor_.is_symbol(";")) {
        if (cursor_.accept("read")) {
            out.read_only = cursor_.is_word("only");
        } else {
            cursor_.next();
        }
    }
}

void statement_parser::set(statement& out) {
    out.what = verb::set;
    out.tag = "SET";
    out.local = cursor_.accept("local");
    const bool session = !out.local && cursor_.accept("session");
    if (cursor_.accept("transaction") || (session && cursor_.accept("characteristics"))) {
        out.what = verb::set_transaction;
        access_mode(out);
        if (session) out.read_only.reset();  // of the transactions to come, which the model does not follow
        return;
    }
    if (cursor_.accept("time")) {
        cursor_.expect("zone");
        out.name = "timezone";
    } else if (cursor_.accept("role")) {
        out.name = "role";
    } else if (session && cursor_.accept("authorization")) {
        out.name = "session_authorization";
    } else {
        out.name = dotted_name();
        if (!cursor_.accept("to")) cursor_.expect_symbol("=");
    }
    literal_value(out);
}

void statement_parser::select(statement& out) {
    out.what = verb::select;
    out.tag = "SELECT";
    do {
        if (cursor_.accept_symbol("*")) {
            out.outputs.push_back({expression::kind::column, "*", 0, {}});
        } else {
            out.outputs.push_back(any());
        }
        const expression& output = out.outputs.back();
        const bool named = output.what == expression::kind::call || output.what == expression::kind::column;
        out.output_names.push_back(cursor_.accept("as") ? cursor_.name() : named ? output.text : "?column?");
    } while (cursor_.accept_symbol(","));
    if (!cursor_.accept("from")) return;
    out.table = cursor_.name();
    if (out.table == "generate_series") {
        cursor_.expect_symbol("(");
        series_clause series;
        series.first = sum();
        cursor_.expect_symbol(",");
        series.last = sum();
        cursor_.expect_symbol(")");
        series.name = cursor_.accept("as") ? cursor_.name() : "generate_series";
        out.series = std::move(series);
        out.table.clear();
    }
    if (cursor_.accept("where")) {
        cursor_.expect("k");
        cursor_.expect_symbol("=");
        out.where = sum();
    }
}

void statement_parser::create(statement& out) {
    out.what = verb::create_temp;
    out.tag = "CREATE TABLE";
    if (!cursor_.accept("temp")) cursor_.expect("temporary");
    cursor_.expect("table");
    out.name = cursor_.name();
    cursor_.expect_symbol("(");
    while (!cursor_.failed() && !cursor_.accept_symbol(")")) {
        if (cursor_.at_end()) return cursor_.fail();
        cursor_.next();
    }
    if (cursor_.accept("on")) {
        cursor_.expect("commit");
        cursor_.expect("drop");
        out.on_commit_drop = true;
    }
}

void statement_parser::copy(statement& out) {
    out.tag = "COPY";
    if (cursor_.accept_symbol("(")) {
        out.what = verb::copy_out;
        statement inner;
        cursor_.expect("select");
        select(inner);
        cursor_.expect_symbol(")");
        cursor_.expect("to");
        cursor_.expect("stdout");
        out.inner = std::make_shared<const statement>(std::move(inner));
        return;
    }
    out.what = verb::copy_in;
    out.name = cursor_.name();
    cursor_.expect("from");
    cursor_.expect("stdin");
}

void statement_parser::declare(statement& out) {
    out.what = verb::declare;
    out.tag = "DECLARE CURSOR";
    out.name = cursor_.name();
    cursor_.expect("cursor");
    if (cursor_.accept("with")) {
        cursor_.expect("hold");
        out.hold = true;
    }
    cursor_.expect("for");
    statement inner;
    cursor_.expect("select");
    select(inner);
    out.inner = std::make_shared<const statement>(std::move(inner));
}

/// A verb followed by a name, or by ALL or *, which leave the name empty.
void statement_parser::named(statement& out, verb what, std::string tag) {
    out.what = what;
    out.tag = std::move(tag);
    if (!cursor_.accept("all") && !cursor_.accept_symbol("*")) out.name = cursor_.name();
}

bool statement_parser::transaction_control(statement& out) {
    if (cursor_.accept("begin") || cursor_.is_word("start")) {
        out.what = verb::begin;
        out.tag = "BEGIN";
        if (cursor_.accept("start")) {
            cursor_.expect("transaction");
            out.tag = "START TRANSACTION";
        }
        access_mode(out);
    } else if (cursor_.accept("commit") || cursor_.accept("end")) {
        out.what = verb::commit;
        out.tag = "COMMIT";
        transaction_words(out);
    } else if (cursor_.accept("rollback") || cursor_.accept("abort")) {
        out.what = verb::rollback;
        out.tag = "ROLLBACK";
        transaction_words(out);
        if (cursor_.accept("to")) {
            cursor_.accept("savepoint");
            named(out, verb::rollback_to, "ROLLBACK");
        }
    } else if (cursor_.accept("savepoint")) {
        named(out, verb::savepoint, "SAVEPOINT");
    } else if (cursor_.accept("release")) {
        cursor_.accept("savepoint");
        named(out, verb::release, "RELEASE");
    } else {
        return false;
    }
    return true;
}

bool statement_parser::data_statement(statement& out) {
    if (cursor_.accept("select")) {
        select(out);
    } else if (cursor_.accept("insert")) {
        cursor_.expect("into");
        named(out, verb::insert, "INSERT 0");
        cursor_.expect("values");
        cursor_.expect_symbol("(");
        out.outputs = list(")");
    } else if (cursor_.accept("update")) {
        named(out, verb::update, "UPDATE");
        cursor_.expect("set");
        cursor_.expect("v");
        cursor_.expect_symbol("=");
        out.outputs.push_back(sum());
        cursor_.expect("where");
        cursor_.expect("k");
        cursor_.expect_symbol("=");
        out.where = sum();
    } else if (cursor_.accept("delete")) {
        cursor_.expect("from");
        named(out, verb::delete_from, "DELETE");
        cursor_.expect("where");
        cursor_.expect("k");
        cursor_.expect_symbol("=");
        out.where = sum();
    } else if (cursor_.accept("create")) {
        create(out);
    } else if (cursor_.accept("drop")) {
        cursor_.expect("table");
        named(out, verb::drop_table, "DROP TABLE");
    } else if (cursor_.accept("copy")) {
        copy(out);
    } else if (cursor_.accept("declare")) {
        declare(out);
    } else if (cursor_.accept("fetch")) {
        out.count = std::stoll("0" + cursor_.next().text);
        cursor_.expect("from");
        named(out, verb::fetch, "FETCH");
    } else if (cursor_.accept("close")) {
        named(out, verb::close, cursor_.is_word("all") ? "CLOSE CURSOR ALL" : "CLOSE CURSOR");
    } else {
        return false;
    }
    return true;
}

bool statement_parser::session_statement(statement& out) {
    if (cursor_.accept("set")) {
        set(out);
    } else if (cursor_.accept("reset")) {
        out.what = verb::reset;
        out.tag = "RESET";
        if (cursor_.accept("all")) {
            out.what = verb::reset_all;
        } else if (cursor_.accept("session")) {
            cursor_.expect("authorization");
            out.name = "session_authorization";
        } else {
            out.name = dotted_name();
        }
    } else if (cursor_.accept("show")) {
        out.what = verb::show;
        out.tag = "SHOW";
        out.name = dotted_name();
    } else if (cursor_.accept("prepare")) {
        named(out, verb::prepare, "PREPARE");
        cursor_.expect("as");
        auto inner = statement_parser(cursor_).parse();
        out.inner = std::make_shared<const statement>(std::move(inner));
    } else if (cursor_.accept("execute")) {
        named(out, verb::execute, "");
        if (cursor_.accept_symbol("(")) out.outputs = list(")");
    } else if (cursor_.accept("deallocate")) {
        cursor_.accept("prepare");
        named(out, verb::deallocate, cursor_.is_word("all") ? "DEALLOCATE ALL" : "DEALLOCATE");
    } else if (cursor_.accept("discard")) {
        out.what = verb::discard;
        out.name = cursor_.name();
        out.tag = "DISCARD " + out.name;
        std::transform(out.tag.begin(), out.tag.end(), out.tag.begin(), [](unsigned char byte) {
            return static_cast<char>(std::toupper(byte));
        });
    } else if (cursor_.accept("listen")) {
        named(out, verb::listen, "LISTEN");
    } else if (cursor_.accept("unlisten")) {
        named(out, verb::unlisten, "UNLISTEN");
    } else if (cursor_.accept("notify")) {
        named(out, verb::notify, "NOTIFY");
        if (cursor_.accept_symbol(",")) literal_value(out);
    } else {
        return false;
    }
    return true;
}

statement statement_parser::parse() {
    statement out;
    if (!transaction_control(out) && !data_statement(out) && !session_statement(out)) cursor_.fail();
    if (!cursor_.at_end()) cursor_.fail();
    out.parameters = parameters_;
    if (out.inner)
        out.parameters = std::max(out.parameters, out.what == verb::prepare ? 0 : out.inner->parameters);
    return out;
}

/// The length of what pgmend sets for a question of its own.
std::size_t settings_in_front(std::string_view text) {
    constexpr std::string_view isolation = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;";
    if (!text.starts_with(isolation)) return 0;
    const std::size_t question = text.find(";SELECT ");
    return question == std::string_view::npos ? 0 : question + 1;
}

/// What pgmend asks because of lost COMMITs.
std::optional<statement> about_commits(std::string_view text) {
    constexpr std::string_view fate = "SELECT CASE WHEN '";
    statement out;
    out.tag = "SELECT";
    out.text = text;
    if (text.starts_with("SELECT (SELECT system_identifier ")) {
        out.what = verb::life;
    } else if (text.starts_with("SELECT e.x,CASE WHEN e.x IS NOT NULL ")) {
        out.what = verb::evidence;
    } else if (text.starts_with(fate)) {
        out.what = verb::fate;
        out.name = text.substr(fate.size(), text.find('\'', fate.size()) - fate.size());
    } else {
        return std::nullopt;
    }
    return out;
}

}  // namespace

std::vector<statement> parse_sql(std::string_view text) {
    // Far too long for this dialect, and known by its beginning.
    if (text.starts_with("SET LOCAL search_path = pg_catalog; ")) {
        statement survey;
        survey.what = verb::survey;
        survey.tag = "SELECT";
        survey.hold = text.find("WITH listed AS") == std::string_view::npos;
        survey.text = text;
        return {std::move(survey)};
    }
    if (text.starts_with("SELECT source FROM pg_catalog.pg_settings ")) {
        statement source;
        source.what = verb::source;
        source.tag = "SELECT";
        source.text = text;
        return {std::move(source)};
    }
    const std::string_view whole = text;
    text.remove_prefix(settings_in_front(text));
    constexpr std::string_view of_backend = "pg_stat_get_activity(";
    if (const auto at = text.find(of_backend);
        text.starts_with("SELECT CASE WHEN backend_start IS NULL") && at != text.npos) {
        statement evict;
        evict.what = verb::evict;
        evict.tag = "SELECT";
        evict.name = text.substr(at + of_backend.size(), text.find(')', at) - at - of_backend.size());
        evict.text = text;
        return {std::move(evict)};
    }
    if (auto about = about_commits(text)) return {std::move(*about)};
    text = whole;
    const auto tokens = tokenize(text);
    token_cursor cursor(tokens, 0);
    std::vector<statement> statements;
    while (cursor.peek().what != sql_token::kind::end) {
        if (cursor.accept_symbol(";")) continue;
        const std::size_t from = cursor.peek().place;
        statement parsed = statement_parser(cursor).parse();
        if (cursor.failed()) {
            statement unknown;
            unknown.what = verb::unknown;
            unknown.text = text;
            return {std::move(unknown)};
        }
        parsed.text = text.substr(from, cursor.peek().place - from);
        statements.push_back(std::move(parsed));
    }
    return statements;
}

}  // namespace pgmend::sim
