#include "proxy/admin/http_api.hpp"

#include <algorithm>

#include "proxy/admin/dashboard_page.hpp"
#include "proxy/admin/http_query.hpp"
#include "proxy/admin/overview.hpp"
#include "proxy/admin/table_json.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

constexpr std::string_view tables = "/api/";
constexpr std::string_view commands = "/api/command/";
constexpr std::size_t acts_in_report = 10;
constexpr std::size_t acts_in_stream = 100;  // to begin with
constexpr auto pause_patience = std::chrono::seconds{5};
constexpr auto look_interval = std::chrono::milliseconds{5};
constexpr auto beyond_timeout = std::chrono::milliseconds{500};

http_reply failure(unsigned status, std::string_view words) {
    return {status, json_text({{"error", json::string_view(words.data(), words.size())}})};
}

/// A browser asks its user for a password where it knows the scheme. Behind the page's back, where requests
/// are made every second, it is not to: the page says it.
std::string challenge_of(const http_request& request) {
    const bool by_page = request.accept == "application/json" || request.accept == "text/event-stream";
    return std::string(by_page ? "xBasic" : "Basic") + " realm=\"pgmend\", charset=\"UTF-8\"";
}

/// Rows of which every column that the query names has the value it says; no more than its limit.
void keep_wanted(table_rows& rows, table_columns columns, std::string_view query, std::size_t limit) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto value = text_parameter(query, columns[i].name);
        if (!value) continue;
        std::erase_if(rows, [&](const table_row& row) { return row[i].value_or("") != *value; });
    }
    if (rows.size() > limit) rows.resize(limit);
}

/// Of the commands of the console those that may be given here.
std::optional<admin_verb> command_named(std::string_view word) {
    if (word == "pause") return admin_verb::pause;
    if (word == "resume") return admin_verb::resume;
    if (word == "reconnect") return admin_verb::reconnect;
    if (word == "reload") return admin_verb::reload;
    if (word == "ban") return admin_verb::ban;
    if (word == "unban") return admin_verb::unban;
    if (word == "reset_statements") return admin_verb::reset_statements;
    return std::nullopt;
}

/// What a command is for: `server` of BAN and UNBAN, `database` of those that may have one. Returns what is
/// wrong.
std::string read_object(std::string_view query, admin_command& command) {
    if (command.verb == admin_verb::ban || command.verb == admin_verb::unban) {
        const auto server = text_parameter(query, "server");
        if (!server || server->empty()) return "server is one of those that /api/topology lists.";
        command.argument = *server;
        if (command.verb == admin_verb::unban) return {};
        command.forced = wanted(query, "force");
        if (!parameter(query, "seconds")) return {};
        command.value = text_parameter(query, "seconds").value_or("");
        const bool digits = !command.value.empty() && command.value.size() <= 8 && command.value != "0" &&
                            command.value.find_first_not_of("0123456789") == std::string::npos;
        return digits ? "" : "seconds is a number of them.";
    }
    if (!parameter(query, "database")) return {};
    const bool may = command.verb == admin_verb::pause || command.verb == admin_verb::resume ||
                     command.verb == admin_verb::reconnect;
    const auto database = text_parameter(query, "database");
    if (!database || database->empty() || !may)
        return "database is a name, and of pause, resume and reconnect.";
    command.argument = *database;
    return {};
}

constexpr facts_wanted with_acts{.healings = true};
const std::string bad_limit = "limit is a number up to " + std::to_string(most_entries) + ".";

}  // namespace

http_api::http_api(boost::asio::io_context& control, api_sources sources, std::string process_secret)
    : control_(control),
      sources_(std::move(sources)),
      door_(std::move(process_secret)),
      started_ms_(wall_milliseconds()),
      process_(std::to_string(started_ms_)),
      feed_(control, sources_.feed, process_) {}

bool http_api::handle(const http_request& request, http_answer answer) {
    const bool ours = request.path == "/" || request.path == "/health" || request.path == "/health/check" ||
                      request.path == "/api" || request.path.starts_with(tables);
    if (!ours) return false;
    const http_verdict verdict = door_.enter(request, *sources_.settings(), sources_.secrets(), steady_now());
    if (verdict.status != 200) {
        http_reply refusal = failure(verdict.status, verdict.reason);
        if (verdict.status == 401) refusal.challenge = challenge_of(request);
        if (verdict.delay == config::duration{}) {
            answer(std::move(refusal));
            return true;
        }
        auto timer = std::make_shared<boost::asio::steady_timer>(control_, verdict.delay);
        timer->async_wait([timer, refusal = std::move(refusal),
                           answer = std::move(answer)](const auto& error) {
            if (!error) answer(refusal);
        });
        return true;
    }
    if (request.post && verdict.role != admin_role::admin) {
        answer(failure(403, "Only users of admin.users may change something."));
        return true;
    }
    route(request, verdict, std::move(answer));
    return true;
}

void http_api::route(const http_request& request, const http_verdict& who, http_answer answer) {
    if (request.path.starts_with(commands)) return command(request, who, std::move(answer));
    if (request.path == "/health/check") {
        if (!request.post) return answer(failure(405, "Only POST is understood."));
        return check_health(std::move(answer));
    }
    if (request.post) return answer(failure(405, "Only GET and HEAD are understood."));
    if (request.path == "/health") {
        const auto limit = limit_of(request.query, health_wish{}.limit);
        if (!limit) return answer(failure(400, bad_limit));
        return show_health(
            {wanted(request.query, "detailed"), wanted(request.query, "history"), *limit}, std::move(answer)
        );
    }
    if (request.path == "/") return answer(dashboard_page(request));
    if (request.path == "/api/overview") return show_overview(who, std::move(answer));
    if (request.path == "/api/events" || request.path == "/api/events/stream")
        return show_events(request, std::move(answer));
    show_table(request, std::move(answer));
}

