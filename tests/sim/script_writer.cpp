#include "tests/sim/script_writer.hpp"

namespace pgmend::sim {

using namespace frontend;

namespace {

/// pg_catalog.textcat, the function behind the operator ||.
constexpr std::uint32_t textcat_oid = 1258;

}  // namespace

void script_writer::step(std::vector<std::string> messages, bool wait) {
    script_step next;
    next.messages = std::move(messages);
    next.wait = wait;
    if (dice_.chance(1, 8)) next.pause = dice_.microseconds(1, 20'000);
    steps_.push_back(std::move(next));
}

void script_writer::exchange(habit how) {
    if (how == habit::mixed) how = static_cast<habit>(dice_.below(mixed_habits));
    switch (how) {
        case habit::simple:
            return simple();
        case habit::extended:
            return extended();
        case habit::named_flush:
            return named_flush();
        case habit::two_trips:
            return two_trips();
        case habit::pipeline:
            return pipeline();
        case habit::portals:
            return portals();
        case habit::copy:
            return copy();
        case habit::transactions:
            return transactions();
        case habit::settings:
            return settings();
        case habit::temporary_tables:
            return temporary_tables();
        case habit::locks:
            return locks();
        case habit::listening:
            return listening();
        case habit::sql_prepare:
            return sql_prepare();
        case habit::bulk:
            return bulk();
        case habit::cancelling:
            return cancelling();
        case habit::cursors:
            return cursors();
        case habit::hidden:
            return hidden();
        case habit::batches:
            return batches();
        case habit::mixed:
            return;
    }
}

void script_writer::farewell() {
    // A block left open by the script is left open on purpose, half of the time.
    if (dice_.chance(1, 2)) query("ROLLBACK");
    query(marked_select());
}

// ---- statements

std::string script_writer::write_statement() {
    switch (dice_.below(4)) {
        case 0:
            return "UPDATE kv SET v = v || 'x' WHERE k = " + old_key();
        case 1:
            return "DELETE FROM kv WHERE k = " + old_key();
        default:
            return "INSERT INTO kv VALUES (" + new_key() + ", 'v')";
    }
}

std::string script_writer::failing_statement() {
    switch (dice_.below(5)) {
        case 0:
            return "SELECT '" + mark() + "', 1/0";
        case 1:
            return "SELECT '" + mark() + "', 10/(3 - i) FROM generate_series(1, 5) AS i";
        case 2:
            return "SELECT nonsense";
        case 3:
            return "SELEKT 1";
        default:
            return "INSERT INTO kv VALUES (" + old_key() + ", 'again')";
    }
}

std::string script_writer::any_statement() {
    switch (dice_.below(8)) {
        case 0:
            return "SELECT '" + mark() + "', i FROM generate_series(1, " + number(0, 30) + ") AS i";
        case 1:
            return "SELECT v FROM kv WHERE k = " + old_key();
        case 2:
            return write_statement();
        case 3:
            return write_statement();
        case 4:
            return dice_.chance(1, 2) ? failing_statement() : marked_select();
        case 5:
            return dice_.chance(1, 3) ? "SELECT pg_sleep(0.00" + number(1, 9) + ")" : marked_select();
        case 6:
            return "SHOW application_name";
        default:
            return marked_select() + " /* ; ' */";
    }
}

// ---- habits

void script_writer::simple() {
    switch (dice_.below(8)) {
        case 0:
            return query("");
        case 1:
            return query(any_statement() + "; " + any_statement() + "; " + any_statement());
        case 2:
            return query("BEGIN; " + write_statement() + "; COMMIT; " + any_statement());
        case 3:
            return step({function_call(textcat_oid, {mark(), "x"})});
        // Some clients do not wait for ReadyForQuery.
        case 4:
            return step({frontend::query(any_statement()), frontend::query(any_statement())});
        default:
            return query(any_statement());
    }
}

void script_writer::extended() {
    const bool parametrised = dice_.chance(1, 2);
    const std::string sql = parametrised ? "SELECT $1, '" + mark() + "'" : any_statement();
    const std::vector<text_or_null> values =
        parametrised ? std::vector<text_or_null>{mark()} : std::vector<text_or_null>{};
    step({parse("", sql), frontend::bind("", "", values), describe('P', ""), execute(""), sync()});
}

void script_writer::named_flush() {
    std::string name;
    if (prepared_.empty() || dice_.chance(1, 2)) {
        // The names are the same in every client, the texts are not.
        name = "stmt_" + std::to_string(prepared_.size());
        prepared_.push_back(name);
        // The same text under several names, which a server needs but once.
        const std::string first = dice_.chance(1, 3) ? tag_ + "#0" : mark();
        step({parse(name, "SELECT '" + first + "', $1"), describe('S', name), flush()});
    } else {
        name = dice_.pick(prepared_);
    }
    step({frontend::bind("", name, {mark()}), execute(""), sync()});
    if (dice_.chance(1, 8)) step({close('S', name), sync()});
    if (dice_.chance(1, 16)) step({parse(name, marked_select()), sync()});
}

void script_writer::two_trips() {
    step({parse("", "SELECT $1, '" + mark() + "'"), describe('S', ""), sync()});
    step({frontend::bind("", "", {mark()}), execute(""), sync()});
}

void script_writer::pipeline() {
    const std::size_t length = dice_.size_between(2, 12);
    for (std::size_t done = 0; done < length; ++done) {
        std::vector<std::string> messages = {parse("", any_statement()), frontend::bind("", ""), execute("")};
        if (dice_.chance(1, 3)) {
            messages = {
                parse("", "SELECT $1, '" + mark() + "'"), frontend::bind("", "", {mark()}), describe('P', ""),
                execute("")};
        }
        if (dice_.chance(1, 8)) messages.push_back(flush());
        if (!dice_.chance(1, 3) || done + 1 == length) messages.push_back(sync());
        step(std::move(messages), done + 1 == length);
    }
}

void script_writer::portals() {
    const std::string portal = dice_.chance(1, 2) ? "" : "C_1";
    const std::string rows = number(0, 40);
    step(
        {parse("", "BEGIN"), frontend::bind("", ""), execute(""),
         parse("", "SELECT '" + mark() + "', i FROM generate_series(1, " + rows + ") AS i"),
         frontend::bind(portal, ""), describe('P', portal),
         execute(portal, static_cast<std::uint32_t>(dice_.between(1, 20))), sync()}
    );
    for (std::size_t more = dice_.below(4); more > 0; --more) {
        step(
            {execute(portal, static_cast<std::uint32_t>(dice_.between(1, 20))),
             dice_.chance(1, 2) ? flush() : sync()}
        );
    }
    step({close('P', portal), sync()});
    query(dice_.chance(1, 2) ? "COMMIT" : "ROLLBACK");
}

void script_writer::copy_in(bool by_query) {
    std::string rows;
    for (std::size_t left = dice_.below(20); left > 0; --left)
        rows += mark() + "\tcopied\n";
    if (dice_.chance(1, 5)) rows += "a line without its second column\n";
    std::vector<std::string> messages;
    if (by_query) {
        messages = {frontend::query("COPY kv FROM STDIN")};
    } else {
        messages = {
            parse("", "COPY kv FROM STDIN"), frontend::bind("", ""), execute(""),
            dice_.chance(1, 2) ? sync() : flush()};
    }
    // Half of the drivers wait for CopyInResponse, others do not; lines may be cut anywhere between messages.
    if (dice_.chance(1, 2)) {
        step(std::move(messages));
        messages.clear();
    }
    while (!rows.empty()) {
        const std::size_t piece = dice_.size_between(1, 200);
        messages.push_back(copy_data(rows.substr(0, piece)));
        rows.erase(0, std::min(piece, rows.size()));
    }
    messages.push_back(dice_.chance(1, 5) ? copy_fail("changed my mind") : copy_done());
    if (!by_query) messages.push_back(sync());
    step(std::move(messages));
}

void script_writer::copy() {
    if (dice_.chance(2, 3)) return copy_in(dice_.chance(1, 2));
    const std::string sql =
        "COPY (SELECT '" + mark() + "', i FROM generate_series(1, " + number(0, 60) + ") AS i) TO STDOUT";
    if (dice_.chance(1, 2)) return query(sql);
    step({parse("", sql), frontend::bind("", ""), execute(""), sync()});
}

void script_writer::transactions() {
    // One's own READ ONLY is refused by whatever server; no dice, so that the schedules that are kept stay as
    // they are.
    const bool only_reads = marks_ % 8 == 5;
    const char* begin = dice_.chance(1, 4) ? "BEGIN READ WRITE" : "BEGIN";
    query(only_reads ? "BEGIN READ ONLY" : begin);
    query(write_statement());
    if (dice_.chance(1, 2)) {
        query("SAVEPOINT a");
        query(dice_.chance(1, 2) ? failing_statement() : write_statement());
        query(dice_.chance(1, 2) ? "ROLLBACK TO SAVEPOINT a" : "RELEASE SAVEPOINT a");
    }
    if (dice_.chance(1, 6)) query(failing_statement());
    query(any_statement());
    switch (dice_.below(8)) {
        case 0:
            return;
        case 1:
            return query("ROLLBACK");
        case 2:
            return query("COMMIT AND CHAIN");
        default:
            return query("COMMIT");
    }
}

void script_writer::settings() {
    const std::string size = "'" + number(1, 99) + "MB'";
    switch (dice_.below(11)) {
        case 0:
            query("SET work_mem TO " + size);
            break;
        case 9:
            query(dice_.chance(1, 2) ? "SET ROLE other" : "BEGIN; SET ROLE third; ROLLBACK");
            break;
        case 10:
            query(dice_.chance(1, 2) ? "RESET ROLE" : "SET ROLE NONE");
            break;
        case 1:
            query("SET TimeZone TO 'Etc/GMT+" + number(1, 9) + "'");
            break;
        case 2:
            query("SET application_name = '" + mark() + "'");
            break;
        case 3:
            query("BEGIN; SET LOCAL work_mem TO " + size + "; SHOW work_mem; COMMIT");
            break;
        case 4:
            query("BEGIN; SET DateStyle TO 'German'; ROLLBACK");
            break;
        case 5:
            custom_set_ = false;
            query(dice_.chance(1, 2) ? "RESET ALL" : "RESET work_mem");
            break;
        case 6:
            query("SELECT set_config('search_path', '" + mark() + "', false)");
            break;
        case 7:
            query("ROLLBACK");
            custom_set_ = !dice_.chance(1, 3);
            query(custom_set_ ? "SET custom.thing TO '" + mark() + "'" : "DISCARD ALL");
            break;
        default:
            step({parse("", "SET work_mem TO " + size), frontend::bind("", ""), execute(""), sync()});
            break;
    }
    query("SHOW work_mem");
    query("SHOW TimeZone");
    query("SELECT current_user, session_user");
    // A custom parameter that was never set, or no more is, differs by what the backend has seen before.
    query(custom_set_ ? "SHOW custom.thing" : "SHOW search_path");
}

void script_writer::temporary_tables() {
    query(
        dice_.chance(1, 6) ? "CREATE TEMP TABLE scratch (v text) ON COMMIT DROP"
                           : "CREATE TEMP TABLE scratch (v text)"
    );
    query("INSERT INTO scratch VALUES ('" + mark() + "')");
    query("SELECT v FROM scratch");
    switch (dice_.below(4)) {
        case 0:
            return query("DROP TABLE scratch");
        case 1:
            return query("DISCARD TEMP");
        default:
            return;
    }
}

void script_writer::locks() {
    const std::string lock = number(1, 2);
    // A connection holds one lock at a time, or two clients could wait for each other.
    query("ROLLBACK");
    query("SELECT pg_advisory_unlock_all()");
    query("SELECT '" + mark() + "', pg_advisory_lock(" + lock + ")");
    query(any_statement());
    query(dice_.chance(1, 4) ? "SELECT pg_advisory_unlock_all()" : "SELECT pg_advisory_unlock(" + lock + ")");
}

void script_writer::listening() {
    const std::string channel = "channel_" + tag_.substr(0, tag_.find('.'));
    switch (dice_.below(5)) {
        case 0:
            return query("LISTEN " + channel);
        case 1:
            return query("UNLISTEN *");
        case 2:
            return query("BEGIN; NOTIFY " + channel + ", '" + mark() + "'; ROLLBACK");
        default:
            query("LISTEN " + channel);
            return query("NOTIFY " + channel + ", '" + mark() + "'");
    }
}

void script_writer::sql_prepare() {
    query("PREPARE mine AS SELECT '" + mark() + "', $1");
    query("EXECUTE mine('" + mark() + "')");
    if (dice_.chance(1, 2))
        step({parse("", "EXECUTE mine('x')"), frontend::bind("", ""), describe('P', ""), execute(""), sync()}
        );
    query(dice_.chance(1, 3) ? "DEALLOCATE ALL" : "DEALLOCATE mine");
}

void script_writer::bulk() {
    const std::string size = number(10'000, 90'000);
    switch (dice_.below(3)) {
        case 0:
            return query("SELECT '" + mark() + "', repeat('y', " + size + ")");
        case 1:
            return query(
                "SELECT '" + mark() + "', repeat('z', 500), i FROM generate_series(1, " + number(50, 200) +
                ") AS i"
            );
        default: {
            const std::string large(dice_.size_between(10'000, 90'000), 'b');
            return step(
                {parse("", "SELECT length($1), '" + mark() + "'"), frontend::bind("", "", {large}),
                 execute(""), sync()}
            );
        }
    }
}

void script_writer::cancelling() {
    query("SELECT pg_sleep(0.0" + number(1, 5) + ")");
    steps_.back().cancel_after = dice_.microseconds(0, 60'000);
    if (dice_.chance(1, 2)) query(marked_select());
}

void script_writer::cursors() {
    const bool hold = dice_.chance(1, 2);
    const std::string rows = "SELECT '" + mark() + "', i FROM generate_series(1, 20) AS i";
    query(
        "BEGIN; DECLARE django CURSOR " + std::string(hold ? "WITH HOLD " : "") + "FOR " + rows +
        (hold ? "; COMMIT" : "")
    );
    query("FETCH " + number(1, 12) + " FROM django");
    query("FETCH " + number(1, 12) + " FROM django");
    query(dice_.chance(1, 2) ? "CLOSE django" : "CLOSE ALL");
    if (!hold) query("COMMIT");
}

void script_writer::hidden() {
    const std::string insert = "INSERT INTO audited VALUES ('" + number(100, 199) + "MB')";
    switch (dice_.below(4)) {
        case 0:
            query("BEGIN; " + insert + "; ROLLBACK");
            break;
        case 1:
            step({parse("", insert), frontend::bind("", ""), execute(""), sync()});
            break;
        case 2:
            step({parse("audit", insert), sync()});
            query(marked_select());
            step({frontend::bind("", "audit"), execute(""), frontend::close('S', "audit"), sync()});
            break;
        default:
            query(insert);
            break;
    }
    for (auto more = dice_.below(3); more > 0; --more)
        query(marked_select());
    query("SHOW work_mem");
}

}  // namespace pgmend::sim
