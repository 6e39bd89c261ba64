#pragma once
// What administrators ask of one worker: facts of its clients, pools and servers, and orders to them. One
// worker thread; owned by the worker.

#include <optional>
#include <set>
#include <string>

#include "proxy/admin/admin_facts.hpp"

namespace pgmend::proxy {

class worker_core;
class client_session;

/// A database by name; nothing: all of them.
using database_choice = std::optional<std::string>;

class worker_admin {
public:
    explicit worker_admin(worker_core& worker) noexcept : worker_(worker) {}

    worker_facts facts(const facts_wanted& wanted) const;
    /// At most `most` acts of healing: those behind the one with this number, or the latest ones.
    ledger_page acts(std::optional<std::uint64_t> after, std::size_t most) const;

    /// Clients of it wait, also those to come, and its servers are closed as they become free.
    void pause(const database_choice& which);
    void resume(const database_choice& which);
    /// Its servers of now are closed as they become free.
    void reconnect(const database_choice& which);
    /// No further client comes in.
    void disable(const std::string& database) { disabled_.insert(database); }
    void enable(const std::string& database) { disabled_.erase(database); }
    /// Its clients are closed now; their servers are made clean of them, or closed.
    void kill(const database_choice& which);
    /// Whether there was such a client.
    bool kill_client(std::uint64_t id);
    /// No new request goes to that server of upstream.servers, or they do again. `outcome` and `cause` are
    /// what the ledger says; a word that lives for ever.
    void set_ban(std::size_t place, bool banned, std::string_view outcome, const std::string& cause);
    /// Into the ledger, as of now.
    void note(healing_event act);
    /// Statements are counted from zero.
    void reset_statements();
    /// Ends the consoles: the process is about to end.
    void close_consoles();

    bool paused(const std::string& database) const { return all_paused_ || paused_.contains(database); }
    bool disabled(const std::string& database) const { return disabled_.contains(database); }

    /// A console begins; false when there are as many as may be.
    bool console_begins();
    void console_ends() noexcept { --consoles_; }
    std::size_t consoles() const noexcept { return consoles_; }

private:
    void add_client(client_session& session, const facts_wanted& wanted, worker_facts& facts) const;
    void add_pools(const facts_wanted& wanted, worker_facts& facts) const;
    template <class Visit>
    void each_pool(const database_choice& which, Visit visit);

    worker_core& worker_;
    std::set<std::string> paused_;
    std::set<std::string> disabled_;
    std::size_t consoles_ = 0;
    bool all_paused_ = false;
};

}  // namespace pgmend::proxy
