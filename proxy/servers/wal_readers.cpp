#include "proxy/servers/wal_readers.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "config/log.hpp"

namespace pgmend::proxy {

namespace {

constexpr config::duration reading_takes = std::chrono::seconds{3};  // at most
/// Until a server that refuses is tried again: it notes each refusal in its log.
constexpr config::duration refused_for = std::chrono::minutes{10};
constexpr std::size_t most_waiting = 1000;
/// Of one that could not be reached.
constexpr config::duration looked_at_again_after = std::chrono::minutes{1};

std::string_view word_of(health::wal_finding what) noexcept {
    switch (what) {
        case health::wal_finding::there:
            return "there";
        case health::wal_finding::gone:
            return "gone";
        case health::wal_finding::not_known:
            break;
    }
    return "not_known";
}

}  // namespace

wal_readers::wal_readers(boost::asio::io_context& control, config::time_point (*clock)(), link_maker make)
    : control_(control), clock_(clock), make_(std::move(make)) {}

wal_readers::~wal_readers() = default;

std::shared_ptr<wal_readers::line> wal_readers::line_of(const pool::endpoint& where) {
    auto& at = lines_[where];
    if (!at) {
        at = std::make_shared<line>();
        at->server = where.to_string();
        at->where = where;
    }
    return at;
}

wal_access wal_readers::access(const pool::endpoint& where) {
    const std::shared_ptr<line> at = line_of(where);
    const bool asked = at->looked_at != config::time_point{};
    const config::duration holds = at->works ? refused_for : looked_at_again_after;
    if (!at->looking && (!asked || clock_() - at->looked_at >= holds)) {
        at->looking = true;
        boost::asio::co_spawn(control_, look(at), boost::asio::detached);
    }
    return {at->server, {}, at->works, at->why, asked ? clock_() - at->looked_at : config::duration{}};
}

void wal_readers::look_again() {
    for (const auto& [where, at] : lines_)
        at->looked_at = at->refused_until = {};
}

boost::asio::awaitable<void> wal_readers::look(std::shared_ptr<line> at) {
    if (const std::unique_ptr<health::libpq_link> link = make_(at->where))
        note(*at, co_await health::may_read_wal(*link, reading_takes));
    at->looking = false;
}

void wal_readers::note(line& at, const health::wal_reading& reading) {
    at.looked_at = clock_();
    at.why = reading.why;
    at.works.reset();
    if (reading.refused) {
        log::info("wal_unreadable", {{"server", at.server}, {"cause", reading.why}});
        at.works = false;
        at.refused_until = clock_() + refused_for;
    } else if (reading.why.empty()) {
        at.works = true;
        at.refused_until = {};
    }
}

void wal_readers::ask(const pool::endpoint& where, health::wal_question asked, answer told) {
    const std::shared_ptr<line> at = line_of(where);
    if (at->refused_until > clock_() || at->questions.size() >= most_waiting) {
        boost::asio::post(control_, [told = std::move(told)] { told(health::wal_finding::not_known); });
        return;
    }
    at->questions.push_back({std::move(asked), std::move(told)});
    if (at->questions.size() == 1) boost::asio::co_spawn(control_, serve(at), boost::asio::detached);
}

boost::asio::awaitable<void> wal_readers::serve(std::shared_ptr<line> at) {
    const std::unique_ptr<health::libpq_link> link = make_(at->where);
    while (!at->questions.empty()) {
        // It stays in front while it is asked: so there is one of us.
        const health::wal_question asked = at->questions.front().asked;
        health::wal_reading reading;
        if (at->refused_until > clock_()) {
            reading.why = "refused a moment ago";
        } else if (link != nullptr) {
            reading = co_await health::read_wal(*link, asked, reading_takes);
            if (reading.refused || reading.why.empty()) note(*at, reading);
        }
        log::info(
            "wal_read", {{"server", at->server},
                         {"record_ends", health::print_lsn(asked.end)},
                         {"record", word_of(reading.what)},
                         {"cause", reading.why}}
        );
        const answer told = std::move(at->questions.front().told);
        at->questions.pop_front();
        told(reading.what);
    }
}

}  // namespace pgmend::proxy
