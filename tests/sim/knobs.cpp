#include "tests/sim/knobs.hpp"

#include <algorithm>
#include <bit>
#include <sstream>

#include "config/settings.hpp"

namespace pgmend::sim {

namespace {

/// A setting and what may be drawn for it: one of some words, or a number in its unit.
struct knob {
    std::string key;
    bool live = false;  ///< a reload may change it
    std::vector<std::string> words;
    std::uint64_t lowest = 0;
    std::uint64_t highest = 0;
    std::string unit;
};

/// Sections of which every setting concerns requests on their way.
constexpr std::string_view drawn_sections[] = {"pool.",   "hold.",    "retry.",  "replay.",  "guard.",
                                               "limits.", "breaker.", "ledger.", "catalog.", "reads."};

/// Drawn from less than the registry allows, because beyond it clients would rightly notice, or wait for
/// longer than the simulator does. Also settings of other sections that are drawn at all.
struct narrowing {
    std::string_view key;
    std::string_view lowest;
    std::string_view highest;
};
constexpr narrowing narrowed[] = {
    {"pool.size", "1", "6"},
    {"pool.min_size", "0", "1"},  // not more than the smallest size
    {"pool.reserve_size", "0", "3"},
    {"pool.wait_timeout", "120s", "24h"},
    {"pool.retry_delay_min", "1ms", "100ms"},
    {"pool.retry_delay_max", "100ms", "5s"},
    {"retry.delay_min", "1ms", "100ms"},
    {"retry.delay_max", "100ms", "2s"},
    {"breaker.cooldown", "1ms", "5min"},
    {"breaker.cooldown_max", "5min", "24h"},
    {"limits.statement_cache", "16", "10000"},  // the memory of a whole cache is taken at the start
    {"listen.max_channels", "0", "1000000"},
    {"listen.max_notifications", "1MiB", "1GiB"},
    {"listen.login_timeout", "10s", "1h"},
    {"upstream.connect_timeout", "1s", "1h"},
};

/// Words that mean something that clients notice are left out here, and so are settings of other sections.
struct choice {
    std::string_view key;
    std::string_view words;
};
constexpr choice choices[] = {
    {"pool.session_state", "virtual pin"},
    {"auth.method", "trust password md5 scram-sha-256"},
};

/// What clients rightly notice: refusals by limits, and another end of abandoned transactions.
constexpr std::string_view left_out[] = {
    "pool.on_abandoned_transaction",
    "limits.user_clients",
    "limits.database_clients",
    "limits.address_clients",
    "limits.application_clients",
    "limits.user_requests",
    "limits.database_requests",
    "limits.address_requests",
    "limits.application_requests",
    "limits.waiting_clients",
    "limits.queue_delay",
    "limits.client_prepared_statements",
    "limits.query_timeout",
    "limits.idle_transaction_timeout",
    "limits.transaction_timeout",
    "limits.result_size"};

template <class Table>
auto entry(const Table& table, std::string_view key) {
    return std::find_if(std::begin(table), std::end(table), [key](const auto& one) {
        return one.key == key;
    });
}

std::vector<std::string> words_of(const std::string& text) {
    std::istringstream in(text);
    std::vector<std::string> words;
    for (std::string word; in >> word;) {
        if (word.ends_with(',')) word.pop_back();
        words.push_back(word);
    }
    return words;
}

/// `text` in the smallest unit of its kind, which is returned as well.
std::uint64_t in_smallest_unit(const std::string& text, std::string& unit) {
    if (const auto count = config::parse_count(text); count.value) return *count.value;
    if (const auto time = config::parse_duration(text); time.value) {
        unit = "ms";
        return static_cast<std::uint64_t>(time.value->count());
    }
    unit = "B";
    return config::parse_size(text).value.value_or(config::byte_size{}).bytes;
}

void set_range(knob& into, const std::string& lowest, const std::string& highest) {
    into.lowest = in_smallest_unit(lowest, into.unit);
    into.highest = in_smallest_unit(highest, into.unit);
}

/// False for a setting that is not drawn.
bool describe_knob(const config::setting_base& setting, knob& made) {
    made.key = setting.key();
    made.live = setting.reload() != config::reload_class::restart;
    if (const auto some = entry(choices, made.key); some != std::end(choices)) {
        made.words = words_of(std::string(some->words));
        return true;
    }
    if (const auto less = entry(narrowed, made.key); less != std::end(narrowed)) {
        set_range(made, std::string(less->lowest), std::string(less->highest));
        return true;
    }
    const bool concerns =
        std::any_of(std::begin(drawn_sections), std::end(drawn_sections), [&](std::string_view section) {
            return made.key.starts_with(section);
        });
    const bool noticed = std::find(std::begin(left_out), std::end(left_out), made.key) != std::end(left_out);
    if (!concerns || noticed || setting.structured()) return false;
    const std::string allowed = setting.allowed();
    if (allowed.starts_with("one of ")) {
        made.words = words_of(allowed.substr(7));
        return true;
    }
    const auto dots = allowed.find("..");
    const auto space = allowed.rfind(' ', dots);
    if (dots == std::string::npos || space == std::string::npos) return false;
    set_range(made, allowed.substr(space + 1, dots - space - 1), allowed.substr(dots + 2));
    return true;
}

const std::vector<knob>& knobs() {
    static const std::vector<knob> all = [] {
        std::vector<knob> found;
        const config::settings settings;
        for (const config::setting_base* setting : settings.all()) {
            knob made;
            if (describe_knob(*setting, made)) found.push_back(std::move(made));
        }
        return found;
    }();
    return all;
}

/// The ends are what breaks things; between them every order of magnitude is as likely.
std::uint64_t draw_number(prng& dice, std::uint64_t lowest, std::uint64_t highest) {
    const std::uint64_t span = highest - lowest;
    if (dice.chance(1, 4)) return lowest;
    if (dice.chance(1, 6)) return highest;
    const auto bits = dice.below(static_cast<std::uint64_t>(std::bit_width(span)) + 1);
    return lowest + std::min(span, dice.below(std::uint64_t{1} << std::min<std::uint64_t>(bits, 62)));
}

std::string draw_value(prng& dice, const knob& of) {
    if (!of.words.empty()) return dice.pick(of.words);
    return std::to_string(draw_number(dice, of.lowest, of.highest)) + of.unit;
}

}  // namespace

std::vector<setting_change> draw_settings(prng& dice) {
    std::vector<setting_change> drawn;
    for (const knob& each : knobs()) {
        // The schedule says it by itself.
        if (each.key == "pool.size" || !dice.chance(1, 5)) continue;
        drawn.push_back({0, each.key, draw_value(dice, each)});
    }
    return drawn;
}

std::vector<setting_change> draw_reload(prng& dice, std::uint32_t at_us) {
    std::vector<setting_change> drawn;
    for (const knob& each : knobs()) {
        if (each.live && dice.chance(1, 8)) drawn.push_back({at_us, each.key, draw_value(dice, each)});
    }
    return drawn;
}

}  // namespace pgmend::sim
