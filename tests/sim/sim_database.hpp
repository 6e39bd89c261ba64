#pragma once
// What the sessions of one simulated PostgreSQL share: the committed rows of table kv, session advisory
// locks, and who listens on which channel. Committed rows survive a restart of the server, as they should.
// Pure; one thread.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pgmend::sim {

using session_id = std::uint32_t;  ///< the pid a client sees

/// Rows of a transaction not yet committed; nothing is a deletion.
using row_changes = std::map<std::string, std::optional<std::string>>;

class sim_database {
public:
    using notification_sink =
        std::function<void(session_id from, const std::string& channel, const std::string& payload)>;

    /// The configuration of the server says that transactions only read, where nobody says otherwise.
    void set_read_only(bool now) noexcept { read_only_ = now; }
    bool read_only() const noexcept { return read_only_; }

    /// The committed value of a key.
    std::optional<std::string> row(const std::string& key) const;
    const std::map<std::string, std::string>& rows() const noexcept { return rows_; }
    void commit(const row_changes& changes);
    /// The standby's sessions see what is committed by now, and nothing of what follows until the next time;
    /// before the first time they see all at once.
    void replay();
    /// The value of a key as the standby's sessions see it.
    std::optional<std::string> replayed_row(const std::string& key) const;
    /// How many of the commits they see.
    std::uint64_t replayed_commits() const noexcept { return replayed_ ? replayed_commits_ : commits_; }
    /// Counts commits that changed something.
    std::uint64_t commits() const noexcept { return commits_; }

    /// Numbers of transactions, as PostgreSQL gives them: what was not committed before a restart is given
    /// again.
    std::uint64_t give_number();
    /// `start`: which one of the server it was given under.
    void number_ended(std::uint64_t number, std::uint64_t start, bool committed);
    /// As pg_xact_status says it.
    std::string number_status(std::uint64_t number) const;
    /// A record of its own in the WAL, of the transaction that has a number: where it ends, and what it says.
    struct wal_record {
        std::uint64_t end = 0;
        std::string token;
    };
    wal_record write_record();
    /// Whether it is there still.
    bool has_record(const std::string& token) const { return records_.contains(token); }
    /// Where the last checkpoint is recorded: after a recovery in place, where that has ended.
    std::uint64_t checkpoint() const noexcept { return checkpoint_; }
    /// The server begins anew.
    void recover();
    std::uint64_t starts() const noexcept { return starts_; }
    /// Another server goes on with it: a new timeline begins, and the first checkpoint there comes later.
    void promote();
    std::uint32_t timeline() const noexcept { return timeline_; }

    /// True when the lock is held by `owner` now; locks are counted.
    bool try_lock(std::int64_t lock, session_id owner);
    /// False when `owner` does not hold it.
    bool unlock(std::int64_t lock, session_id owner);
    void unlock_all(session_id owner);
    bool holds_locks(session_id owner) const;
    /// Called after each commit that changed something.
    void on_commit(std::function<void()> note) { committed_ = std::move(note); }
    /// Called whenever a lock has become free, for those who wait.
    void on_unlock(std::function<void()> wake) { wake_ = std::move(wake); }

    /// Who carries out pg_terminate_backend; says whether there was such a backend.
    void on_end_session(std::function<bool(session_id)> end) { end_ = std::move(end); }
    bool end_session(session_id who) { return end_ && end_(who); }

    void listen(session_id who, const std::set<std::string>& channels, notification_sink sink);
    void notify(session_id from, const std::string& channel, const std::string& payload);

    /// The session is over: its locks are free, it listens no more.
    void forget(session_id who);

private:
    void flush() noexcept;

    struct held_lock {
        session_id owner;
        std::uint32_t times;
    };
    struct listener {
        std::set<std::string> channels;
        notification_sink sink;
    };
    std::map<std::string, std::string> rows_;
    std::optional<std::map<std::string, std::string>> replayed_;
    std::uint64_t replayed_commits_ = 0;
    std::uint64_t commits_ = 0;
    bool read_only_ = false;
    std::map<std::uint64_t, std::string> numbers_;
    std::uint64_t last_number_ = 700;
    std::uint64_t last_durable_ = 700;
    std::uint64_t wal_ = 0x1000;          ///< written so far, in bytes
    std::uint64_t durable_wal_ = 0x1000;  ///< of it, what outlives a crash
    std::uint64_t checkpoint_ = 0x1000;
    std::uint64_t records_written_ = 0;
    std::map<std::string, std::uint64_t> records_;  ///< by what they say: where they end
    std::uint64_t starts_ = 1;
    std::uint32_t timeline_ = 1;
    std::map<std::int64_t, held_lock> locks_;
    std::map<session_id, listener> listeners_;
    std::function<void()> wake_;
    std::function<void()> committed_;
    std::function<bool(session_id)> end_;
};

}  // namespace pgmend::sim
