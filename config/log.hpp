#pragma once
// Log lines: the name of an event and its fields, as text or as JSON, on standard error.
//   log::info("server_lost", {{"endpoint", where}, {"reason", label_word(why)}});
//   2026-11-22T03:04:05.678Z info server_lost endpoint=127.0.0.1:5432 reason=refused
// Lines are handed to a thread of their own through a bounded queue; when it is full the oldest lines are
// lost and their number is reported. A worker never waits for the place where logs go. Any thread may log.
// What is logged before start() and after stop() is dropped.

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace pgmend::config::log {

enum class level : std::uint8_t { debug, info, warning, error, off };
enum class format : std::uint8_t { text, json };

/// In place of a secret: takes it and keeps nothing, so nothing can be printed.
struct redacted {
    redacted() = default;
    template <class Secret>
    explicit redacted(const Secret&) noexcept {}
};

/// A value of a field. Text is a view: it must live until the call returns. Text is escaped, cut at 1 KiB,
/// and bytes that are not UTF-8 are replaced, as it may come from a client. Units stand in the key
/// (`waited_ms`).
class value {
public:
    using storage = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool, redacted>;

    value(std::string_view text) noexcept : storage_(text) {}
    value(const std::string& text) noexcept : storage_(std::string_view(text)) {}
    value(const char* text) noexcept : storage_(std::string_view(text)) {}
    value(std::signed_integral auto number) noexcept : storage_(static_cast<std::int64_t>(number)) {}
    value(std::unsigned_integral auto number) noexcept : storage_(static_cast<std::uint64_t>(number)) {}
    value(double number) noexcept : storage_(number) {}
    value(bool truth) noexcept : storage_(truth) {}
    value(redacted secret) noexcept : storage_(secret) {}

    const storage& get() const noexcept { return storage_; }

private:
    storage storage_;
};

/// `key` is a word of our own: lower case, digits and `_`.
struct field {
    std::string_view key;
    value what;
};
using fields = std::initializer_list<field>;

/// The name of an event. Only a literal: so it lives for ever, and there are only as many as the source has.
class event {
public:
    consteval event(const char* name) : name_(name) {}
    constexpr std::string_view name() const noexcept { return name_; }

private:
    std::string_view name_;
};

/// How the log is to be. `sink` and `now` are for tests: lines go to `sink` (on the log's thread, without the
/// line's end) and time is read from `now`.
struct options {
    level lowest = level::info;
    config::log::format form = format::text;
    /// Lines of one event in one second; further ones are counted, and reported as `suppressed=`.
    std::uint32_t lines_per_second = 20;
    std::size_t queue_lines = 1024;
    std::function<void(std::string_view line)> sink = {};
    std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

/// Starts the log and its thread. Once, by main; throws std::exception when the thread cannot be had.
void start(options wanted);
/// Writes what is queued, and ends the thread.
void stop();
/// The least important lines that are written from now on. Between start() and stop().
void set_level(level lowest) noexcept;

namespace detail {
extern std::atomic<level> lowest;
void write(level severity, std::string_view event_name, fields list) noexcept;
}  // namespace detail

/// Whether a line of this level would be written: asked where the fields cost something to make.
inline bool enabled(level severity) noexcept {
    return severity >= detail::lowest.load(std::memory_order_relaxed);
}

inline void debug(event what, fields list = {}) noexcept {
    if (enabled(level::debug)) detail::write(level::debug, what.name(), list);
}
inline void info(event what, fields list = {}) noexcept {
    if (enabled(level::info)) detail::write(level::info, what.name(), list);
}
inline void warning(event what, fields list = {}) noexcept {
    if (enabled(level::warning)) detail::write(level::warning, what.name(), list);
}
inline void error(event what, fields list = {}) noexcept {
    if (enabled(level::error)) detail::write(level::error, what.name(), list);
}

}  // namespace pgmend::config::log

namespace pgmend {
namespace log = config::log;
}
