#include "proxy/admin/http_api.hpp"

#include <algorithm>
#include <charconv>

#include "proxy/admin/table_json.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

constexpr std::string_view tables = "/api/";
constexpr std::size_t most_entries = 10'000;
constexpr std::size_t acts_in_report = 10;
constexpr auto look_interval = std::chrono::milliseconds{5};
constexpr auto beyond_timeout = std::chrono::milliseconds{500};

http_reply failure(unsigned status, std::string_view words) {
    return {status, json_text({{"error", json::string_view(words.data(), words.size())}})};
}

/// The value of a parameter; empty where it is not there.
std::string_view parameter(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view one = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        const std::size_t equals = std::min(one.find('='), one.size());
        if (one.substr(0, equals) == name) return equals < one.size() ? one.substr(equals + 1) : "true";
    }
    return {};
}

bool wanted(std::string_view query, std::string_view name) {
    const std::string_view value = parameter(query, name);
    return value == "true" || value == "1" || value == "yes" || value == "on";
}

/// `limit` of the query: how many entries. Nothing for what is no such number.
std::optional<std::size_t> limit_of(std::string_view query, std::size_t otherwise) {
    const std::string_view value = parameter(query, "limit");
    if (value.empty()) return otherwise;
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size() || number > most_entries)
        return std::nullopt;
    return number;
}

constexpr facts_wanted with_acts{.healings = true};
const std::string bad_limit = "limit is a number up to " + std::to_string(most_entries) + ".";

}  // namespace

http_api::http_api(boost::asio::io_context& control, api_sources sources, std::string process_secret)
    : control_(control), sources_(std::move(sources)), door_(std::move(process_secret)) {}

bool http_api::handle(const http_request& request, http_answer answer) {
    const bool ours = request.path == "/health" || request.path == "/health/check" ||
                      request.path == "/api" || request.path.starts_with(tables);
    if (!ours) return false;
    const http_verdict verdict = door_.enter(request, *sources_.settings(), sources_.secrets(), steady_now());
    if (verdict.status != 200) {
        http_reply refusal = failure(verdict.status, verdict.reason);
        if (verdict.status == 401) refusal.challenge = "Basic realm=\"pgmend\", charset=\"UTF-8\"";
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
    route(request, std::move(answer));
    return true;
}

void http_api::route(const http_request& request, http_answer answer) {
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
    if (request.path == "/api/events") return show_events(request, std::move(answer));
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
    sources_.facts(needs_of(*topic), [topic = *topic, word, answer = std::move(answer)](admin_facts facts) {
        json::object all;
        all.emplace(word, json_rows(columns_of(topic), rows_of(topic, facts)));
        answer({200, json_text(all)});
    });
}

void http_api::show_events(const http_request& request, http_answer answer) {
    const auto limit = limit_of(request.query, most_entries);
    if (!limit) return answer(failure(400, bad_limit));
    sources_.facts(with_acts, [limit = *limit, answer = std::move(answer)](const admin_facts& facts) {
        json::array all;
        for (const healing_event& each : latest_acts(facts, limit))
            all.push_back(json_event(each, steady_now(), wall_milliseconds()));
        answer({200, json_text({{"events", std::move(all)}})});
    });
}

void http_api::show_health(const health_wish& wish, http_answer answer) {
    sources_.facts(with_acts, [this, wish, answer = std::move(answer)](const admin_facts& facts) {
        health_view view{facts, sources_.checks(), steady_now(), wall_milliseconds()};
        sources_.complete(view);
        const health_report report = assess_health(view);
        const unsigned status = report.state == health_state::critical ? 503 : 200;
        answer({status, json_text(json_report(report, view, wish, latest_acts(facts, acts_in_report)))});
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
        seen = seen && checks.total(node) > before[node];
    if (seen || steady_now() >= until) return show_health({true, true, 1}, std::move(answer));
    auto timer = std::make_shared<boost::asio::steady_timer>(control_, look_interval);
    timer->async_wait([this, timer, before = std::move(before), until,
                       answer = std::move(answer)](const auto& error) {
        if (!error) await_checks(before, until, answer);
    });
}

}  // namespace pgmend::proxy
