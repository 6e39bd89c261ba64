#include "health/check_history.hpp"

#include <algorithm>

namespace pgmend::health {

namespace {

/// libpq's words may go on over lines; the first ones say what is wrong.
constexpr std::size_t longest_message = 300;

}  // namespace

void check_history::begin(std::size_t node) {
    if (node >= servers_.size()) servers_.resize(node + 1);
    servers_[node] = {};
}

void check_history::add(std::size_t node, const observation& seen, config::time_point now) {
    server& one = servers_[node];
    const bool answered = seen.result == probe_result::ok;
    if (one.total == 0 || answered != one.answered) one.since = now;
    ++one.total;
    one.answered = answered;
    one.failed_in_row = answered ? 0 : one.failed_in_row + 1;
    if (limit_ == 0) return;
    if (one.records.size() == limit_) one.records.pop_front();
    one.records.push_back({now, seen.result, seen.latency, seen.message.substr(0, longest_message)});
}

check_summary check_history::summary(std::size_t node) const {
    const server& one = servers_[node];
    check_summary sum;
    sum.total = one.total;
    sum.failed_in_row = one.failed_in_row;
    sum.remembered = std::min(one.records.size(), check_history::window);
    sum.since = one.since;
    for (const check_record& each : latest(node, check_history::window)) {
        if (each.result == probe_result::ok) {
            ++sum.answered;
            sum.latency += each.latency;
        } else {
            sum.last_failure =
                each.message.empty() ? std::string(config::label_word(each.result)) : each.message;
        }
    }
    if (sum.answered != 0) sum.latency /= static_cast<config::duration::rep>(sum.answered);
    return sum;
}

std::vector<check_record> check_history::latest(std::size_t node, std::size_t most) const {
    const auto& records = servers_[node].records;
    const std::size_t count = std::min(most, records.size());
    return {records.end() - static_cast<std::ptrdiff_t>(count), records.end()};
}

}  // namespace pgmend::health
