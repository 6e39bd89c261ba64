#include "tests/sim/conversations.hpp"

#include <algorithm>

namespace pgmend::sim {

using namespace frontend;

namespace {

/// The one that proves a password.
constexpr std::string_view scram_conversation = "scram";
/// The one in which the subject adds messages of its own.
constexpr std::string_view injected_conversation = "injected";

using steps = std::vector<script_step>;

/// Statements whose marks are those of one connection.
class sentences {
public:
    explicit sentences(const std::string& tag) : tag_(tag) {}
    std::string mark(int number) const { return tag_ + "#" + std::to_string(number); }
    std::string select(int number) const { return "SELECT '" + mark(number) + "'"; }
    std::string insert(int number) const { return "INSERT INTO kv VALUES ('" + mark(number) + "', 'v')"; }
    /// Nobody else's, not even of the same client's next connection.
    std::string channel() const {
        std::string name = "channel_" + tag_;
        std::replace(name.begin(), name.end(), '.', '_');
        return name;
    }

private:
    std::string tag_;
};

script_step step(std::vector<std::string> messages, bool wait = true) {
    script_step made;
    made.messages = std::move(messages);
    made.wait = wait;
    return made;
}

script_step simple(const std::string& sql) { return step({frontend::query(sql)}); }

/// Parse, Bind and Execute of one unnamed statement, without a Sync.
std::vector<std::string> unnamed(const std::string& sql, const std::vector<text_or_null>& values = {}) {
    return {parse("", sql), frontend::bind("", "", values), execute("")};
}

std::vector<std::string> joined(std::vector<std::vector<std::string>> parts, bool with_sync = true) {
    std::vector<std::string> all;
    for (auto& part : parts)
        all.insert(all.end(), part.begin(), part.end());
    if (with_sync) all.push_back(sync());
    return all;
}

steps write_login(const sentences& say) { return {simple(say.select(1))}; }

steps write_simple(const sentences& say) {
    return {simple(say.select(1)), simple(say.insert(2)), simple(say.select(3) + "; " + say.insert(4))};
}

steps write_extended(const sentences& say) {
    auto described = unnamed("SELECT $1, '" + say.mark(1) + "'", {say.mark(2)});
    described.insert(described.begin() + 2, describe('P', ""));
    return {step(joined({described})), step(joined({unnamed(say.insert(3))}))};
}

steps write_pipeline(const sentences& say) {
    return {
        step(joined({unnamed(say.insert(1)), unnamed(say.select(2))}), false),
        step(joined({unnamed(say.select(3))}), false), step(joined({unnamed(say.insert(4))}))};
}

/// Writes outside of a block, of which the server is asked ahead of their Sync.
steps write_guarded(const sentences& say) {
    const std::string named = "INSERT INTO kv VALUES ($1, 'v')";
    return {
        step(joined({unnamed(say.insert(1))})),
        step(joined({unnamed(say.insert(2)), unnamed(say.select(3)), unnamed(say.insert(4))})),
        step({parse("mine", named), frontend::bind("", "mine", {say.mark(5)}), execute(""), sync()}),
        step({frontend::bind("", "mine", {say.mark(6)}), execute(""), flush()}),
        step({sync()}),
        step(joined({unnamed("UPDATE kv SET v = 'w' WHERE k = '" + say.mark(77) + "'")}))};
}

steps write_error_in_pipeline(const sentences& say) {
    return {
        step(joined({unnamed(say.insert(1)), unnamed("SELECT nonsense"), unnamed(say.insert(2))}), false),
        step(joined({unnamed(say.select(3))}))};
}

steps write_copy_in(const sentences& say) {
    return {
        simple("COPY kv FROM STDIN"),
        step({copy_data(say.mark(1) + "\tco"), copy_data("pied\n" + say.mark(2) + "\tcopied\n"), copy_done()}
        ),
        step(joined({unnamed("COPY kv FROM STDIN"), {copy_data(say.mark(3) + "\tcopied\n"), copy_done()}}))};
}

steps write_copy_out(const sentences& say) {
    const std::string sql =
        "COPY (SELECT '" + say.mark(1) + "', i FROM generate_series(1, 5) AS i) TO STDOUT";
    return {simple(sql), step(joined({unnamed(sql)}))};
}

steps write_block(const sentences& say) {
    return {
        simple("BEGIN"), simple(say.insert(1)), simple(say.select(2)), simple(say.insert(3)),
        simple("COMMIT")};
}

steps write_reuse(const sentences& say) {
    const std::vector<std::string> again = {frontend::bind("", "mine", {say.mark(2)}), execute(""), sync()};
    return {
        step({parse("mine", "SELECT $1, '" + say.mark(1) + "'"), describe('S', "mine"), flush()}),
        step(again), step(again), step({frontend::close('S', "mine"), sync()})};
}

steps write_cancel(const sentences& say) {
    steps made = {simple("SELECT pg_sleep(0.02)"), simple(say.select(1))};
    made.front().cancel_after = std::chrono::milliseconds(5);
    return made;
}

steps write_session(const sentences& say) {
    return {
        simple("SET application_name = '" + say.mark(1) + "'"), simple("SHOW application_name"),
        simple("LISTEN " + say.channel()), simple("NOTIFY " + say.channel() + ", '" + say.mark(2) + "'"),
        simple("UNLISTEN *")};
}

steps write_portals(const sentences& say) {
    const std::string rows = "SELECT '" + say.mark(1) + "', i FROM generate_series(1, 7) AS i";
    return {
        step(joined(
            {unnamed("BEGIN"),
             {parse("", rows), frontend::bind("C_1", ""), describe('P', "C_1"), execute("C_1", 3)}}
        )),
        step({execute("C_1", 3), flush()}), step({execute("C_1", 3), sync()}),
        step(joined({{frontend::close('P', "C_1")}, unnamed(say.insert(2)), unnamed("COMMIT")}))};
}

steps write_pinned(const sentences& say) {
    return {
        simple("CREATE TEMP TABLE scratch (v text)"),
        simple("INSERT INTO scratch VALUES ('" + say.mark(1) + "')"),
        step(joined({unnamed("SELECT v FROM scratch"), unnamed(say.insert(2))})),
        simple("DROP TABLE scratch")};
}

steps write_large(const sentences& say) {
    const std::string large(20'000, 'l');
    return {
        step(joined({unnamed("SELECT length($1), '" + say.mark(1) + "'", {large})})),
        simple("SELECT '" + say.mark(2) + "', repeat('y', 20000)"),
        step(joined({unnamed(say.insert(3)), {parse("", "SELECT '" + say.mark(4) + "' /* " + large + " */")}})
        )};
}

/// What the server needs beside what the client has sent: each statement has taken the place of the other
/// one, and the settings are the neighbour's.
steps write_injected(const sentences& say) {
    const auto use = [&](const std::string& name, int number) {
        return std::vector<std::string>{frontend::bind("", name, {say.mark(number)}), execute("")};
    };
    return {
        step(
            {parse("one", "SELECT $1, '" + say.mark(1) + "'"),
             parse("two", "SELECT $1, '" + say.mark(2) + "'"), sync()}
        ),
        simple("SET work_mem TO '7MB'"),
        step(joined({use("one", 3)})),
        step(joined({use("two", 4), unnamed(say.insert(5))})),
        step(joined({use("one", 6), unnamed("DEALLOCATE two")})),
        simple("SHOW work_mem")};
}

struct conversation {
    std::string name;
    steps (*write)(const sentences& say);
};

const std::vector<conversation>& conversations() {
    static const std::vector<conversation> all = {
        {std::string(login_conversation), write_login},
        {"simple", write_simple},
        {"extended", write_extended},
        {"pipeline", write_pipeline},
        {"guarded", write_guarded},
        {"guarded_strictly", write_guarded},
        {"error_in_pipeline", write_error_in_pipeline},
        {"copy_in", write_copy_in},
        {"copy_out", write_copy_out},
        {"block", write_block},
        {"reuse", write_reuse},
        {"cancel", write_cancel},
        {"session", write_session},
        {std::string(scram_conversation), write_login},
        {"portals", write_portals},
        {"pinned", write_pinned},
        {std::string(large_conversation), write_large},
        {std::string(injected_conversation), write_injected},
    };
    return all;
}

const conversation* find(std::string_view name) {
    const auto found = std::find_if(conversations().begin(), conversations().end(), [&](const auto& one) {
        return one.name == name;
    });
    return found == conversations().end() ? nullptr : &*found;
}

}  // namespace

const std::vector<std::string>& conversation_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> all;
        for (const auto& one : conversations())
            all.push_back(one.name);
        return all;
    }();
    return names;
}

bool is_conversation(std::string_view name) { return find(name) != nullptr; }

std::vector<name_value> conversation_startup(std::string_view name) {
    if (name != login_conversation) return {};
    return {{"application_name", "swept"}, {"TimeZone", "Asia/Tokyo"}};
}

std::vector<name_value> conversation_settings(std::string_view name) {
    if (name == scram_conversation) return {{"auth.method", "scram-sha-256"}};
    if (name == injected_conversation) return {{"pool.max_prepared_statements", "1"}};
    if (!name.starts_with("guarded")) return {};
    return {
        {"guard.commit_outcome", "on"},
        {"guard.autocommit_writes", name.ends_with("strictly") ? "strict" : "flight"}};
}

std::vector<script_step> write_conversation(std::string_view name, const std::string& tag) {
    const sentences say(tag);
    auto made = find(name)->write(say);
    made.push_back(simple(say.select(9)));
    return made;
}

}  // namespace pgmend::sim
