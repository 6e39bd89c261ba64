#pragma once
// What simulated clients do: the protocol habits of real drivers, drawn at random and written down as steps
// of messages. What the answers must be is not written down: reply_checker knows. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/prng.hpp"
#include "tests/sim/sim_environment.hpp"
#include "tests/sim/wire.hpp"

namespace pgmend::sim {

/// How a client speaks; after the drivers that do so.
enum class habit : std::uint8_t {
    simple,        ///< psql, psycopg2: one Query at a time
    extended,      ///< psycopg 3, node-postgres: unnamed Parse, Bind, Describe, Execute, Sync in one flight
    named_flush,   ///< asyncpg, postgres.js: Parse, Describe, Flush; wait; Bind, Execute, Sync; statements
                   ///< reused
    two_trips,     ///< lib/pq: Parse, Describe, Sync; wait; Bind and Execute of the unnamed statement, Sync
    pipeline,      ///< libpq's pipeline mode, pgx batches: many in flight, errors among them
    portals,       ///< pgjdbc's fetch size, asyncpg's cursors: Execute with row limits in a transaction
    copy,          ///< COPY in both directions and both protocols, failing and not
    transactions,  ///< blocks with savepoints and errors, committed, rolled back or left open
    settings,      ///< SET, RESET, SET LOCAL, startup parameters; what was set must be seen
    temporary_tables,  ///< tables of the same name in every client
    locks,             ///< session advisory locks, waited for
    listening,         ///< LISTEN and NOTIFY on an own channel
    sql_prepare,       ///< PREPARE, EXECUTE, DEALLOCATE in SQL
    bulk,              ///< parameters and rows larger than any buffer
    cancelling,        ///< pg_sleep and a CancelRequest
    cursors,           ///< DECLARE … WITH HOLD, FETCH
    hidden,            ///< a trigger changes the session; who fired it must see it, nobody else
    batches,  ///< pgx, psycopg 3, asyncpg: named statements in pipelines, hundreds of Executes a Sync, Query
              ///< behind what no Sync has ended; other habits between
    mixed,    ///< all but the one above, a step each
};
/// Habits that came later are drawn apart, so that a seed goes on to mean the rest of its schedule.
inline constexpr std::size_t mixed_habits = static_cast<std::size_t>(habit::hidden) + 1;
inline constexpr std::size_t habits_count = static_cast<std::size_t>(habit::mixed) + 1;

std::string_view to_string(habit which) noexcept;
std::optional<habit> habit_from(std::string_view name) noexcept;

/// Messages sent in one go, and what comes after them.
struct script_step {
    std::vector<std::string> messages;
    bool wait = true;                      ///< for every answer owed, before the next step
    std::optional<duration> cancel_after;  ///< the step is one Query that a CancelRequest may end
    duration pause{};                      ///< before it
};

/// Startup parameters besides user and database, drawn for a client of this habit.
std::vector<name_value> draw_startup(habit how, prng& dice);

/// `count` exchanges of one connection. `tag` stands in every statement and key, followed by '#'.
std::vector<script_step> write_script(habit how, prng& dice, const std::string& tag, std::size_t count);

}  // namespace pgmend::sim
