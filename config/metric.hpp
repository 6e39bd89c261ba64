#pragma once
// What a metric is made of: cells that one worker moves and a scrape sums. A metric is declared once, as a
// member of a metric_set (config/metrics.hpp); name, help, type and labels are taken from that declaration.
//
// Threads: a metric is moved by the one thread that owns its set. A scrape reads from any thread. Cells are
// relaxed atomics moved by load and store, so counting costs no locked instruction.

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pgmend::config {

enum class metric_type : std::uint8_t { counter, gauge, histogram };

/// One 64-bit number with a single writer.
class metric_cell {
public:
    void add(std::uint64_t n) noexcept { value_.store(load() + n, std::memory_order_relaxed); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t load() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Where the value of a sampled metric comes from: read when scraped, from any thread.
using metric_sample = double (*)();

/// The declaration of one metric. `help` is one line: the exposition does not escape a line break in it.
struct metric_definition {
    metric_type type;
    std::string_view name;
    std::string_view help;
    std::string_view label = {};                          ///< empty: one series without a label
    std::span<const std::string_view> label_values = {};  ///< one series for each
    std::span<const metric_cell> cells = {};              ///< one a series; a histogram's buckets and its sum
    metric_sample sample = nullptr;                       ///< instead of cells
};

/// The owner of metrics: knows its members, in the order of their declaration, because each of them registers
/// itself. Neither copied nor moved, as it keeps the places of its members.
class metric_set {
public:
    metric_set() = default;
    metric_set(const metric_set&) = delete;
    metric_set& operator=(const metric_set&) = delete;

    std::span<const metric_definition> definitions() const noexcept { return definitions_; }
    void declare(const metric_definition& definition) { definitions_.push_back(definition); }

private:
    std::vector<metric_definition> definitions_;
};

/// Only goes up.
class counter {
public:
    counter(metric_set* owner, std::string_view name, std::string_view help) {
        owner->declare({.type = metric_type::counter, .name = name, .help = help, .cells = {&cell_, 1}});
    }
    void add(std::uint64_t n = 1) noexcept { cell_.add(n); }
    std::uint64_t value() const noexcept { return cell_.load(); }

private:
    metric_cell cell_;
};

/// Goes up and down. Workers' gauges are summed, so it counts things; a sum of differences may pass below
/// zero on one worker.
class gauge {
public:
    gauge(metric_set* owner, std::string_view name, std::string_view help) {
        owner->declare({.type = metric_type::gauge, .name = name, .help = help, .cells = {&cell_, 1}});
    }
    void add(std::int64_t n = 1) noexcept { cell_.add(std::bit_cast<std::uint64_t>(n)); }
    void sub(std::int64_t n = 1) noexcept { cell_.add(-std::bit_cast<std::uint64_t>(n)); }
    void set(std::int64_t n) noexcept { cell_.set(std::bit_cast<std::uint64_t>(n)); }
    std::int64_t value() const noexcept { return std::bit_cast<std::int64_t>(cell_.load()); }

private:
    metric_cell cell_;
};

/// A label's values are the words of an enum, numbered from 0: an array `label_words(Enum)` found beside it.
template <class Enum>
inline constexpr std::size_t label_count = label_words(Enum{}).size();

/// The word of one enumerator, as metrics and logs print it.
template <class Enum>
constexpr std::string_view label_word(Enum value) noexcept {
    return label_words(value)[static_cast<std::size_t>(value)];
}

/// A counter for each enumerator.
template <class Enum>
class counter_by {
public:
    counter_by(metric_set* owner, std::string_view name, std::string_view label, std::string_view help) {
        owner->declare({metric_type::counter, name, help, label, label_words(Enum{}), cells_});
    }
    void add(Enum which, std::uint64_t n = 1) noexcept { cells_[place(which)].add(n); }
    std::uint64_t value(Enum which) const noexcept { return cells_[place(which)].load(); }

private:
    static std::size_t place(Enum which) noexcept { return static_cast<std::size_t>(which); }
    std::array<metric_cell, label_count<Enum>> cells_;
};

/// A gauge for each enumerator.
template <class Enum>
class gauge_by {
public:
    gauge_by(metric_set* owner, std::string_view name, std::string_view label, std::string_view help) {
        owner->declare({metric_type::gauge, name, help, label, label_words(Enum{}), cells_});
    }
    void add(Enum which, std::int64_t n = 1) noexcept {
        cells_[place(which)].add(std::bit_cast<std::uint64_t>(n));
    }
    void sub(Enum which, std::int64_t n = 1) noexcept {
        cells_[place(which)].add(-std::bit_cast<std::uint64_t>(n));
    }
    void set(Enum which, std::int64_t n) noexcept {
        cells_[place(which)].set(std::bit_cast<std::uint64_t>(n));
    }
    std::int64_t value(Enum which) const noexcept {
        return std::bit_cast<std::int64_t>(cells_[place(which)].load());
    }

private:
    static std::size_t place(Enum which) noexcept { return static_cast<std::size_t>(which); }
    std::array<metric_cell, label_count<Enum>> cells_;
};

/// The buckets of every histogram: upper bounds double from 16 us to 67 s, and one above. Recording is a
/// shift.
struct histogram_buckets {
    static constexpr int first_power = 4;  ///< of two, in microseconds
    static constexpr int last_power = 26;
    static constexpr std::size_t bounds = last_power - first_power + 1;
    static constexpr std::size_t count = bounds + 1;  ///< the last has no bound

    static constexpr std::uint64_t bound_us(std::size_t bucket) noexcept {
        return std::uint64_t{1} << (static_cast<std::size_t>(first_power) + bucket);
    }
    /// The bucket of a duration: the first whose bound is not below it.
    static constexpr std::size_t of(std::uint64_t nanoseconds) noexcept {
        if (nanoseconds <= bound_us(0) * 1000) return 0;
        // The last whole microsecond before it: one less than it takes, rounded up.
        const auto bucket = static_cast<std::size_t>(std::bit_width((nanoseconds - 1) / 1000) - first_power);
        return bucket < bounds ? bucket : bounds;
    }
};

/// Durations by size. The last cell is the sum, in nanoseconds.
class histogram {
public:
    histogram(metric_set* owner, std::string_view name, std::string_view help) {
        owner->declare({.type = metric_type::histogram, .name = name, .help = help, .cells = cells_});
    }
    /// A negative duration counts as none.
    void record(std::chrono::nanoseconds took) noexcept {
        const auto ns = static_cast<std::uint64_t>(took.count() > 0 ? took.count() : 0);
        cells_[histogram_buckets::of(ns)].add(1);
        cells_[histogram_buckets::count].add(ns);
    }
    std::uint64_t bucket(std::size_t which) const noexcept { return cells_[which].load(); }
    std::uint64_t sum_ns() const noexcept { return cells_[histogram_buckets::count].load(); }

private:
    std::array<metric_cell, histogram_buckets::count + 1> cells_;
};

/// A value nobody counts: read from the system when scraped. May carry one fixed label.
class sampled {
public:
    sampled(
        metric_set* owner, metric_type type, std::string_view name, std::string_view help,
        metric_sample sample
    ) {
        owner->declare({.type = type, .name = name, .help = help, .sample = sample});
    }
    sampled(
        metric_set* owner, metric_type type, std::string_view name, std::string_view label,
        std::span<const std::string_view> value, std::string_view help, metric_sample sample
    ) {
        owner->declare({type, name, help, label, value, {}, sample});
    }
};

}  // namespace pgmend::config