void http_api::show_table(const http_request& request, http_answer answer) {
    const std::string word =
        request.path.size() > tables.size() ? request.path.substr(tables.size()) : std::string();
    if (word.empty()) {
        json::array names{"events"};
        for (const show_word& each : show_words())
            if (topic_named(each.word)) names.push_back(json::string(each.word.data(), each.word.size()));
        return answer({200, json_text({{"tables", std::move(names)}})});
    }
    const auto topic = topic_named(word);
    if (!topic) return answer(failure(404, "There is no such table; /api lists them."));
    const auto limit = limit_of(request.query, std::numeric_limits<std::size_t>::max());
    if (!limit) return answer(failure(400, bad_limit));
    sources_.facts(
        needs_of(*topic),
        [topic = *topic, word, query = request.query, limit = *limit,
         answer = std::move(answer)](const admin_facts& facts) {
            table_rows rows = rows_of(topic, facts);
            keep_wanted(rows, columns_of(topic), query, limit);
            json::object all;
            all.emplace(word, json_rows(columns_of(topic), rows));
            answer({200, json_text(all)});
        }
    );
}

void http_api::show_events(const http_request& request, http_answer answer) {
    const bool stream =
        request.path == "/api/events/stream" || request.accept.find("text/event-stream") != std::string::npos;
    const auto limit = limit_of(request.query, stream ? acts_in_stream : most_entries);
    if (!limit) return answer(failure(400, bad_limit));
    if (stream) return answer(feed_.open(request, *limit));
    sources_.facts(with_acts, [limit = *limit, answer = std::move(answer)](const admin_facts& facts) {
        json::array all;
        for (const healing_event& each : latest_acts(facts, limit))
            all.push_back(json_event(each, steady_now(), wall_milliseconds()));
        answer({200, json_text({{"events", std::move(all)}})});
    });
}

void http_api::show_health(const health_wish& wish, http_answer answer) {
    sources_.facts(with_acts, [wish, answer = std::move(answer)](const admin_facts& facts) {
        const health_view view = view_of(facts);
        const health_report report = assess_health(view);
        const unsigned status = report.state == health_state::critical ? 503 : 200;
        answer({status, json_text(json_report(report, view, wish, latest_acts(facts, acts_in_report)))});
    });
}

void http_api::show_overview(const http_verdict& who, http_answer answer) {
    sources_.facts({.servers = true}, [this, who, answer = std::move(answer)](const admin_facts& facts) {
        const health_view view = view_of(facts);
        answer({200, json_text(json_overview({view, who, process_, started_ms_}))});
    });
}

/// PAUSE takes as long as the transactions under way: who asked is told so, and it goes on.
void http_api::command(const http_request& request, const http_verdict& who, http_answer answer) {
    const auto verb = command_named(std::string_view(request.path).substr(commands.size()));
    if (!verb)
        return answer(
            failure(404, "There are pause, resume, reconnect, reload, ban, unban and reset_statements.")
        );
    if (!request.post) return answer(failure(405, "Only POST is understood."));
    if (!request.intended) return answer(failure(403, "A command needs the header X-Pgmend-Command."));
    admin_request order;
    order.command.verb = *verb;
    order.user = who.user.empty() ? "http, from this machine" : who.user;
    if (const std::string wrong = read_object(request.query, order.command); !wrong.empty())
        return answer(failure(400, wrong));
    const std::string tag(tag_of(order.command));
    const auto once = std::make_shared<http_answer>(std::move(answer));
    const auto timer = std::make_shared<boost::asio::steady_timer>(control_, pause_patience);
    timer->async_wait([once, tag](const auto& error) {
        if (error || !*once) return;
        std::exchange(*once, nullptr)({202, json_text({{"begun", tag}})});
    });
    sources_.command(order, [once, timer, tag](const admin_answer& done) {
        if (!*once) return;
        const http_answer tell = std::exchange(*once, nullptr);
        timer->cancel();
        if (!done.error) return tell({200, json_text({{"done", tag}})});
        tell({409, json_text({{"error", done.error->message}, {"hint", done.error->hint}})});
    });
}

void http_api::check_health(http_answer answer) {
    const health::check_history& checks = sources_.checks();
    std::vector<std::uint64_t> before;
    for (std::size_t node = 0; node < checks.servers(); ++node)
        before.push_back(checks.total(node));
    sources_.check_now();
    const auto until = steady_now() + sources_.settings()->health.timeout() + beyond_timeout;
    await_checks(std::move(before), until, std::move(answer));
}

/// A look may be under way that began before: the second one from now on counts for sure, but the first
/// answers who asks.
void http_api::await_checks(std::vector<std::uint64_t> before, config::time_point until, http_answer answer) {
    const health::check_history& checks = sources_.checks();
    bool seen = true;
    for (std::size_t node = 0; node < before.size(); ++node)
        seen = seen && (!checks.watched(node) || checks.total(node) > before[node]);
    if (seen || steady_now() >= until) return show_health({true, true, 1}, std::move(answer));
    auto timer = std::make_shared<boost::asio::steady_timer>(control_, look_interval);
    timer->async_wait([this, timer, before = std::move(before), until,
                       answer = std::move(answer)](const auto& error) {
        if (!error) await_checks(before, until, answer);
    });
}

}  // namespace pgmend::proxy
