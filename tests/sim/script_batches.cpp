// Pens of script_writer for what many drivers do with pipelines: named statements made, used, replaced and
// dropped inside them, hundreds of Executes a Sync, a Query behind messages that no Sync has ended.

#include "tests/sim/script_writer.hpp"

namespace pgmend::sim {

using namespace frontend;

namespace {

/// pg_catalog.textcat, the function behind the operator ||.
constexpr std::uint32_t textcat_oid = 1258;
/// The first habits are what `mixed` is made of.
constexpr int habits_between = 4;

void append(std::vector<std::string>& messages, std::vector<std::string> more) {
    for (auto& one : more)
        messages.push_back(std::move(one));
}

}  // namespace

void script_writer::batches() {
    if (dice_.chance(1, habits_between)) exchange(habit::mixed);
    switch (dice_.below(10)) {
        case 0:
            return long_batch();
        case 1:
            return many_names();
        case 2:
        case 3:
        case 4:
            return unsynced_query();
        case 5:
            return copy_in_batch();
        default:
            return named_batch();
    }
}

/// The names are the same in every client; who believes what of them may be wrong after an error.
std::string script_writer::batch_name() { return "batch_" + number(0, batch_names - 1); }

void script_writer::parse_in_batch(std::vector<std::string>& messages, const std::string& name) {
    const bool known = batch_parameters_.contains(name);
    if (known && dice_.chance(3, 4)) messages.push_back(close('S', name));
    const std::size_t parameters = dice_.below(2);
    std::string sql = any_statement();
    // Some texts are every client's, and stand behind several names.
    if (parameters == 1) sql = dice_.chance(1, 3) ? "SELECT $1" : "SELECT $1, '" + mark() + "'";
    messages.push_back(parse(name, sql));
    batch_parameters_[name] = parameters;
}

void script_writer::run_in_batch(std::vector<std::string>& messages, const std::string& name) {
    std::vector<text_or_null> values(batch_parameters_.contains(name) ? batch_parameters_[name] : 0, mark());
    const bool by_rows = dice_.chance(1, 4);
    const std::string portal = by_rows && dice_.chance(1, 2) ? "rows" : "";
    messages.push_back(frontend::bind(portal, name, values));
    if (dice_.chance(1, 3)) messages.push_back(describe('P', portal));
    if (by_rows) messages.push_back(execute(portal, 1));
    messages.push_back(execute(portal, by_rows ? 2 : 0));
    if (!portal.empty()) messages.push_back(close('P', portal));
}

void script_writer::unnamed_in_batch(std::vector<std::string>& messages, const std::string& sql) {
    append(messages, {parse("", sql), frontend::bind("", ""), execute("")});
}

/// A few messages that belong together, without Sync.
void script_writer::part_of_batch(std::vector<std::string>& messages) {
    static constexpr const char* block_words[] = {
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "COMMIT"};
    const std::string name = batch_name();
    switch (dice_.below(12)) {
        case 0:
        case 1:
            return parse_in_batch(messages, name);
        case 2:
            parse_in_batch(messages, name);
            return run_in_batch(messages, name);
        case 3:
            messages.push_back(close('S', name));
            batch_parameters_.erase(name);
            return;
        case 4: {
            // Where a block has failed, a server that has not seen the statement cannot be asked about it.
            const bool exists = dice_.chance(7, 8);
            if (exists) parse_in_batch(messages, name);
            return messages.push_back(describe('S', exists ? name : "batch_none"));
        }
        case 5:
            if (dice_.chance(1, 2)) {
                batch_parameters_.erase(name);
                return unnamed_in_batch(messages, "DEALLOCATE " + name);
            }
            batch_parameters_.clear();
            return unnamed_in_batch(messages, "DEALLOCATE ALL");
        case 6:
            return unnamed_in_batch(messages, block_words[dice_.below(std::size(block_words))]);
        case 7:
            return unnamed_in_batch(messages, dice_.chance(1, 3) ? failing_statement() : write_statement());
        default:
            if (!batch_parameters_.contains(name) && dice_.chance(7, 8)) parse_in_batch(messages, name);
            return run_in_batch(messages, name);
    }
}

void script_writer::named_batch() {
    const std::size_t groups = dice_.size_between(1, 5);
    for (std::size_t done = 0; done < groups; ++done) {
        std::vector<std::string> messages;
        for (std::size_t parts = dice_.size_between(1, 6); parts > 0; --parts) {
            part_of_batch(messages);
            if (dice_.chance(1, 12)) messages.push_back(flush());
            // Some of it goes ahead, and its Sync comes late.
            if (dice_.chance(1, 6)) step(std::exchange(messages, {}), false);
        }
        messages.push_back(sync());
        step(std::move(messages), done + 1 == groups);
    }
}

/// One statement for each row, as executemany and batches do it.
void script_writer::long_batch() {
    const std::string name = batch_name();
    const std::string last = name + "_rows";
    const bool writing = dice_.chance(1, 2);
    const bool describing = dice_.chance(1, 2);
    const std::size_t rows = dice_.size_between(100, 400);
    // Of half of the batches one row fails, and none of it is done.
    const std::size_t fails_at = dice_.chance(1, 2) ? dice_.below(rows) : rows;
    std::vector<std::string> messages = {
        close('S', last), parse(last, writing ? "INSERT INTO kv VALUES ($1, 'v')" : "SELECT $1")};
    for (std::size_t row = 0; row < rows; ++row) {
        const std::string key = mark();
        std::vector<text_or_null> values = {key};
        if (row == fails_at) values.emplace_back(key);
        messages.push_back(frontend::bind("", last, values));
        if (describing) messages.push_back(describe('P', ""));
        messages.push_back(execute(""));
    }
    messages.push_back(sync());
    step(std::move(messages));
}

/// More statements than a server may be allowed to keep, all of them used once more at the end.
void script_writer::many_names() {
    const std::size_t count = dice_.size_between(4, 40);
    const std::string common = "many_";
    std::vector<std::string> messages;
    for (std::size_t at = 0; at < count; ++at) {
        const std::string name = common + std::to_string(at);
        append(messages, {close('S', name), parse(name, "SELECT $1, '" + mark() + "'")});
    }
    for (std::size_t at = 0; at < count; ++at)
        append(messages, {frontend::bind("", common + std::to_string(at), {mark()}), execute("")});
    messages.push_back(sync());
    step(std::move(messages));
    if (dice_.chance(1, 2)) {
        step({frontend::bind("", common + number(0, 40), {mark()}), execute(""), sync()});
    }
}

/// A Query or FunctionCall ends what no Sync has ended; what has failed swallows it.
void script_writer::unsynced_query() {
    std::vector<std::string> messages;
    for (std::size_t parts = dice_.size_between(1, 3); parts > 0; --parts)
        part_of_batch(messages);
    // Some clients have waited for what they flushed.
    if (dice_.chance(1, 3)) {
        messages.push_back(flush());
        step(std::exchange(messages, {}));
    }
    switch (dice_.below(5)) {
        case 0:
            messages.push_back(function_call(textcat_oid, {mark(), "x"}));
            break;
        case 1:
            append(messages, {frontend::query("BEGIN"), frontend::query(write_statement())});
            break;
        default:
            messages.push_back(frontend::query(any_statement()));
            break;
    }
    if (dice_.chance(1, 2)) part_of_batch(messages);
    messages.push_back(sync());
    step(std::move(messages));
}

void script_writer::copy_in_batch() {
    std::vector<std::string> messages;
    part_of_batch(messages);
    unnamed_in_batch(messages, "COPY kv FROM STDIN");
    for (std::size_t lines = dice_.below(5); lines > 0; --lines)
        messages.push_back(copy_data(mark() + "\tcopied\n"));
    messages.push_back(dice_.chance(1, 4) ? copy_fail("changed my mind") : copy_done());
    part_of_batch(messages);
    messages.push_back(sync());
    step(std::move(messages));
}

}  // namespace pgmend::sim
