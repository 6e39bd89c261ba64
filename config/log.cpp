#include "config/log.hpp"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <mutex>
#include <utility>

#include "config/event_limiter.hpp"
#include "config/log_line.hpp"

namespace pgmend::config::log {

namespace detail {
std::atomic<level> lowest{level::off};
}

namespace {

/// Hands each finished line to a function.
class callback_sink final : public spdlog::sinks::base_sink<std::mutex> {
public:
    explicit callback_sink(std::function<void(std::string_view)> callback) : callback_(std::move(callback)) {}

protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        formatter_->format(message, line);
        callback_(std::string_view(line.data(), line.size() - 1));  // without the line's end
    }
    void flush_() override {}

private:
    const std::function<void(std::string_view)> callback_;
};

spdlog::level::level_enum spdlog_level(level severity) {
    switch (severity) {
        case level::debug:
            return spdlog::level::debug;
        case level::info:
            return spdlog::level::info;
        case level::warning:
            return spdlog::level::warn;
        case level::error:
            return spdlog::level::err;
        case level::off:
            break;
    }
    return spdlog::level::off;
}

/// One life of the log, from start to stop. Lines are made on the caller's thread; the queue and its thread
/// are spdlog's. Destroying it writes what is queued.
class logger {
public:
    explicit logger(options wanted)
        : options_(std::move(wanted)),
          limiter_(options_.lines_per_second),
          pool_(std::make_shared<spdlog::details::thread_pool>(options_.queue_lines, 1)),
          output_(std::make_shared<spdlog::async_logger>(
              "", sink(options_), pool_, spdlog::async_overflow_policy::overrun_oldest
          )) {
        output_->set_level(spdlog::level::trace);
    }

    logger(const logger&) = delete;
    logger& operator=(const logger&) = delete;
    /// The queue's thread goes first, so that the output is never destroyed on it.
    ~logger() { pool_.reset(); }

    void write(level severity, std::string_view event_name, fields list) {
        const auto now = options_.now();
        bool allowed = false;
        std::vector<event_limiter::report> reports;
        {
            const std::lock_guard lock(mutex_);
            reports = limiter_.ended(now);
            allowed = limiter_.allow(event_name, severity, now);
        }
        tell(reports);
        if (allowed) put(severity, event_name, list);
    }

    void finish() {
        const std::lock_guard lock(mutex_);
        tell(limiter_.all());
        tell_lost();
    }

private:
    static spdlog::sink_ptr sink(const options& wanted) {
        constexpr auto* text = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
        constexpr auto* json = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";
        spdlog::sink_ptr made;
        if (wanted.sink) {
            made = std::make_shared<callback_sink>(wanted.sink);
        } else {
            made = std::make_shared<spdlog::sinks::stderr_sink_mt>();
        }
        made->set_formatter(std::make_unique<spdlog::pattern_formatter>(
            wanted.form == format::json ? json : text, spdlog::pattern_time_type::utc, "\n"
        ));
        return made;
    }

    void put(level severity, std::string_view event_name, fields list) {
        output_->log(spdlog_level(severity), spdlog::string_view_t(line_of(options_.form, event_name, list)));
        tell_lost();
    }

    void tell(const std::vector<event_limiter::report>& reports) {
        for (const auto& each : reports)
            put(each.severity, each.event, {{"suppressed", each.suppressed}});
    }

    /// Reports lines that were lost because the queue was full; once there is room, lest the report costs a
    /// line.
    void tell_lost() {
        const std::size_t lost = pool_->overrun_counter();
        std::size_t told = lost_told_.load(std::memory_order_relaxed);
        if (lost <= told || pool_->queue_size() > options_.queue_lines / 2) return;
        if (!lost_told_.compare_exchange_strong(told, lost, std::memory_order_relaxed)) return;
        const std::string line = line_of(options_.form, "log_lines_lost", {{"lines", lost - told}});
        output_->log(spdlog::level::warn, spdlog::string_view_t(line));
    }

    const options options_;
    std::mutex mutex_;
    event_limiter limiter_;
    std::atomic<std::size_t> lost_told_{0};
    std::shared_ptr<spdlog::details::thread_pool> pool_;
    std::shared_ptr<spdlog::async_logger> output_;
};

std::mutex current_mutex;
std::shared_ptr<logger> current;

std::shared_ptr<logger> exchange_current(std::shared_ptr<logger> next) {
    const std::lock_guard lock(current_mutex);
    return std::exchange(current, std::move(next));
}

}  // namespace

void start(options wanted) {
    stop();
    const level lowest = wanted.lowest;
    exchange_current(std::make_shared<logger>(std::move(wanted)));
    detail::lowest.store(lowest, std::memory_order_relaxed);
}

void set_level(level lowest) noexcept { detail::lowest.store(lowest, std::memory_order_relaxed); }

void stop() {
    detail::lowest.store(level::off, std::memory_order_relaxed);
    // A thread that is just writing keeps the log alive; the last one to let go ends it.
    if (const auto last = exchange_current(nullptr)) last->finish();
}

void detail::write(level severity, std::string_view event_name, fields list) noexcept {
    try {
        std::shared_ptr<logger> log;
        {
            const std::lock_guard lock(current_mutex);
            log = current;
        }
        if (log != nullptr) log->write(severity, event_name, list);
    } catch (...
    ) {  // NOLINT(bugprone-empty-catch): a line that cannot be had must not stop what it tells about
    }
}

}  // namespace pgmend::config::log
