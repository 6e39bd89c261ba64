#include "tests/sim/sim_database.hpp"

#include <algorithm>

namespace pgmend::sim {

namespace {

// What things take in the WAL, and where it begins.
constexpr std::uint64_t change_bytes = 64;
constexpr std::uint64_t commit_bytes = 40;
constexpr std::uint64_t record_bytes = 96;
constexpr std::uint64_t checkpoint_bytes = 120;
constexpr std::uint64_t first_place = 0x1000;

}  // namespace

std::optional<std::string> sim_database::row(const std::string& key) const {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return std::nullopt;
    return found->second;
}

std::optional<std::string> sim_database::replayed_row(const std::string& key) const {
    if (!replayed_) return row(key);
    const auto found = replayed_->find(key);
    if (found == replayed_->end()) return std::nullopt;
    return found->second;
}

void sim_database::replay() {
    if (replayed_ && replayed_commits_ == commits_) return;
    replayed_ = rows_;
    replayed_commits_ = commits_;
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
    wal_ += change_bytes;
    numbers_[++last_number_] = "in progress";
    return last_number_;
}

void sim_database::number_ended(std::uint64_t number, std::uint64_t start, bool committed) {
    if (start != starts_) return;  // the number may be somebody else's by now
    numbers_[number] = committed ? "committed" : "aborted";
    // Whatever was written to the WAL up to here is flushed with a commit.
    wal_ += commit_bytes;
    if (committed) flush();
}

void sim_database::flush() noexcept {
    last_durable_ = last_number_;
    durable_wal_ = wal_;
}

sim_database::wal_record sim_database::write_record() {
    wal_ += record_bytes;
    wal_record written{wal_, "record " + std::to_string(++records_written_)};
    records_[written.token] = written.end;
    // Now and then PostgreSQL flushes what nobody waits for.
    if (records_written_ % 3 == 0) flush();
    return written;
}

std::string sim_database::number_status(std::uint64_t number) const {
    const auto found = numbers_.find(number);
    return found == numbers_.end() ? "not assigned" : found->second;
}

void sim_database::recover() {
    ++starts_;
    wal_ = checkpoint_ = durable_wal_;
    std::erase_if(records_, [this](const auto& record) { return record.second > durable_wal_; });
    wal_ += checkpoint_bytes;
    durable_wal_ = wal_;
    last_number_ = last_durable_;
    numbers_.erase(numbers_.upper_bound(last_durable_), numbers_.end());
    for (auto& [number, status] : numbers_) {
        if (status == "in progress") status = "aborted";
    }
}

void sim_database::promote() {
    ++timeline_;
    if (replayed_) replay();
    checkpoint_ = first_place;
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
