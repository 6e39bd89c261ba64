#pragma once
// What became of statements, by their shape: how often they ran, failed, were sent again, kept their client's
// server, made their transaction one that could not be run again; and how long they took. Bounded: a new
// shape takes the place of one that is used no more, whose numbers go to those of all others, so that the
// sums stay true. Counting allocates nothing and locks nothing; taking in a new shape allocates. Pure; one
// worker thread.

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/metrics.hpp"
#include "protocol/statement_classifier.hpp"

namespace pgmend::proxy {

/// Durations by size: four buckets to each power of two, from 1 us to 2 minutes, and one above; beyond 4 us a
/// figure read from it is too high by a quarter at most.
class latency_buckets {
public:
    static constexpr std::size_t count = 105;

    /// `times`: how many it stands for.
    void record(std::chrono::nanoseconds took, unsigned times = 1) noexcept {
        const auto ns = std::max<std::chrono::nanoseconds::rep>(took.count(), 0);
        counts_[of(static_cast<std::uint64_t>(ns))] += times;
    }
    latency_buckets& operator+=(const latency_buckets& other) noexcept;
    /// So many of `percent` hundredths took no longer, in microseconds; 0 where nothing was recorded.
    std::uint64_t percentile_us(unsigned percent) const noexcept;
    std::uint64_t total() const noexcept;
    bool operator==(const latency_buckets&) const = default;

private:
    static std::size_t of(std::uint64_t nanoseconds) noexcept {
        const std::uint64_t unit = nanoseconds >> 10U;  // 1.024 us
        if (unit < 4) return unit;
        const auto power = static_cast<std::size_t>(std::bit_width(unit)) - 3;
        const std::size_t bucket = power * 4 + (unit >> power);
        return bucket < count ? bucket : count - 1;
    }
    /// The longest duration of a bucket, in nanoseconds.
    static std::uint64_t bound(std::size_t bucket) noexcept;

    std::array<std::uint64_t, count> counts_{};
};

/// What is known of one shape.
struct statement_tally {
    std::string text;                 ///< constants elided
    std::uint64_t calls = 0;          ///< times it was sent to a server; what is sent again counts again
    std::uint64_t errors = 0;         ///< of servers, and ours where its server was lost
    std::uint64_t retries = 0;        ///< times it was under way when its server was lost, and was sent again
    std::uint64_t pins = 0;           ///< times its client began to keep a server because of it
    std::chrono::nanoseconds time{};  ///< of all requests that `latency` tells of
    latency_buckets latency;  ///< from the first byte sent to ReadyForQuery, of requests that it was last in
    /// Times it was the first of its transaction that forbids to run that again, by why.
    std::array<std::uint32_t, config::label_count<config::metrics::replay_hindrance>> hinders{};

    /// Takes the numbers of another one, not its text.
    void absorb(const statement_tally& other) noexcept;
};

class statement_tallies {
public:
    /// A shape's place here, as long as it has it, and whether this call is timed; 0: none.
    using place = std::uint32_t;

    /// Keeps about `limit` shapes apart.
    explicit statement_tallies(std::size_t limit);

    /// A statement is sent. 0: its shape has no place, call `admit`. Shapes as
    /// statement_classifier::last_shape gives them.
    place called(std::uint64_t shape, protocol::statement_kind kind) noexcept {
        if (shape == 0) return count(of_kind_[static_cast<std::size_t>(kind)]);
        const std::size_t set = shape & set_mask_;
        const std::uint64_t* const shapes = shapes_.data() + set;
        if (shapes[0] == shape) [[likely]]
            return count(set);
        for (std::size_t way = 1; way < ways; ++way) {
            if (shapes[way] == shape) return count(set + way);
        }
        return 0;
    }
    /// The same for a shape that has none. Returns whether another one was forgotten in `forgot`.
    place admit(std::uint64_t shape, std::string_view text, protocol::scan_settings scan, bool& forgot);
    /// Where it is, if it has a place; that of all others if not.
    place place_of(std::uint64_t shape) const noexcept;

    /// A request has been answered in which it was the last statement.
    void answered(place where, std::chrono::nanoseconds took) noexcept {
        if ((where & timed) == 0) return;
        statement_tally& tally = at(where);
        const unsigned times = tally.calls > all_timed ? one_in : 1;
        tally.time += took * times;
        tally.latency.record(took, times);
    }
    void failed(place where) noexcept { ++at(where).errors; }
    void sent_again(place where) noexcept { ++at(where).retries; }
    void pinned(place where) noexcept { ++at(where).pins; }
    void hindered(place where, config::metrics::replay_hindrance why) noexcept {
        ++at(where).hinders[static_cast<std::size_t>(why)];
    }

    /// All that were counted since the last reset; those of all others together have the text
    /// `other_statements`.
    std::vector<const statement_tally*> all() const;
    void reset() noexcept;

    static constexpr std::string_view other_statements = "(all others)";

private:
    static constexpr std::size_t ways = 4;
    static constexpr place timed = 1U << 31U;
    /// So many calls of a shape are all timed; of those behind them, one in eight stands for eight.
    static constexpr std::uint64_t all_timed = 100;
    static constexpr unsigned one_in = 8;
    struct entry : statement_tally {
        place where = 0;
        std::uint64_t calls_seen = 0;  ///< when its place was wanted last
        unsigned idle = 0;             ///< times it was wanted since, and nothing was seen of its shape
    };

    place count(std::size_t slot) noexcept {
        entry& one = *entries_[slot];
        const std::uint64_t call = ++one.calls;
        // By chance and not by turn: what comes again and again in one order is timed as any other.
        constexpr std::uint64_t scatter = 0x9e3779b97f4a7c15ULL;
        if (call > all_timed && (call * scatter) >> 61U != 0) return one.where;
        return one.where | timed;
    }
    statement_tally& at(place where) noexcept {
        entry* one = entries_[where & slot_mask_].get();
        // Whoever was there then may have made room.
        return one != nullptr && one->where == (where & ~timed) ? *one : *entries_[others_];
    }
    void clear(entry& one) noexcept;

    std::size_t set_mask_;
    std::size_t slot_mask_;
    std::vector<std::uint64_t> shapes_;  ///< sets of four; 0: free
    /// By slot: of these shapes, then of all others, then of what has no shape. Made when it is needed.
    std::vector<std::unique_ptr<entry>> entries_;
    std::size_t others_;
    std::array<std::uint32_t, 64> of_kind_{};  ///< the slot of a statement without a shape
    unsigned hand_ = 0;
};

}  // namespace pgmend::proxy
