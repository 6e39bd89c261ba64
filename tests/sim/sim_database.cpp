#include "tests/sim/sim_database.hpp"

#include <algorithm>

namespace pgmend::sim {

std::optional<std::string> sim_database::row(const std::string& key) const {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return std::nullopt;
    return found->second;
}

void sim_database::commit(const row_changes& changes) {
    if (changes.empty()) return;
    ++commits_;
    for (const auto& [key, value] : changes) {
        if (value) {
            rows_[key] = *value;
        } else {
            rows_.erase(key);
        }
    }
    if (committed_) committed_();
}

std::uint64_t sim_database::give_number() {
    numbers_[++last_number_] = "in progress";
    return last_number_;
}

void sim_database::number_ended(std::uint64_t number, std::uint64_t start, bool committed) {
    if (start != starts_) return;  // the number may be somebody else's by now
    numbers_[number] = committed ? "committed" : "aborted";
    // Whatever was written to the WAL up to here is flushed with a commit.
    if (committed) last_durable_ = last_number_;
}

std::string sim_database::number_status(std::uint64_t number) const {
    const auto found = numbers_.find(number);
    return found == numbers_.end() ? "not assigned" : found->second;
}

void sim_database::recover() {
    ++starts_;
    last_number_ = last_durable_;
    numbers_.erase(numbers_.upper_bound(last_durable_), numbers_.end());
    for (auto& [number, status] : numbers_) {
        if (status == "in progress") status = "aborted";
    }
}

bool sim_database::try_lock(std::int64_t lock, session_id owner) {
    auto& held = locks_.try_emplace(lock, held_lock{owner, 0}).first->second;
    if (held.owner != owner) return false;
    ++held.times;
    return true;
}

bool sim_database::unlock(std::int64_t lock, session_id owner) {
    const auto found = locks_.find(lock);
    if (found == locks_.end() || found->second.owner != owner) return false;
    if (--found->second.times == 0) {
        locks_.erase(found);
        if (wake_) wake_();
    }
    return true;
}

void sim_database::unlock_all(session_id owner) {
    if (std::erase_if(locks_, [owner](const auto& lock) { return lock.second.owner == owner; }) > 0 &&
        wake_) {
        wake_();
    }
}

bool sim_database::holds_locks(session_id owner) const {
    return std::any_of(locks_.begin(), locks_.end(), [&](const auto& lock) {
        return lock.second.owner == owner;
    });
}

void sim_database::listen(session_id who, const std::set<std::string>& channels, notification_sink sink) {
    if (channels.empty()) {
        listeners_.erase(who);
    } else {
        listeners_.insert_or_assign(who, listener{channels, std::move(sink)});
    }
}

void sim_database::notify(session_id from, const std::string& channel, const std::string& payload) {
    for (const auto& [who, known] : listeners_) {
        if (known.channels.contains(channel)) known.sink(from, channel, payload);
    }
}

void sim_database::forget(session_id who) {
    listeners_.erase(who);
    unlock_all(who);
}

}  // namespace pgmend::sim
