#include "proxy/limits/limit_book.hpp"

#include "config/log.hpp"
#include "config/metric.hpp"

namespace pgmend::proxy {

namespace {
/// A client that does not wait is refused thousands of times a second.
constexpr config::duration between_lines = std::chrono::minutes{1};
}  // namespace

void limit_book::adopt(const config::settings& settings) {
    const std::lock_guard lock{mutex_};
    limiter_.adopt(settings);
}

limit_book::admission limit_book::enter(const client_identity& who, config::time_point now) {
    auto limits = std::make_unique<client_limits>();
    admission result;
    const std::lock_guard lock{mutex_};
    result.refusal = limiter_.enter(who, *limits, now);
    if (!limits->empty()) result.limits = std::move(limits);
    return result;
}

void limit_book::resettle(
    const client_identity& who, std::unique_ptr<client_limits>& limits, config::time_point now
) {
    if (!limits) limits = std::make_unique<client_limits>();
    const std::lock_guard lock{mutex_};
    limiter_.resettle(who, *limits, now);
    // Where no request was looked at, it is not known where the next one begins.
    if (!limits->rates() && !limits->gate.dropping()) limits->gate = {};
    if (limits->empty() && !limits->gate.dropping()) limits.reset();
}

void limit_book::leave(std::unique_ptr<client_limits> limits) {
    if (!limits) return;
    const std::lock_guard lock{mutex_};
    limiter_.leave(*limits);
}

limit_refusal limit_book::request_refused(const client_limits::overdrawn& why, config::time_point now) {
    const std::lock_guard lock{mutex_};
    limit_refusal refusal = limiter_.request_refused(why);
    if (limiter::due(why.account->told_at, now, between_lines)) {
        config::log::warning(
            "requests_limited", {{"message", refusal.message},
                                 {"setting", why.account->terms->name},
                                 {"refused", why.account->refused_requests}}
        );
    }
    return refusal;
}

std::optional<limit_refusal> limit_book::ended(
    const client_limits& limits, request_limit which, bool late, config::time_point now
) {
    const std::lock_guard lock{mutex_};
    auto words = limiter_.ended(limits, which, late);
    if (!words) return words;
    limit_account& account = *limits.bounding[static_cast<std::size_t>(which)];
    if (limiter::due(account.told_at, now, between_lines)) {
        config::log::warning(
            "request_limited", {{"message", words->message},
                                {"limit", config::label_word(which)},
                                {"setting", account.terms->name},
                                {"ended", account.ended[static_cast<std::size_t>(which)]}}
        );
    }
    return words;
}

std::vector<limit_facts> limit_book::facts(config::time_point now, std::size_t most) const {
    const std::lock_guard lock{mutex_};
    return limiter_.facts(now, most);
}

}  // namespace pgmend::proxy
