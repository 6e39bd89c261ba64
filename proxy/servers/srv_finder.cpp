#include "proxy/servers/srv_finder.hpp"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include <boost/asio/post.hpp>

#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto soonest = std::chrono::seconds{1};
constexpr auto latest = std::chrono::seconds{60};  // whatever a zone says of how long it may be kept
constexpr auto after_failure = std::chrono::seconds{3};
constexpr int seconds_to_answer = 1;
constexpr int attempts = 2;
constexpr std::size_t longest_answer = 16384;

const char* word_of_failure(int error) {
    switch (error) {
        case HOST_NOT_FOUND:
            return "there is no such name";
        case NO_DATA:
            return "the name has no SRV record";
        case TRY_AGAIN:
            return "no name server answered";
        default:
            return "the name server could not tell";
    }
}

}  // namespace

srv_finder::srv_finder(
    boost::asio::io_context& control, std::string name, std::uint64_t seed, finder_orders orders
)
    : control_(control), timer_(control), name_(std::move(name)), seed_(seed), orders_(std::move(orders)) {}

srv_finder::~srv_finder() {
    *alive_ = false;
    thread_.join();
}

void srv_finder::start() { look(); }

void srv_finder::stop() {
    stopped_ = true;
    timer_.cancel();
}

void srv_finder::hurry() {
    if (asking_ || stopped_ || !settled_) return;
    const auto earliest = asked_at_ + soonest;
    if (timer_.expiry() <= earliest) return;
    timer_.expires_at(std::max(earliest, steady_now()));
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && !stopped_) look();
    });
}

/// On its own thread: the resolver's state is made for each question, so that changes of resolv.conf count.
srv_finder::lookup srv_finder::ask(const std::string& name) {
    lookup found;
    found.failed = true;
    struct state {
        state() { good = ::res_ninit(&resolver) == 0; }
        ~state() { ::res_nclose(&resolver); }
        struct __res_state resolver {};
        bool good = false;
    } mine;
    if (!mine.good) {
        found.answer.problem = "the resolver cannot be set up";
        return found;
    }
    mine.resolver.retrans = seconds_to_answer;
    mine.resolver.retry = attempts;
    std::array<unsigned char, longest_answer> bytes{};
    const int size = ::res_nquery(
        &mine.resolver, name.c_str(), ns_c_in, ns_t_srv, bytes.data(), static_cast<int>(bytes.size())
    );
    if (size < 0) {
        found.answer.problem = word_of_failure(mine.resolver.res_h_errno);
        return found;
    }
    found.failed = false;
    const std::size_t length = std::min(bytes.size(), static_cast<std::size_t>(size));
    found.answer = health::read_srv_answer(std::as_bytes(std::span{bytes.data(), length}));
    if (static_cast<std::size_t>(size) > bytes.size()) found.answer.problem = "is too long";
    return found;
}

void srv_finder::look() {
    asking_ = true;
    asked_at_ = steady_now();
    boost::asio::post(thread_, [this, alive = alive_, name = name_, &control = control_] {
        lookup found = ask(name);
        boost::asio::post(control, [this, alive, found = std::move(found)]() mutable {
            if (*alive) took(std::move(found));
        });
    });
}

void srv_finder::took(lookup found) {
    asking_ = false;
    settled_ = true;
    if (stopped_) return;
    if (!found.answer.problem.empty()) {
        orders_.kept(found.failed, found.answer.problem);
        plan(after_failure);
        return;
    }
    orders_.named(health::servers_in_order(std::move(found.answer.records), seed_));
    plan(std::clamp(std::chrono::seconds{found.answer.ttl}, soonest, latest));
}

void srv_finder::plan(std::chrono::seconds after) {
    timer_.expires_after(after);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && !stopped_) look();
    });
}

}  // namespace pgmend::proxy
