#pragma once
// Client messages out of fuzz bytes: mostly well formed, of few names and texts, so that they meet; and raw
// or damaged ones among them.

#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/messages.hpp"

namespace pgmend::fuzz {

inline std::string drawn_sql(dice& from) {
    static constexpr std::string_view texts[] = {
        "SELECT 1",
        "SELECT $1",
        "",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SELECT 1; SELECT 2",
        "SELECT 1/0",
        "INSERT INTO kv VALUES ('a', 'b')",
        "SET application_name = 'x'",
        "RESET ALL",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "DEALLOCATE s1",
        "PREPARE s1 AS SELECT 1",
        "EXECUTE s1",
        "LISTEN c",
        "UNLISTEN *",
        "CREATE TEMP TABLE t (i int)",
        "SELECT set_config('a.b', 'c', false)",
        "SET LOCAL work_mem = '1MB'",
        "SELECT pg_advisory_lock(1)",
        "COPY kv FROM STDIN",
        "COPY kv TO STDOUT",
        "DECLARE h CURSOR WITH HOLD FOR SELECT 1",
        "SET ROLE x",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "CREATE TABLE x (i int)",
        "not SQL at all '",
        "SET search_path = a, b",
        "SELECT v FROM kv WHERE k = 'a'",
    };
    const std::uint8_t which = from.u8();
    if (which < 224) return std::string(texts[which % std::size(texts)]);
    std::string text(from.short_text());
    if (which == 255) text.append(5000, ' ');
    return text;
}

inline std::string drawn_name(dice& from) {
    static constexpr std::string_view names[] = {"", "", "s1", "s2", "S_3"};
    const std::uint8_t which = from.u8();
    if (which < 250) return std::string(names[which % std::size(names)]);
    return which == 255 ? std::string(300, 'n') : std::string(from.short_text());
}

/// One message, or some bytes.
inline std::string drawn_request(dice& from) {
    using namespace test;
    switch (from.below(20)) {
        case 0:
        case 1:
            return query(drawn_sql(from));
        case 2:
        case 3: {
            const std::string name = drawn_name(from);
            return parse(name, drawn_sql(from));
        }
        case 4:
        case 5: {
            const std::string statement = drawn_name(from);
            const std::string portal = from.coin() ? "" : drawn_name(from);
            return test::bind(portal, statement);
        }
        case 6: {
            const char what = from.coin() ? 'S' : 'P';
            return describe(what, drawn_name(from));
        }
        case 7:
        case 8: {
            const std::string portal = drawn_name(from);
            return execute(portal, from.u8() & 3U);
        }
        case 9: {
            const char what = from.coin() ? 'S' : 'P';
            return close(what, drawn_name(from));
        }
        case 10:
        case 11:
            return sync();
        case 12:
            return flush();
        case 13:
            return copy_data(from.short_text());
        case 14:
            return from.coin() ? copy_done() : copy_fail("no");
        case 15:
            return function_call(from.u8());
        case 16:
            return std::string(from.short_text());
        case 17: {
            const char type = static_cast<char>(from.u8());
            return message(type, from.short_text());
        }
        case 18: {
            const std::string name = drawn_name(from);
            std::string damaged = parse(name, drawn_sql(from));
            const std::size_t place = 1 + from.below(damaged.size() - 1);
            damaged[place] = static_cast<char>(damaged[place] ^ from.u8());
            return damaged;
        }
        default: {
            const std::string statement = drawn_name(from);
            return test::bind("", statement, {std::string(std::size_t{from.u8()} * 64, 'v')});
        }
    }
}

/// All that `from` has for the rest of it; at most `most` messages.
inline std::string drawn_requests(dice& from, std::size_t most = 200) {
    std::string all;
    for (std::size_t count = 0; count < most && !from.done(); ++count)
        all += drawn_request(from);
    return all;
}

}  // namespace pgmend::fuzz
