#include "proxy/admin/healing_feed.hpp"

#include <algorithm>
#include <charconv>

#include "proxy/admin/health_report.hpp"
#include "proxy/admin/table_json.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

constexpr auto look_interval = std::chrono::milliseconds{200};
constexpr std::size_t most_at_once = 100;  // of each worker, in one piece

std::string data_of(const json::object& value) {
    std::string text = json_text(value);
    text.pop_back();  // the newline
    return text;
}

std::string last_words() { return feed_event("end", {}, "{\"reason\":\"draining\"}"); }

}  // namespace

std::string feed_id(std::string_view process, const std::vector<std::uint64_t>& numbers) {
    std::string id(process);
    for (const std::uint64_t number : numbers)
        id += '.' + std::to_string(number);
    return id;
}

std::optional<std::vector<std::uint64_t>> numbers_of(std::string_view process, std::string_view id) {
    if (!id.starts_with(process)) return std::nullopt;
    id.remove_prefix(process.size());
    std::vector<std::uint64_t> numbers;
    while (!id.empty()) {
        std::uint64_t number = 0;
        if (id.front() != '.') return std::nullopt;
        const auto [end, error] = std::from_chars(id.data() + 1, id.data() + id.size(), number);
        if (error != std::errc{}) return std::nullopt;
        id.remove_prefix(static_cast<std::size_t>(end - id.data()));
        numbers.push_back(number);
    }
    if (numbers.empty()) return std::nullopt;
    return numbers;
}

std::string feed_event(std::string_view name, std::string_view id, std::string_view data) {
    std::string text;
    if (!id.empty()) text.append("id: ").append(id).append("\n");
    return text.append("event: ").append(name).append("\ndata: ").append(data).append("\n\n");
}

struct healing_feed::listener {
    explicit listener(boost::asio::io_context& control) : timer(control) {}

    void give(std::optional<std::string> piece) {
        if (!taker) return;
        const auto to = std::exchange(taker, nullptr);
        to(std::move(piece));
    }

    boost::asio::steady_timer timer;
    http_piece_taker taker;  ///< empty: it has not asked for anything
    std::optional<std::vector<std::uint64_t>> place;
    std::size_t most = most_at_once;  ///< acts to begin with, of each worker
    bool begun = false;
    config::time_point spoken{};
};

healing_feed::healing_feed(boost::asio::io_context& control, feed_sources sources, std::string process)
    : control_(control), sources_(std::move(sources)), process_(std::move(process)) {}

http_reply healing_feed::open(const http_request& request, std::size_t most) {
    std::erase_if(listeners_, [](const auto& each) { return each.expired(); });
    if (ended_) return {503, json_text({{"error", "pgmend is on its way out."}})};
    if (listeners_.size() >= sources_.settings()->http.max_streams())
        return {503, json_text({{"error", "As many listen already as http.max_streams allows."}})};
    auto who = std::make_shared<listener>(control_);
    who->place = numbers_of(process_, request.last_event_id);
    who->most = most;
    listeners_.push_back(who);
    http_reply reply;
    reply.content_type = "text/event-stream";
    reply.pieces = [this, who](http_piece_taker taker) { next(who, std::move(taker)); };
    return reply;
}

void healing_feed::end() {
    ended_ = true;
    for (const auto& each : std::exchange(listeners_, {})) {
        if (const auto who = each.lock()) who->give(last_words());
    }
}

void healing_feed::next(const std::shared_ptr<listener>& who, http_piece_taker taker) {
    if (ended_) return taker(std::nullopt);
    who->taker = std::move(taker);
    look(who);
}

void healing_feed::look(const std::shared_ptr<listener>& who) {
    const std::size_t most = who->begun || who->place ? most_at_once : who->most;
    sources_.acts(who->place, most, [this, weak = std::weak_ptr(who)](std::vector<ledger_page> pages) {
        if (const auto still = weak.lock()) tell(still, std::move(pages));
    });
}

void healing_feed::look_later(const std::shared_ptr<listener>& who) {
    who->timer.expires_after(look_interval);
    who->timer.async_wait([this, weak = std::weak_ptr(who)](const boost::system::error_code& error) {
        const auto still = weak.lock();
        if (!error && still && !ended_) look(still);
    });
}

void healing_feed::tell(const std::shared_ptr<listener>& who, std::vector<ledger_page> pages) {
    if (ended_) return;
    std::string piece;
    if (!who->begun) piece = begin(*who, pages);
    piece += print(*who, pages);
    const auto now = steady_now();
    if (piece.empty() && now - who->spoken >= sources_.settings()->http.heartbeat()) piece = ": nothing\n\n";
    if (piece.empty()) return look_later(who);
    who->spoken = now;
    who->give(std::move(piece));
}

/// Says which process this is, and how many acts the listener has missed since it was here.
std::string healing_feed::begin(listener& who, const std::vector<ledger_page>& pages) const {
    who.begun = true;
    const bool again = who.place && who.place->size() == pages.size();
    std::vector<std::uint64_t> place;
    std::uint64_t missed = 0;
    for (std::size_t i = 0; i < pages.size(); ++i) {
        const std::uint64_t before = pages[i].acts.empty() ? pages[i].last : pages[i].acts.front().number - 1;
        if (again) missed += before - std::min(before, (*who.place)[i]);
        place.push_back(before);
    }
    who.place = place;
    const json::object words{{"process", process_}, {"resumed", again}, {"missed", missed}};
    return "retry: 1000\n" + feed_event("begin", feed_id(process_, place), data_of(words));
}

std::string healing_feed::print(listener& who, const std::vector<ledger_page>& pages) const {
    struct entry {
        const healing_event* act;
        std::size_t worker;
    };
    std::vector<entry> all;
    for (std::size_t worker = 0; worker < pages.size(); ++worker) {
        for (const healing_event& act : pages[worker].acts)
            all.push_back({&act, worker});
    }
    std::ranges::stable_sort(all, {}, [](const entry& each) { return each.act->at; });
    std::string text;
    const auto now = steady_now();
    const auto now_ms = wall_milliseconds();
    for (const auto& [act, worker] : all) {
        (*who.place)[worker] = act->number;
        json::object shown = json_event(*act, now, now_ms);
        shown["worker"] = worker;
        text += feed_event("healing", feed_id(process_, *who.place), data_of(shown));
    }
    return text;
}

}  // namespace pgmend::proxy
