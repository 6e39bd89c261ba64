// What is typed on the admin console, and how it is said: the command reader alone, and consoles of one
// process by both protocols, before a desk that answers late, with rows, errors and notices. Who may only
// look changes nothing.

#include <algorithm>

#include "proxy/admin/admin_port.hpp"
#include "proxy/admin/admin_role.hpp"
#include "tests/fuzz/proxy_world.hpp"
#include "tests/support/messages.hpp"

namespace pgmend::fuzz {

namespace {

using proxy::admin_command;
using proxy::admin_verb;
using proxy::show_topic;

std::string in_quotes(const std::string& text) {
    std::string quoted = "\"";
    for (const char each : text)
        quoted += each == '"' ? std::string("\"\"") : std::string(1, each);
    return quoted + "\"";
}

/// The command as somebody might have typed it.
std::string typed(const admin_command& command) {
    const std::string tag{proxy::tag_of(command)};
    switch (command.verb) {
        case admin_verb::show: {
            if (command.topic == show_topic::parameter) return "SHOW " + command.argument;
            const auto words = proxy::show_words();
            const auto known = std::find_if(words.begin(), words.end(), [&](const auto& each) {
                return each.topic == command.topic;
            });
            require(known != words.end(), "each topic has a word");
            return "SHOW " + std::string(known->word);
        }
        case admin_verb::select_number:
            return "SELECT " + command.argument;
        case admin_verb::select_version:
            return "SELECT version()";
        case admin_verb::set:
            return "SET " + in_quotes(command.argument) + " = " + in_quotes(command.value);
        case admin_verb::reset_statements:
            return "RESET STATEMENTS";
        case admin_verb::shutdown:
            if (command.wait == proxy::shutdown_wait::none) return tag;
            return tag + (command.wait == proxy::shutdown_wait::for_servers ? " WAIT_FOR_SERVERS"
                                                                            : " WAIT_FOR_CLIENTS");
        case admin_verb::ban:
            return tag + " " + in_quotes(command.argument) +
                   (command.value.empty() ? "" : " " + command.value) + (command.forced ? " FORCE" : "");
        case admin_verb::pause:
        case admin_verb::resume:
        case admin_verb::reconnect:
        case admin_verb::disable:
        case admin_verb::enable:
        case admin_verb::kill:
        case admin_verb::kill_client:
        case admin_verb::wait_close:
        case admin_verb::reload:
        case admin_verb::unban:
        case admin_verb::begin:
        case admin_verb::commit:
        case admin_verb::rollback:
            return command.argument.empty() ? tag : tag + " " + in_quotes(command.argument);
    }
    return tag;
}

/// Commands or an error, never both; and what was understood means the same when it is typed again.
void check_reader(std::string_view text) {
    const exact_copy bounded(text);
    const proxy::admin_parse parsed = proxy::parse_admin(bounded.text());
    if (parsed.error) {
        require(parsed.commands.empty(), "with an error no command counts");
        require(
            parsed.error->sqlstate.size() == 5 && !parsed.error->message.empty(),
            "an error says what is wrong"
        );
        return;
    }
    std::string again;
    for (const admin_command& command : parsed.commands) {
        require(!proxy::tag_of(command).empty(), "each command has a tag");
        again += typed(command) + ";";
    }
    const proxy::admin_parse second = proxy::parse_admin(again);
    require(
        !second.error && second.commands == parsed.commands, "a command means the same when it is typed again"
    );
}

/// The control thread's side: answers in its time, what the input says. Who may only look never comes here to
/// change.
class fuzzed_desk {
public:
    fuzzed_desk(sim::sim_environment& env, bool may_change)
        : may_change_(may_change), timer_(env, [this] { work(); }) {}

    void take(proxy::admin_request request, std::shared_ptr<proxy::admin_ticket> ticket, std::uint8_t mood) {
        require(
            may_change_ || !proxy::changes_something(request.command), "who may only look changes nothing"
        );
        asked_.push_back({std::move(request), std::move(ticket), mood});
        if (!timer_.running()) timer_.after(std::chrono::microseconds(1 + mood % 4 * 300));
    }

private:
    struct question {
        proxy::admin_request request;
        std::shared_ptr<proxy::admin_ticket> ticket;
        std::uint8_t mood;
    };
    void work() {
        for (auto& [request, ticket, mood] : std::exchange(asked_, {})) {
            proxy::admin_answer answer;
            const admin_command& command = request.command;
            if (mood % 5 == 0) {
                answer.error = proxy::admin_error{"55000", "not now", "Try again."};
            } else if (command.verb == admin_verb::show) {
                const std::size_t width = proxy::columns_of(command.topic).size();
                answer.rows.assign(mood % 7 * 40U, proxy::table_row(width, std::string(mood % 3, '7')));
            }
            if (mood % 3 == 0) answer.notice = "noticed";
            ticket->deliver(std::move(answer));
        }
    }

