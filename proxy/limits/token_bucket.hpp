#pragma once
// How many requests may begin: a bucket of tokens that fills steadily, kept as the one time at which it will
// be full again (the generic cell rate algorithm). Pure: the time is an argument. Any thread; no lock, no
// allocation. What sequence of calls there may be, never more than burst + rate * t begin in a time t.

#include <atomic>
#include <cstdint>

#include "config/environment.hpp"
#include "config/limit_rules.hpp"

namespace pgmend::proxy {

/// A rate in the clock's own units. Rounded so that never more comes through than was asked for.
struct bucket_terms {
    config::duration::rep interval = 0;  ///< in which one token comes
    std::uint64_t burst = 0;             ///< how many there are at most

    static bucket_terms of(const config::request_rate& rate) noexcept;
    /// Behind this time there is not a token left.
    config::duration::rep depth() const noexcept {
        return interval * static_cast<config::duration::rep>(burst);
    }
};

class token_bucket {
public:
    struct verdict {
        bool admitted = false;
        std::uint64_t remaining = 0;     ///< tokens that are left
        config::duration retry_after{};  ///< when refused: until there is one
    };
    /// Takes a token if there is one.
    verdict take(const bucket_terms& terms, config::time_point now) noexcept;
    /// A token that was taken and not used. Only what `take` has admitted.
    void give_back(const bucket_terms& terms) noexcept {
        full_at_.fetch_sub(terms.interval, std::memory_order_relaxed);
    }
    std::uint64_t remaining(const bucket_terms& terms, config::time_point now) const noexcept;
    bool full(config::time_point now) const noexcept {
        return full_at_.load(std::memory_order_relaxed) <= now.time_since_epoch().count();
    }

private:
    std::atomic<config::duration::rep> full_at_{0};
};

}  // namespace pgmend::proxy
