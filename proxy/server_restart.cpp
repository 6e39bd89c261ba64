// How one process of a service follows another, and how those that are left behind go on until their clients
// have gone.

#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "config/log.hpp"
#include "proxy/server.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto empty_poll = std::chrono::milliseconds{100};
constexpr auto deaf_poll = std::chrono::milliseconds{2};

}  // namespace

/// Clients are served as before, until the last one has been gone for a while or the time is over.
void server::linger(std::chrono::milliseconds limit, std::chrono::milliseconds quiet) {
    stage_ = stage::lingering;
    log::info("lingering", {{"timeout_ms", limit.count()}, {"quiet_ms", quiet.count()}});
    looks_until_empty_ = static_cast<int>(quiet / empty_poll) + 1;
    deadline_.expires_after(limit);
    deadline_.async_wait([this](const boost::system::error_code& error) {
        if (!error && stage_ == stage::lingering) drain();
    });
    drain_when_empty(looks_until_empty_);
}

/// An application that opens a connection for each request has none between two of them, so one look that
/// finds nobody says little. Looks are counted and not the time between them, in which a machine may stand
/// still.
void server::drain_when_empty(int looks_left) {
    if (stage_ != stage::lingering) return;
    close_when_deaf();
    if (looks_left == 0) {
        drain();
        return;
    }
    for (const auto& worker : workers_)
        worker->ask_quiet();
    poll_.expires_after(empty_poll);
    poll_.async_wait([this, looks_left](const boost::system::error_code& error) {
        if (error) return;
        const bool empty = std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) {
            return worker->clients() == 0;
        });
        drain_when_empty(empty ? looks_left - 1 : looks_until_empty_);
    });
}

void server::take_over() {
    auto sockets = listener_.heritage();
    for (const int descriptor : http_.descriptors())
        sockets.push_back({descriptor, descriptor_name::http});
    for (const auto& relative : kin_.heritage())
        sockets.push_back(relative);
    const bool possible = stage_ == stage::serving && !takeover_.under_way();
    const int bound = possible ? kin_.bind_follower() : -1;
    if (bound >= 0) sockets.push_back({bound, descriptor_name::left_behind});
    const bool begun =
        bound >= 0 && takeover_.start(sockets, [this](const auto& outcome) { hand_over(outcome); });
    if (begun && kin_.attended()) {
        // Should the successor crash, this process is known to the one that is started then.
        manager_.store(bound, descriptor_name::left_behind);
        follower_kept_ = manager_.settle();
    }
    if (bound >= 0) ::close(bound);
    if (begun) {
        log::info("takeover_begun", {});
    } else {
        log::warning("takeover_refused", {{"hint", "it ends, another one is under way, or it is process 1"}});
    }
}

void server::hand_over(const takeover::outcome& outcome) {
    if (!outcome.problem.empty()) {
        log::error("takeover_failed", {{"reason", outcome.problem}});
        if (leave_next_) leave();
        return;
    }
    // Asked meanwhile: it concerns whoever is the service.
    if (leave_next_) ::kill(outcome.successor, SIGUSR1);
    log::info("taken_over", {{"by", static_cast<std::int64_t>(outcome.successor)}});
    if (kin_.attended()) {
        kin_.tell_attendant({outcome.successor, leave_next_ || outcome.told});
        manager_.fall_silent();
    } else {
        manager_.hand_over(outcome.successor);
    }
    heed_follower(follower_kept_);
    http_.stop();
    for (const auto& worker : workers_)
        worker->stop_accepting();
    listener_.keep_file();
    if (stage_ == stage::serving) linger(settings_->shutdown.takeover_linger(), quiet_when_deaf);
}

/// What the next process needs, and what it tells this one by that it is to end. False: the manager has not
/// taken it, and clients that stayed here could not be told when the service is stopped.
bool server::hand_to_manager() {
    if (!manager_.listening()) return false;
    const int bound = kin_.bind_follower();
    if (bound < 0) return false;
    manager_.store(bound, descriptor_name::left_behind);
    ::close(bound);
    // The store has those that a manager started; one that was taken over from is known to us alone.
    for (const int each : kin_.left_behind())
        manager_.store(each, descriptor_name::left_behind);
    // Clients that come now wait for the next one.
    if (!listener_.kept_open()) {
        for (const auto& socket : listener_.heritage())
            manager_.store(socket.descriptor, socket.name);
        listener_.keep_file();
    }
    // The next one may be started as soon as the attendant has ended.
    return manager_.settle() && kin_.followed();
}

/// The service goes to a process that the manager starts when the attendant has ended. Clients stay here; of
/// the sockets nothing may be open by then that the next one has to open for itself.
void server::leave() {
    if (!kin_.attended() || stage_ > stage::lingering) {
        log::warning("leave_refused", {{"hint", "it ends, or was not started with --attended"}});
        return;
    }
    leave_next_ = takeover_.under_way();
    if (leave_next_) return;
    if (!started_) {
        drain();
        return;
    }
    log::info("leaving", {{"clients_stay_ms", settings_->shutdown.takeover_linger().count()}});
    if (!hand_to_manager()) {
        log::error(
            "leaving_failed",
            {{"hint", "the service manager keeps no sockets for this process, so it ends in order instead"}}
        );
        drain();
        return;
    }
    manager_.fall_silent();
    heed_follower(true);
    http_.stop();
    for (const auto& worker : workers_)
        worker->stop_accepting();
    leave_when_deaf();
    linger(settings_->shutdown.takeover_linger(), quiet_when_deaf);
}

void server::leave_when_deaf() {
    if (close_when_deaf()) {
        log::info("left", {});
        kin_.tell_attendant({});
        return;
    }
    leaving_.expires_after(deaf_poll);
    leaving_.async_wait([this](const boost::system::error_code& error) {
        if (!error) leave_when_deaf();
    });
}

void server::heed_follower(bool kept) {
    kin_.heed_follower(
        [this] {
            if (stage_ < stage::draining) drain();
        },
        kept
    );
}

}  // namespace pgmend::proxy