    bool may_change_;
    sim::world_timer timer_;
    std::vector<question> asked_;
};

std::string drawn_text(dice& from) {
    static constexpr const char* texts[] = {
        "SHOW POOLS",
        "SHOW CLIENTS;",
        "SHOW CONFIG",
        "PAUSE app",
        "RESUME",
        "SET pool.size = 3",
        "SELECT 1",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SHOW nonsense",
        "RELOAD; SHOW LISTS",
        "",
        "KILL_CLIENT 7",
        "SHOW HELP",
        "SELECT version()",
        "SHOW TIMEZONE; ;",
        "SHUTDOWN",
    };
    const std::uint8_t which = from.u8();
    if (which < 200) return texts[which % std::size(texts)];
    return std::string(from.short_text());
}

/// Messages as drivers send them, and some that none would.
std::string drawn_messages(dice& from) {
    std::string all;
    for (int left = 40; left > 0 && !from.done(); --left) {
        const std::string name(from.u8() % 3, 's');
        const auto number = [&from](std::size_t below) { return static_cast<char>(from.below(below)); };
        switch (from.below(12)) {
            case 0:
            case 1:
                all += test::message('Q', test::z(drawn_text(from)));
                break;
            case 2:
            case 3:
                all += test::message('P', test::z(name) + test::z(drawn_text(from)) + std::string(2, '\0'));
                break;
            case 4: {
                // Formats of the columns, their number first.
                std::string formats;
                const std::size_t count = from.below(4);
                for (std::size_t each = 0; each < count; ++each)
                    formats += std::string(1, '\0') + number(3);
                all += test::message(
                    'B', test::z(std::string(from.below(3), 'p')) + test::z(name) + std::string(4, '\0') +
                             std::string(1, '\0') + static_cast<char>(count) + formats
                );
                break;
            }
            case 5:
                all += test::message('D', std::string(1, from.coin() ? 'S' : 'P') + test::z(name));
                break;
            case 6:
            case 7:
                all +=
                    test::message('E', test::z(std::string(from.below(3), 'p')) + test::u32(from.u8() % 4));
                break;
            case 8:
                all += test::message('C', std::string(1, from.coin() ? 'S' : 'P') + test::z(name));
                break;
            case 9:
                all += test::message(from.coin() ? 'H' : 'd', "");
                break;
            case 10:
                all += test::message(static_cast<char>(from.u8()), from.short_text());
                break;
            default:
                all += test::message('S', "");
                break;
        }
    }
    return all;
}

}  // namespace

void console(byte_view input) {
    dice from(input);
    const std::uint8_t shape = from.u8();
    // Most inputs are for the reader, which is what is quick.
    if ((shape & 31U) != 0) return check_reader(from.rest_text());
    const bool may_change = (shape & 32U) != 0;
    const std::uint8_t mood = from.u8();
    std::uint8_t asked = mood;
    fuzzed_desk* asks = nullptr;
    proxy_world world(mood, may_change, [&](proxy::admin_request request, auto ticket) {
        asks->take(std::move(request), std::move(ticket), asked = static_cast<std::uint8_t>(asked * 5 + 3));
    });
    fuzzed_desk desk(world.env(), may_change);
    asks = &desk;
    raw_client::plan plan;
    const std::string who =
        test::z("user") + test::z("app") + test::z("database") + test::z("pgmend") + std::string(1, '\0');
    plan.piece = (shape & 64U) != 0 ? 1 + from.u8() : 0;
    plan.bytes = test::u32(static_cast<std::uint32_t>(who.size() + 8)) + test::u32(196608) + who;
    plan.bytes += (shape & 128U) != 0 ? std::string(from.rest_text()) : drawn_messages(from);
    world.add_client(std::move(plan));
    world.play(std::chrono::seconds(5));
    world.close_clients();
    world.check_left();
    world.end();
}

}  // namespace pgmend::fuzz
