#pragma once
// Which limits a client is under, and how much of each is used: accounts of users, databases, addresses and
// applications, made as clients come and forgotten when nobody needs them. Pure but for the tokens, which any
// thread may take: everything else is one thread at a time (limit_book). The time is an argument.

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/hba_rules.hpp"
#include "config/settings.hpp"
#include "pool/event_gate.hpp"
#include "proxy/limits/request_clock.hpp"
#include "proxy/limits/request_gate.hpp"
#include "proxy/limits/token_bucket.hpp"

namespace pgmend::proxy {

using config::limit_scope;
inline constexpr std::size_t limit_scopes = config::limit_scope_words.size();
using config::request_limit;
inline constexpr std::size_t request_limits = config::request_limit_words.size();

/// Who a client is to the limits. Views are valid during the call.
struct client_identity {
    std::string_view user;
    std::string_view database;
    std::string_view address;  ///< without a port; `local`: a Unix socket
    std::string_view application_name;
};

/// A rule as it is counted by. It stays the same one as long as the policy says the same.
struct limit_terms {
    config::limit_rule rule;
    std::string name;  ///< of the setting, for texts
    std::uint64_t id = 0;
    std::optional<config::address_range> range;
    bool retired = false;  ///< the policy says something else now
};

/// What is counted under one rule for one of its users, databases, addresses or applications.
struct limit_account {
    std::shared_ptr<const limit_terms> terms;
    std::string key;
    bool shared = false;      ///< of several, as there are too many to count them one by one
    std::size_t clients = 0;  ///< connected, and counted here
    std::size_t holders = 0;  ///< that may come back to it
    bucket_terms rate;
    token_bucket bucket;
    std::uint64_t refused_clients = 0;
    std::uint64_t refused_requests = 0;
    std::array<std::size_t, request_limits> bound{};    ///< clients whose statements are held to it
    std::array<std::uint64_t, request_limits> ended{};  ///< statements and transactions, by it
    std::optional<config::time_point> told_at{};        ///< when the log was told last that it refuses
};

/// What one client counts for, while it is connected.
struct client_limits {
    std::array<limit_account*, limit_scopes> counted{};  ///< among their clients
    std::array<limit_account*, limit_scopes> rated{};    ///< whose tokens its requests take
    /// Whose limits its statements and transactions are held to.
    std::array<limit_account*, request_limits> bounding{};
    request_gate gate;
    request_bounds bounds;
    request_clock clock;
    std::unique_ptr<pool::gate_timer> timer;  ///< of the clock; its session's thread only
    std::vector<std::byte> words;             ///< the client is told instead of its server's

    bool empty() const noexcept {
        return counted == decltype(counted){} && rated == decltype(rated){} &&
               bounding == decltype(bounding){};
    }
    bool rates() const noexcept { return rated != decltype(rated){}; }
    struct overdrawn {
        limit_account* account = nullptr;  ///< null: the request may begin
        config::duration retry_after{};
    };
    /// A request begins: takes a token of each account, or of none. Any thread; no lock, no allocation.
    overdrawn admit(config::time_point now) noexcept;
};

/// What a client is told that is over a limit.
struct limit_refusal {
    limit_scope scope = limit_scope::user;
    std::string message;
    std::string detail;
    std::string hint;
};

/// A row of SHOW LIMITS.
struct limit_facts {
    std::string_view kind;  ///< `clients`, `requests`, or one of a time in ms or a size in bytes
    std::string subject;
    std::uint64_t current = 0;
    std::uint64_t most = 0;
    std::uint64_t refused = 0;
    std::string setting;
};

class limiter {
public:
    explicit limiter(const config::settings& settings) { adopt(settings); }
    limiter(const limiter&) = delete;
    limiter& operator=(const limiter&) = delete;

    /// The policy as it is now. Rules that have not changed keep their accounts.
    void adopt(const config::settings& settings);
    /// A client comes in. Where it is one too many it gets nothing, and the reason is returned.
    std::optional<limit_refusal> enter(
        const client_identity& who, client_limits& into, config::time_point now
    );
    /// The policy has changed for a client that is in, and stays in.
    void resettle(const client_identity& who, client_limits& limits, config::time_point now);
    void leave(client_limits& limits);
    /// What a client is told whose request was refused. Counts it.
    limit_refusal request_refused(const client_limits::overdrawn& why);
    /// What a client is told whose statement or transaction has met a limit; nothing when it is under that
    /// limit no more. Counts it. `late`: a cancel meant for the statement before has met this one.
    std::optional<limit_refusal> ended(const client_limits& limits, request_limit which, bool late);
    /// Whether something is to be told again; then `last` is now.
    static bool due(
        std::optional<config::time_point>& last, config::time_point now, config::duration apart
    ) noexcept {
        if (last && now - *last < apart) return false;
        last = now;
        return true;
    }

    std::size_t accounts() const noexcept { return accounts_.size(); }
    /// Those that are in use, or have refused; the ones that refused most first.
    std::vector<limit_facts> facts(config::time_point now, std::size_t most) const;

private:
    using terms = std::shared_ptr<limit_terms>;
    using account_key = std::pair<std::uint64_t, std::string>;

    void assign(const client_identity& who, client_limits& into, config::time_point now);
    limit_account& account_for(const terms& rule, std::string_view key, config::time_point now);
    void sweep(config::time_point now);
    void release(limit_account& account);
    void bind(client_limits& into, request_limit which, limit_account& account);

    std::vector<terms> rules_;
    /// Ordered, so that what is shown and swept does not depend on chance. With an empty string after a zero
    /// byte: the one of all that found no place.
    std::map<account_key, limit_account> accounts_;
    std::uint64_t last_id_ = 0;
    std::size_t table_size_ = 0;
    std::size_t shared_accounts_ = 0;
    config::time_point next_sweep_{};
};

}  // namespace pgmend::proxy
