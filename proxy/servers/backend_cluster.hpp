#pragma once
// Which server the next connection goes to: what the health monitor's picture allows, the last one that would
// do first, one that failed resting until its pause is over. The one place where a pool's outcome meets
// health's judgement, and becomes evidence for it. One worker thread.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "config/settings.hpp"
#include "health/backoff.hpp"
#include "health/topology.hpp"
#include "pool/server_pool.hpp"
#include "proxy/servers/server_breakers.hpp"

namespace pgmend::proxy {

/// When a worker last heard from each server, for the monitor to read: written with every read from it.
using life_signs = std::vector<std::atomic<config::time_point::rep>>;
/// How many more connections each server can take, and one more; 0: not known. Written by the monitor.
using spare_counts = std::vector<std::atomic<std::uint32_t>>;
/// What this worker met at a server, handed to the monitor; may be empty.
using evidence_sink = std::function<void(std::size_t node, health::traffic_evidence what)>;

class backend_cluster final : public pool::endpoint_source {
public:
    backend_cluster(const config::settings& settings, config::environment& env);

    /// Where it is counted and told what breakers and pools do, and what follows when breakers let more
    /// logins through. Before the first connection.
    void connect_worker(config::metrics::cells& metrics, healing_ledger& ledger, std::function<void()> room);
    /// Where evidence goes. Before the first connection.
    void connect_monitor(
        evidence_sink evidence, std::shared_ptr<life_signs> life, std::shared_ptr<spare_counts> spare
    ) {
        evidence_ = std::move(evidence);
        life_ = std::move(life);
        spare_ = std::move(spare);
    }
    /// Settings have changed.
    void adopt(const config::settings& settings) noexcept;
    /// A new picture: from now on it is what counts.
    void update(health::topology_snapshot picture);

    /// An administrator wants no new request to go there, or takes that back. Sessions go on until they are
    /// free of it; `server_pool::reconsider` follows.
    void set_ban(std::size_t place, bool banned) noexcept { candidates_[place].banned = banned; }
    bool is_banned(std::size_t place) const noexcept { return candidates_[place].banned; }
    std::size_t servers() const noexcept { return candidates_.size(); }
    const health::topology_snapshot& picture() const noexcept { return picture_; }
    /// Whether requests can go there now, at least where nobody better is left.
    bool is_usable(std::size_t place) const noexcept {
        return fitness_of(place) != fitness::unfit && may_serve(candidates_[place].where);
    }

    /// Whether it is a standby of the present primary, or of the last one, and nothing speaks against it.
    bool is_fit_standby(std::size_t place) const noexcept;
    /// A login there, of whomever, if breakers and pauses after failures let it through now.
    pool::endpoint_choice admit(std::size_t place);
    /// What became of it. False where it says that the server is not well; `again`: when it may be tried
    /// again.
    bool admitted(
        const pool::endpoint_choice& choice, const pool::login_outcome& outcome, config::time_point& again
    );

    // endpoint_source
    pool::endpoint_choice choose(bool patient) override;
    bool accepts(const pool::endpoint& where, const pool::server_connection& server) override;
    config::duration report(const pool::endpoint_choice& choice, const pool::login_outcome& outcome) override;
    std::atomic<config::time_point::rep>* life_sign(const pool::endpoint& where) noexcept override;
    bool may_serve(const pool::endpoint& where) const noexcept override;
    bool any_serves() const noexcept override;
    std::uint64_t* served(const pool::endpoint& where) noexcept override;
    std::optional<std::size_t> spare_connections() const noexcept override;
    void broke(const pool::server_connection& server) override;
    void holding(const pool::hold_news& news) override;
    std::string absence() const override;

    /// Connections to this server must be given up at once, whatever they are doing: it is behind a
    /// promotion, or it is gone and another one has taken its place.
    bool must_leave(const pool::endpoint& where) const noexcept;
    /// What this server says now proves nothing until it has been asked who it is.
    bool is_silent(const pool::endpoint& where) const noexcept;

    /// Whether clients are to be served by a primary.
    bool wants_primary() const noexcept {
        using config::session_attributes;
        return wanted_ == session_attributes::any || wanted_ == session_attributes::read_write ||
               wanted_ == session_attributes::primary;
    }
    /// Whether there is one, or has been while we looked.
    bool knew_primary() const noexcept { return knew_primary_; }
    /// It refused a write: it may be the primary no more, and is asked at once.
    void refused_write(const pool::endpoint& where) { tell(where, health::traffic_evidence::read_only); }
    /// It answered with an error: those of classes 53, 58 and XX say something of the server.
    void in_trouble(const pool::endpoint& where, std::string_view sqlstate);
    std::vector<breaker_facts> breakers() const { return breakers_.facts(); }
    /// The server's number (health::server_directory); `servers()` when it is none of them.
    std::size_t place_of(const pool::endpoint& where) const noexcept;

private:
    struct candidate {
        pool::endpoint where;
        health::backoff pause;
        config::time_point rests_until{};
        bool banned = false;  ///< by an administrator
        bool listed = true;   ///< a list names it still
        bool behind = false;  ///< and says that it lags too far for clients that want a standby
    };
    enum class fitness : std::uint8_t { unfit, perhaps, fit };

    /// Who the servers are now.
    void adopt(const health::server_roster& servers);
    /// One server and no other for ever: there is nothing to take it for another one.
    bool is_alone() const noexcept { return candidates_.size() == 1 && !changing_; }
    const health::node_view* view_of(const pool::endpoint& where) const noexcept;
    fitness fitness_of(std::size_t place) const noexcept;
    /// Whether there has been a primary to tell the others from.
    bool roles_matter() const noexcept;
    void tell(const pool::endpoint& where, health::traffic_evidence what);
    fitness best_fitness() const noexcept;
    template <class Admitted>
    const candidate* pick(fitness wanted, Admitted admitted) const;

    config::environment& env_;
    config::session_attributes wanted_;
    health::backoff_limits pauses_;
    std::chrono::milliseconds pause_when_full_;
    const bool changing_;                ///< servers may come and go
    std::vector<candidate> candidates_;  ///< by place
    std::vector<std::size_t> order_;     ///< places, in the order in which they are tried
    health::topology_snapshot picture_;  ///< null until the first one
    evidence_sink evidence_;
    std::shared_ptr<life_signs> life_;
    std::shared_ptr<spare_counts> spare_;
    server_breakers breakers_;  ///< by place
    bool knew_primary_ = false;
    healing_ledger* ledger_ = nullptr;
    std::size_t present_ = 0;  ///< the one that worked last
    bool standby_preference_given_up_ = false;
};

}  // namespace pgmend::proxy
