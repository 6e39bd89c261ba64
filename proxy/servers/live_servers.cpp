#include "proxy/servers/live_servers.hpp"

#include <algorithm>
#include <utility>

#include "config/log.hpp"
#include "proxy/process/real_clock.hpp"
#include "proxy/servers/patroni_finder.hpp"
#include "proxy/servers/srv_finder.hpp"

namespace pgmend::proxy {

using config::label_word;
using config::metrics::list_result;
using config::metrics::server_source;
using health::presence;

namespace {

constexpr auto step = std::chrono::seconds{1};

/// By place, who the list takes for the primary.
std::vector<std::size_t> leaders_of(const health::server_roster& servers) {
    std::vector<std::size_t> places;
    for (std::size_t place = 0; place < servers.size(); ++place) {
        if (servers[place].leader) places.push_back(place);
    }
    return places;
}

}  // namespace

live_servers::live_servers(
    boost::asio::io_context& control, const config::settings& settings, config::metrics::cells& metrics,
    address_resolver& names, std::uint64_t seed, std::function<void(const health::roster_snapshot&)> changed,
    std::function<void()> look
)
    : source_(settings.upstream.srv().empty() ? server_source::patroni : server_source::srv),
      asked_(
          source_ == server_source::srv ? settings.upstream.srv() : settings.upstream.patroni.urls.shown()
      ),
      metrics_(metrics),
      names_(names),
      changed_(std::move(changed)),
      look_(std::move(look)),
      directory_(settings.upstream.servers()),
      timer_(control) {
    count();
    finder_orders orders{
        [this](const health::named_list& servers) { named(servers); },
        [this](bool failed, const std::string& why) { kept(failed, why); }};
    if (!settings.upstream.srv().empty()) {
        finder_ = std::make_unique<srv_finder>(control, asked_, seed, std::move(orders));
    } else if (!settings.upstream.patroni.urls().empty()) {
        finder_ = std::make_unique<patroni_finder>(control, settings.upstream.patroni, std::move(orders));
    }
}

std::size_t live_servers::most_places() const noexcept {
    return finder_ ? health::server_directory::most_places : roster()->size();
}

void live_servers::start() {
    if (!finder_) return;
    finder_->start();
    look_after();
}

void live_servers::stop() {
    stopped_ = true;
    timer_.cancel();
    if (finder_) finder_->stop();
}

void live_servers::pictured(health::topology_snapshot picture) {
    const bool lost = picture_ && picture_->memory.primary && !picture->memory.primary;
    picture_ = std::move(picture);
    if (lost) look_now();
}

/// Who has left is forgotten in time, and while there is no primary a list may name another server.
void live_servers::look_after() {
    if (stopped_) return;
    if (picture_) {
        if (directory_.settle(*picture_, steady_now())) adopt();
        if (!picture_->memory.primary) look_now();
    }
    timer_.expires_after(step);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) look_after();
    });
}

void live_servers::named(const health::named_list& servers) {
    metrics_.server_lists.add(list_result::ok);
    if (!std::exchange(last_problem_, {}).empty()) log::info("server_list_answered", {{"asked", asked_}});
    const health::roster_snapshot before = roster();
    const bool others = directory_.heard(source_, servers, steady_now());
    if (directory_.refused() != 0) {
        log::warning(
            "servers_refused", {{"asked", asked_},
                                {"count", directory_.refused()},
                                {"hint", "more servers than there is room for"}}
        );
    }
    if (!others) return;
    const auto leaders = leaders_of(*before);
    adopt();
    // A switchover that is announced shows at the servers sooner than at their next checks.
    if (leaders != leaders_of(*roster())) look_();
}

void live_servers::kept(bool failed, const std::string& why) {
    metrics_.server_lists.add(failed ? list_result::failed : list_result::refused);
    // Told once, until it is another problem.
    if (why == last_problem_) return;
    last_problem_ = why;
    log::warning(
        "server_list_kept", {{"asked", asked_},
                             {"problem", why},
                             {"servers", roster()->size()},
                             {"hint", "the servers stay as they are"}}
    );
}

void live_servers::adopt() {
    count();
    config::server_list watched;
    for (const auto& server : *roster()) {
        if (server.here != presence::gone) watched.push_back(server.address);
    }
    names_.replace(watched);
    changed_(roster());
}

void live_servers::count() {
    for (std::size_t i = 0; i < config::metrics::server_source_words.size(); ++i) {
        const auto from = static_cast<server_source>(i);
        metrics_.servers_listed.set(from, std::ranges::count_if(*roster(), [from](const auto& server) {
                                        return server.here == presence::listed && server.source == from;
                                    }));
    }
}

}  // namespace pgmend::proxy
