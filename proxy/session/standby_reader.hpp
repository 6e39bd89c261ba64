#pragma once
// What is remembered of clients that may read from standbys (reads.mode), apart from their sessions: the
// others, and idle ones, need nothing of it. One worker thread.

#include <memory>
#include <unordered_map>

#include "pool/event_gate.hpp"
#include "pool/server_pool.hpp"
#include "proxy/servers/standby_source.hpp"
#include "proxy/session/healing_ledger.hpp"
#include "proxy/session/read_route.hpp"

namespace pgmend::proxy {

class client_session;

/// One client's. It stands in the standbys' line beside its session, which waits for the primary: who is
/// served first is served.
class standby_reader final : public pool::pool_waiter {
public:
    standby_reader(pool::server_pool& standbys, config::environment& environment, pool::event_gate& gate)
        : pool(standbys), env_(environment), gate_(gate) {}
    standby_reader(const standby_reader&) = delete;
    standby_reader& operator=(const standby_reader&) = delete;
    ~standby_reader() { stop_waiting(); }

    /// Something that may have written is over, by what was read in this turn.
    void wrote() noexcept {
        noted_at_ = env_.now();
        wrote_at_ = config::time_point::max();
    }
    /// When its last write was surely over; the beginning of time where it has written nothing.
    config::time_point wrote_at() noexcept {
        // The time of a turn is taken at its beginning, so what was read in it may be younger.
        if (wrote_at_ == config::time_point::max() && env_.now() > noted_at_) wrote_at_ = env_.now();
        return wrote_at_;
    }

    /// A connection that is free now; null when there is none.
    pool::server_connection* take_idle() noexcept { return pool.take_idle(*this); }
    /// `granted` makes the session look. A connection at once, or null.
    pool::server_connection* stand_in_line(pool::event_mask when_granted);
    /// The session looks again after a while, as no news will come.
    void look_again(pool::event_mask bit, config::duration after);
    /// What was offered meanwhile; told once.
    pool::server_connection* take_offer() noexcept { return std::exchange(offer_, nullptr); }
    bool waits() const noexcept { return linked() || offer_ != nullptr; }
    void stop_waiting() noexcept;

    // pool_waiter
    void granted(pool::server_connection& server) override {
        offer_ = &server;
        gate_.set(bit_);
    }
    void refused(const pool::pool_refusal&) override {}  // the session waits elsewhere, and looks again

    pool::server_pool& pool;
    config::read_mode mode = config::read_mode::primary;
    read_route route = read_route::standby;  ///< of the request in front
    bool asked = false;                      ///< whether a standby may have it was found out; `route` says it
    bool refused_there = false;              ///< a standby has answered it with an error

private:
    config::environment& env_;
    pool::event_gate& gate_;
    pool::event_mask bit_ = 0;
    pool::server_connection* offer_ = nullptr;
    std::unique_ptr<pool::gate_timer> timer_;
    config::time_point noted_at_{};
    config::time_point wrote_at_ = config::time_point::min();
};

/// Those of one worker.
class standby_readers {
public:
    standby_readers(
        backend_cluster& cluster, config::environment& env, config::metrics::cells& metrics,
        healing_ledger& ledger, std::shared_ptr<const health::standby_positions> positions,
        config::duration max_lag
    )
        : source(cluster, env, std::move(positions), max_lag),
          env_(env),
          metrics_(metrics),
          ledger_(ledger) {}

    standby_reader& add(
        std::uint32_t client, pool::server_pool& standbys, pool::event_gate& gate, config::read_mode mode
    );
    standby_reader& of(std::uint32_t client) { return *readers_.at(client); }
    void remove(std::uint32_t client) noexcept { readers_.erase(client); }
    /// A request has gone that way.
    void went(read_route route);
    /// What is known of the servers has changed. That reads go on without a primary, and how many did, is
    /// told once each.
    void primary_is(bool there);

    standby_source source;

private:
    void tell(std::string_view outcome, std::string_view cause);

    config::environment& env_;
    config::metrics::cells& metrics_;
    healing_ledger& ledger_;
    std::unordered_map<std::uint32_t, std::unique_ptr<standby_reader>> readers_;
    std::uint64_t without_primary_ = 0;  ///< reads, since it was lost
    config::time_point began_{};
};

}  // namespace pgmend::proxy
