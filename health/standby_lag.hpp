#pragma once
// How far standbys are behind their primary, by what the checks of both have shown: up to which moment a
// standby has all that the primary had. Its own word knows of what it has received alone: one that receives
// nothing any more says that it lacks nothing. Pure: the time is an argument. One thread.

#include <cstdint>
#include <deque>
#include <optional>

#include "health/observation.hpp"

namespace pgmend::health {

class standby_lag {
public:
    /// This server is the primary, on this timeline. What was known of another one is forgotten: a position
    /// means something else there.
    void primary_is(std::size_t place, std::uint32_t timeline);
    /// The primary had come to `lsn` at that time.
    void primary_at(std::uint64_t lsn, config::time_point when);
    /// Of a standby of that timeline that has replayed up to `lsn`, against what the primary had when it was
    /// looked at last. At least so much, where that is longer ago than is remembered. Nothing where the
    /// primary has not told.
    std::optional<config::duration> behind(std::uint64_t lsn, std::uint32_t timeline) const;
    /// The last moment of which it is known that a standby at `lsn` has all that the primary had then;
    /// nothing where that is before what is remembered, or the primary has not told.
    std::optional<config::time_point> complete_to(std::uint64_t lsn, std::uint32_t timeline) const;

private:
    struct position {
        std::uint64_t lsn;
        config::time_point since;  ///< the first check that has shown it
        config::time_point until;  ///< and the last one
    };
    static constexpr std::size_t most_positions = 4096;

    std::deque<position> positions_;  ///< rising
    std::size_t place_ = 0;
    std::uint32_t timeline_ = 0;  ///< 0: no primary has told
};

}  // namespace pgmend::health
