#include "tests/sim/client_script.hpp"

#include <array>

#include "tests/sim/script_writer.hpp"

namespace pgmend::sim {

namespace {

constexpr std::array<std::string_view, habits_count> names = {
    "simple",       "extended", "named_flush",      "two_trips", "pipeline",  "portals",     "copy",
    "transactions", "settings", "temporary_tables", "locks",     "listening", "sql_prepare", "bulk",
    "cancelling",   "cursors",  "hidden",           "batches",   "mixed",
};

}  // namespace

std::string_view to_string(habit which) noexcept { return names[static_cast<std::size_t>(which)]; }

std::optional<habit> habit_from(std::string_view name) noexcept {
    for (std::size_t place = 0; place < names.size(); ++place) {
        if (names[place] == name) return static_cast<habit>(place);
    }
    return std::nullopt;
}

std::vector<name_value> draw_startup(habit how, prng& dice) {
    std::vector<name_value> parameters;
    if (how != habit::settings && how != habit::mixed && !dice.chance(1, 4)) return parameters;
    if (dice.chance(1, 2)) parameters.emplace_back("application_name", "app" + std::to_string(dice.below(3)));
    if (dice.chance(1, 3))
        parameters.emplace_back("TimeZone", dice.chance(1, 2) ? "Europe/Berlin" : "Asia/Tokyo");
    if (dice.chance(1, 4)) parameters.emplace_back("client_encoding", "utf-8");
    if (dice.chance(1, 4)) parameters.emplace_back("extra_float_digits", "2");
    return parameters;
}

std::vector<script_step> write_script(habit how, prng& dice, const std::string& tag, std::size_t count) {
    script_writer writer(dice, tag);
    for (std::size_t done = 0; done < count; ++done)
        writer.exchange(how);
    writer.farewell();
    return writer.take();
}

}  // namespace pgmend::sim
