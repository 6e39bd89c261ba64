#pragma once
// What must be known of a request so that it can be run again on another server (HEALING section 6, class
// C), apart from its bytes (pool::request_record) and the digest of its answers (protocol::reply_digest):
// what of it forbids that, and what the client's names for prepared statements stood for when it began.
// Pure; one worker thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "protocol/statement_traits.hpp"
#include "proxy/session/client_statements.hpp"

namespace pgmend::proxy {

using config::metrics::replay_hindrance;

/// Why nothing can be run again once such a statement was sent; nothing where it can.
std::optional<replay_hindrance> hazard_of(const protocol::statement_traits& traits) noexcept;

/// What decides, when a server is lost, whether its client's request can be run again.
struct replay_facts {
    bool wanted = false;          ///< by the client's rules
    bool whole_record = false;    ///< of all that the client has sent since a safe point, on this server
    bool whole_digest = false;    ///< of all that the client was shown since
    bool entered_failed = false;  ///< the server was put into the failed block of one that was lost before
    bool state_kept =
        false;  ///< the session holds state, or has committed some, that is older than the record
    bool commit_sent = false;
    bool wrote_outside = false;
    std::optional<replay_hindrance> hazard;  ///< of the statements that were sent, the first
    std::size_t bytes = 0;
    std::size_t most_bytes = 0;
    std::uint64_t statements = 0;
    std::uint64_t most_statements = 0;
    config::duration age{};
    config::duration most_age{};
};

/// Nothing where it can be run again: no effect of it can have outlived its server, and all that was shown
/// can be proven.
std::optional<replay_hindrance> what_hinders(const replay_facts& facts) noexcept;

/// What the client's names for prepared statements stood for when its request began, as far as it has changed
/// them since. Costs something only where a name is changed.
class name_journal {
public:
    using belief = std::pair<protocol::client_statement*, protocol::statement_ref>;

    /// `entry` is about to stand for something else; null: the unnamed statement.
    void note(protocol::client_statement* entry, const protocol::statement_ref& before) {
        if (full()) return;
        if (!changes_) changes_ = std::make_unique<changes>();
        if (entry == nullptr && std::exchange(changes_->unnamed, true)) return;
        changes_->before.emplace_back(entry, before);
    }
    /// It has forgotten some: the request cannot be run again.
    bool full() const noexcept { return changes_ && changes_->before.size() >= most; }
    /// The request is over.
    void clear() noexcept {
        if (!changes_) return;
        changes_->before.clear();
        changes_->unnamed = false;
    }
    /// What every name that has changed stands for.
    std::vector<belief> now(const client_statements& names) const;
    /// Takes every name back to what it stood for. Returns what they have stood for since.
    std::vector<belief> rewind(client_statements& names);

private:
    static constexpr std::size_t most = 10'000;  // of one request: more statements than are run again anyway
    struct changes {
        std::vector<belief> before;  ///< the unnamed statement once, a name as often as it has changed
        bool unnamed = false;
    };
    std::unique_ptr<changes> changes_;  ///< null while no name has changed: most clients prepare nothing
};

/// Lets the names stand for that again.
void believe(client_statements& names, std::vector<name_journal::belief> beliefs);

}  // namespace pgmend::proxy
