#include "proxy/limits/request_clock.hpp"

#include <algorithm>
#include <utility>

namespace pgmend::proxy {

using config::request_limit;
using config::time_point;

namespace {

bool over(const std::optional<time_point>& since, config::duration limit, time_point now) noexcept {
    return since && limit.count() != 0 && now - *since >= limit;
}

}  // namespace

void request_clock::sent(time_point now) noexcept {
    idle_.reset();
    if (!began_) began_ = now;
    if (running_) return;
    running_ = now;
    if (!new_answer_) return;
    new_answer_ = false;
    shown_ = 0;
}

bool request_clock::answered(
    const request_bounds& bounds, std::size_t bytes, bool nothing_owed, time_point now
) noexcept {
    // Where in them the ReadyForQuery was is not known: they count for neither answer.
    shown_ = std::exchange(new_answer_, false) ? 0 : shown_ + bytes;
    if (nothing_owed && running_) {
        running_.reset();
        idle_ = now;
    }
    const bool too_much = bounds.result_bytes != 0 && shown_ > bounds.result_bytes && running_ && !by_;
    if (!too_much) return false;
    by_ = request_limit::result_size;
    cancel_at_ = now;
    return true;
}

void request_clock::ready(bool in_block, bool more, bool cancel_under_way, time_point now) noexcept {
    if (by_) {
        late_ = by_;
    } else if (!cancel_under_way) {
        late_.reset();
    }
    by_.reset();
    cancel_at_.reset();
    running_ = idle_ = std::nullopt;
    if (more) {
        running_ = now;
    } else if (in_block) {
        idle_ = now;
    }
    if (!in_block) began_ = more ? std::optional{now} : std::nullopt;
    new_answer_ = true;
    shown_ = 0;
}

std::optional<request_clock::cause> request_clock::cancelled() noexcept {
    if (by_) return cause{*std::exchange(by_, std::nullopt), false};
    if (late_) return cause{*std::exchange(late_, std::nullopt), true};
    return std::nullopt;
}

request_clock::verdict request_clock::cancel(
    request_limit why, const request_bounds& bounds, time_point now
) noexcept {
    by_ = why;
    cancel_at_ = now;
    return {deed::cancel, why, due(bounds)};
}

request_clock::verdict request_clock::look(const request_bounds& bounds, bool ours, time_point now) noexcept {
    const bool too_old = over(began_, bounds.transaction, now);
    const bool too_idle = over(idle_, bounds.idle_transaction, now);
    const bool too_long = over(running_, bounds.query, now);
    const bool again = cancel_at_ && now - *cancel_at_ >= patience;
    const bool something = too_old || too_idle || too_long || again;
    if (something && ours) return {deed::nothing, {}, now + postponed};
    if (too_old && (!running_ || (by_ == request_limit::transaction_timeout && again)))
        return {deed::end, request_limit::transaction_timeout, std::nullopt};
    if (too_old && by_ != request_limit::transaction_timeout)
        return cancel(request_limit::transaction_timeout, bounds, now);
    if (too_idle) return {deed::end, request_limit::idle_transaction_timeout, std::nullopt};
    if (again && by_) return cancel(*by_, bounds, now);
    if (too_long && !cancel_at_) return cancel(request_limit::query_timeout, bounds, now);
    return {deed::nothing, {}, due(bounds)};
}

std::optional<time_point> request_clock::due(const request_bounds& bounds) const noexcept {
    moment next;
    const auto consider = [&next](const moment& since, config::duration limit) {
        if (since && limit.count() != 0) next = next ? std::min(*next, *since + limit) : *since + limit;
    };
    // What was cancelled for its transaction's age ends it when it has not come to an end by then.
    if (by_ != request_limit::transaction_timeout) consider(began_, bounds.transaction);
    consider(idle_, bounds.idle_transaction);
    if (cancel_at_) {
        if (by_) consider(cancel_at_, patience);
    } else {
        consider(running_, bounds.query);
    }
    return next;
}

}  // namespace pgmend::proxy
