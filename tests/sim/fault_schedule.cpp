#include "tests/sim/fault_schedule.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

#include "tests/sim/conversations.hpp"

namespace pgmend::sim {

namespace {

constexpr std::array<std::string_view, 13> kind_names = {
    "cut",       "stall",     "slow",      "refuse", "hang",    "restart", "crash",
    "terminate", "read_only", "half_open", "drain",  "promote", "deny"};
constexpr std::array<std::string_view, 3> cut_names = {"reset", "orderly", "half"};
/// Kinds that came later are drawn apart, so that a seed goes on to mean the rest of its schedule.
constexpr std::uint64_t first_kinds = 9;

std::uint32_t draw(prng& dice, std::int64_t first, std::int64_t last) {
    return static_cast<std::uint32_t>(dice.between(first, last));
}

client_plan draw_client(prng& dice, std::uint32_t number) {
    client_plan plan;
    plan.number = number;
    const std::size_t drawn = dice.below(mixed_habits + 1);
    plan.how = drawn < mixed_habits ? static_cast<habit>(drawn) : habit::mixed;
    plan.seed = dice.next();
    plan.exchanges = draw(dice, 2, 8);
    plan.start_us = draw(dice, 0, 5'000);
    if (dice.chance(1, 8)) plan.write_piece = draw(dice, 1, 7);
    if (dice.chance(1, 8)) plan.read_pause_us = draw(dice, 10, 3'000);
    if (dice.chance(1, 6)) plan.vanish_after = draw(dice, 1, 1'500);
    return plan;
}

fault draw_fault(prng& dice) {
    fault drawn;
    drawn.at_us = draw(dice, 0, 60'000);
    // Connections that break are what pools are made of; the rest is rarer.
    drawn.kind = dice.chance(1, 2) ? fault_kind::cut : static_cast<fault_kind>(dice.below(first_kinds));
    drawn.group = dice.chance(2, 3) ? link_group::server : link_group::client;
    drawn.pick = draw(dice, 0, 15);
    drawn.toward = dice.chance(1, 2) ? end_side::opener : end_side::acceptor;
    drawn.how = dice.chance(1, 2) ? cut_kind::reset : cut_kind::orderly;
    switch (drawn.kind) {
        case fault_kind::cut:
            drawn.bytes = draw(dice, 0, 1'200);
            break;
        case fault_kind::slow:
            drawn.bytes = draw(dice, 20'000, 1'000'000);
            [[fallthrough]];
        case fault_kind::stall:
        case fault_kind::refuse:
        case fault_kind::hang:
        case fault_kind::restart:
        case fault_kind::crash:
        case fault_kind::read_only:
            drawn.for_us = draw(dice, 1'000, 400'000);
            break;
        case fault_kind::terminate:
        case fault_kind::half_open:
        case fault_kind::drain:
        case fault_kind::promote:
        case fault_kind::deny:
            break;
    }
    return drawn;
}

/// A fault of a kind that is drawn apart.
fault draw_later_fault(prng& dice) {
    fault drawn = draw_fault(dice);
    do {
        drawn.kind = static_cast<fault_kind>(first_kinds + dice.below(kind_names.size() - first_kinds));
    } while (drawn.kind == fault_kind::promote);
    drawn.bytes = 0;
    // Keepalive takes seconds to find a connection gone, and what waits for a password half a minute to give
    // up.
    const bool takes_long = drawn.kind == fault_kind::half_open || dice.chance(1, 4);
    drawn.for_us = takes_long ? draw(dice, 400'000, 40'000'000) : draw(dice, 1'000, 400'000);
    return drawn;
}

void draw_later_traits(prng& dice, fault_schedule& into) {
    for (client_plan& plan : into.clients) {
        if (dice.chance(1, 5)) plan.minor = dice.chance(1, 2) ? 2 : 9;
        plan.asks_option = dice.chance(1, 12);
        plan.wrong_password = dice.chance(1, 8);
    }
    if (dice.chance(1, 3)) into.settings = draw_settings(dice);
    if (dice.chance(1, 4)) {
        const auto changed = draw_reload(dice, draw(dice, 1, 60'000));
        into.settings.insert(into.settings.end(), changed.begin(), changed.end());
    }
    if (into.faults.empty()) return;
    if (dice.chance(1, 3)) into.faults.push_back(draw_later_fault(dice));
    into.standby = dice.chance(1, 5);
    if (!into.standby || dice.chance(1, 4)) return;
    fault change;
    change.kind = fault_kind::promote;
    change.at_us = draw(dice, 0, 60'000);
    change.bytes = draw(dice, 1'000, 200'000);
    change.for_us = change.bytes + draw(dice, 1'000, 400'000);
    into.faults.push_back(change);
}

}  // namespace

std::string_view to_string(fault_kind which) noexcept { return kind_names[static_cast<std::size_t>(which)]; }

link_traits fault_schedule::traits() const {
    return {std::chrono::microseconds(latency_us), std::chrono::microseconds(jitter_us), buffer, fragment};
}

std::uint32_t fault_schedule::healed_us() const noexcept {
    std::uint32_t last = 0;
    for (const auto& one : faults)
        last = std::max(last, one.end_us());
    for (const auto& one : settings)
        last = std::max(last, one.at_us);
    return last;
}

fault_schedule draw_schedule(std::uint64_t seed) {
    prng dice(seed ^ 0x5c4ed01e);
    fault_schedule drawn;
    drawn.seed = seed;
    drawn.latency_us = draw(dice, 5, 500);
    if (dice.chance(1, 2)) drawn.jitter_us = draw(dice, 1, 1'000);
    drawn.buffer = 1U << draw(dice, 10, 16);
    if (dice.chance(1, 3)) drawn.fragment = dice.chance(1, 3) ? 1 : draw(dice, 2, 64);
    drawn.shuffle = dice.chance(1, 2);
    drawn.server_connections = draw(dice, 1, 6);
    const std::uint32_t clients = draw(dice, 1, 8);
    for (std::uint32_t number = 1; number <= clients; ++number)
        drawn.clients.push_back(draw_client(dice, number));
    // A third of the runs is without faults: there every answer must be PostgreSQL's to the letter.
    if (!dice.chance(1, 3)) {
        for (std::uint32_t left = draw(dice, 1, 5); left > 0; --left)
            drawn.faults.push_back(draw_fault(dice));
    }
    prng later_dice(seed ^ 0x1a7e4d1ce);
    draw_later_traits(later_dice, drawn);
    prng latest_dice(seed ^ 0xba7c4e5);
    for (client_plan& plan : drawn.clients) {
        if (latest_dice.chance(1, 4)) plan.how = habit::batches;
        plan.more_parameters = latest_dice.chance(1, 6);
    }
    // Otherwise hardly any run would read from a standby.
    prng reads_dice(seed ^ 0x57a4db1);
    if (reads_dice.chance(1, 8)) {
        drawn.standby = true;
        drawn.settings.push_back(
            {0, "reads.mode", reads_dice.chance(1, 5) ? "prefer_primary" : "prefer_standby"}
        );
    }
    std::sort(drawn.faults.begin(), drawn.faults.end(), [](const fault& one, const fault& two) {
        return one.at_us < two.at_us;
    });
    return drawn;
}

std::string to_text(const fault_schedule& schedule) {
    std::ostringstream out;
    out << "run seed=" << schedule.seed << " latency_us=" << schedule.latency_us
        << " jitter_us=" << schedule.jitter_us << " buffer=" << schedule.buffer
        << " fragment=" << schedule.fragment << " shuffle=" << schedule.shuffle
        << " server_connections=" << schedule.server_connections;
    if (schedule.standby) out << " standby=1";
    out << "\n";
    for (const auto& plan : schedule.clients) {
        out << "client number=" << plan.number << " habit=" << to_string(plan.how) << " seed=" << plan.seed
            << " exchanges=" << plan.exchanges << " start_us=" << plan.start_us
            << " write_piece=" << plan.write_piece << " read_pause_us=" << plan.read_pause_us
            << " vanish_after=" << plan.vanish_after;
        if (!plan.conversation.empty()) out << " conversation=" << plan.conversation;
        if (plan.minor > 0) out << " minor=" << plan.minor;
        if (plan.asks_option) out << " asks_option=1";
        if (plan.wrong_password) out << " wrong_password=1";
        if (plan.more_parameters) out << " more_parameters=1";
        out << "\n";
    }
    for (const auto& one : schedule.settings)
        out << "setting at_us=" << one.at_us << " key=" << one.key << " value=" << one.value << "\n";
    for (const auto& one : schedule.faults) {
        out << "fault at_us=" << one.at_us << " kind=" << kind_names[static_cast<std::size_t>(one.kind)]
            << " links=" << (one.group == link_group::server ? "server" : "client") << " pick=" << one.pick
            << " toward=" << (one.toward == end_side::opener ? "opener" : "acceptor")
            << " bytes=" << one.bytes << " for_us=" << one.for_us
            << " how=" << cut_names[static_cast<std::size_t>(one.how)];
        if (one.nth > 0) out << " nth=" << one.nth;
        out << "\n";
    }
    for (const auto& mark : schedule.expected)
        out << "expect " << mark << "\n";
    return out.str();
}

namespace {

/// The `key=value` words of one line.
class line_fields {
public:
    explicit line_fields(std::istream& words) {
        for (std::string word; words >> word;) {
            const auto equals = word.find('=');
            if (equals == std::string::npos) {
                sound_ = false;
            } else {
                fields_[word.substr(0, equals)] = word.substr(equals + 1);
            }
        }
    }
    std::string text(const std::string& key) {
        const auto found = fields_.find(key);
        if (found == fields_.end()) sound_ = false;
        return found == fields_.end() ? "" : found->second;
    }
    template <class Number>
    void read(const std::string& key, Number& into) {
        std::istringstream value(text(key));
        if (!(value >> into)) sound_ = false;
    }
    bool has(const std::string& key) const { return fields_.contains(key); }
    bool choice(const std::string& key, std::string_view yes, std::string_view no) {
        const std::string value = text(key);
        if (value != yes && value != no) sound_ = false;
        return value == yes;
    }
    void fail() { sound_ = false; }
    bool sound() const { return sound_; }

private:
    std::map<std::string, std::string> fields_;
    bool sound_ = true;
};

void read_client(line_fields& fields, fault_schedule& into) {
    client_plan plan;
    const auto how = habit_from(fields.text("habit"));
    if (!how) fields.fail();
    plan.how = how.value_or(habit::simple);
    fields.read("number", plan.number);
    fields.read("seed", plan.seed);
    fields.read("exchanges", plan.exchanges);
    fields.read("start_us", plan.start_us);
    fields.read("write_piece", plan.write_piece);
    fields.read("read_pause_us", plan.read_pause_us);
    fields.read("vanish_after", plan.vanish_after);
    if (fields.has("minor")) fields.read("minor", plan.minor);
    if (fields.has("asks_option")) fields.read("asks_option", plan.asks_option);
    if (fields.has("wrong_password")) fields.read("wrong_password", plan.wrong_password);
    if (fields.has("more_parameters")) fields.read("more_parameters", plan.more_parameters);
    if (fields.has("conversation")) {
        plan.conversation = fields.text("conversation");
        if (!is_conversation(plan.conversation)) fields.fail();
    }
    into.clients.push_back(plan);
}

void read_fault(line_fields& fields, fault_schedule& into) {
    fault one;
    const auto kind = std::find(kind_names.begin(), kind_names.end(), fields.text("kind"));
    if (kind == kind_names.end()) return fields.fail();
    one.kind = static_cast<fault_kind>(kind - kind_names.begin());
    one.group = fields.choice("links", "server", "client") ? link_group::server : link_group::client;
    one.toward = fields.choice("toward", "opener", "acceptor") ? end_side::opener : end_side::acceptor;
    const auto how = std::find(cut_names.begin(), cut_names.end(), fields.text("how"));
    if (how == cut_names.end()) return fields.fail();
    one.how = static_cast<cut_kind>(how - cut_names.begin());
    fields.read("at_us", one.at_us);
    fields.read("pick", one.pick);
    fields.read("bytes", one.bytes);
    fields.read("for_us", one.for_us);
    if (fields.has("nth")) {
        fields.read("nth", one.nth);
        if (one.kind != fault_kind::cut && one.kind != fault_kind::stall) fields.fail();
    }
    into.faults.push_back(one);
}

void read_run(line_fields& fields, fault_schedule& into) {
    fields.read("seed", into.seed);
    fields.read("latency_us", into.latency_us);
    fields.read("jitter_us", into.jitter_us);
    fields.read("buffer", into.buffer);
    fields.read("fragment", into.fragment);
    fields.read("shuffle", into.shuffle);
    fields.read("server_connections", into.server_connections);
    if (fields.has("standby")) fields.read("standby", into.standby);
}

}  // namespace

std::optional<fault_schedule> schedule_from_text(const std::string& text, std::string& problem) {
    fault_schedule schedule;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string first;
        if (!(words >> first) || first.starts_with('#')) continue;
        if (first == "expect") {
            std::string mark;
            std::getline(words >> std::ws, mark);
            schedule.expected.push_back(mark);
            continue;
        }
        line_fields fields(words);
        if (first == "run") {
            read_run(fields, schedule);
        } else if (first == "client") {
            read_client(fields, schedule);
        } else if (first == "setting") {
            setting_change change;
            fields.read("at_us", change.at_us);
            change.key = fields.text("key");
            change.value = fields.text("value");
            schedule.settings.push_back(change);
        } else if (first == "fault") {
            read_fault(fields, schedule);
        } else {
            fields.fail();
        }
        if (!fields.sound()) {
            problem = line;
            return std::nullopt;
        }
    }
    return schedule;
}

}  // namespace pgmend::sim
