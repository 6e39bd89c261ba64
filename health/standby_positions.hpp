#pragma once
// How far each server has come in the WAL, as the health checks saw it: up to which moment a standby has
// everything that the primary had. That is what "how far behind" means here, and whether a standby has what a
// client has written: no clock of another machine and no word on its own lag is needed. One thread writes
// (the monitor's, by `seen` and `pictured`), any thread reads.

#include <atomic>
#include <optional>
#include <vector>

#include "health/standby_lag.hpp"
#include "health/topology.hpp"

namespace pgmend::health {

/// The position of a server, without the beginning of a page on which no record has begun yet: a standby that
/// has replayed everything stands before it. `page`: bytes of one; zero: not told.
std::uint64_t end_of_records(std::uint64_t lsn, std::uint64_t page) noexcept;

class standby_positions {
public:
    explicit standby_positions(std::size_t places) : marks_(places) {}

    // By the monitor's thread.
    /// A check of a server has ended.
    void seen(std::size_t place, const observation& what);
    /// A new picture: who is the primary.
    void pictured(const topology& picture);
    /// Another server has taken the place.
    void forget(std::size_t place) noexcept;

    // By any thread.
    /// How far it is behind the primary, or was when there was one; nothing where that is not known.
    std::optional<config::duration> lag(std::size_t place) const noexcept;
    /// Whether it has all that had been committed at `moment`, for whoever is connected to it since
    /// `connected`: a server that has crashed may show again what was before.
    bool has(std::size_t place, config::time_point moment, config::time_point connected) const noexcept;

private:
    using atomic_time = std::atomic<config::time_point::rep>;
    static constexpr config::time_point::rep never = config::time_point::min().time_since_epoch().count();
    /// Of a check: what it has shown is written before when it was asked for, and read behind it, so that
    /// whoever reads in between takes less for granted and not more.
    struct mark {
        atomic_time complete_to{never};  ///< it has what the primary had then
        atomic_time asked_at{never};
    };
    std::vector<mark> marks_;
    atomic_time primary_asked_{never};
    standby_lag positions_;  ///< of the primary, by when it was asked for them
    std::optional<std::size_t> primary_;
    std::uint32_t timeline_ = 0;
};

}  // namespace pgmend::health
