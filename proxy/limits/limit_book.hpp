#pragma once
// The limiter that all workers of one process share: a limit is one number, whichever worker a client came
// to. A lock is taken when a client comes, goes or is refused, never for a request that is let in. Any
// thread.

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "proxy/limits/limiter.hpp"

namespace pgmend::proxy {

class limit_book {
public:
    explicit limit_book(const config::settings& settings) : limiter_(settings) {}

    void adopt(const config::settings& settings);
    struct admission {
        std::unique_ptr<client_limits> limits;  ///< null: under no limit
        std::optional<limit_refusal> refusal;
    };
    admission enter(const client_identity& who, config::time_point now);
    /// The policy has changed. Who is in stays in.
    void resettle(const client_identity& who, std::unique_ptr<client_limits>& limits, config::time_point now);
    void leave(std::unique_ptr<client_limits> limits);
    /// A request was refused: counted, and logged now and then.
    limit_refusal request_refused(const client_limits::overdrawn& why, config::time_point now);
    /// A statement or transaction was ended: see limiter::ended. Counted, and logged now and then.
    std::optional<limit_refusal> ended(
        const client_limits& limits, request_limit which, bool late, config::time_point now
    );
    std::vector<limit_facts> facts(config::time_point now, std::size_t most) const;

private:
    mutable std::mutex mutex_;
    limiter limiter_;
};

}  // namespace pgmend::proxy
