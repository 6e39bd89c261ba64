#pragma once
// How many connections a pool should have at one time, found by trying (`pool.sizing: adaptive`). More
// connections serve more requests only until the server is saturated; from there on each only makes all the
// others slower. So while clients wait, another size is tried now and then, and kept by what it did to the
// time a request takes: the latency gradient. In transaction pooling a connection in use is a request that
// runs, so this is the adaptive limit of concurrency as well. Pure: times and counts are arguments. One
// worker thread.
//
// The gradient is that of TCP Vegas (Brakmo and Peterson, 1995), taken between two sizes and not against an
// assumed time of an empty server, which for a mix of statements cannot be known.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "config/environment.hpp"
#include "config/metrics.hpp"

namespace pgmend::pool {

using config::metrics::sizing_reason;

struct sizer_limits {
    std::size_t least = 1;
    std::size_t most = 1;
    bool operator==(const sizer_limits&) const = default;
};

/// What went through the pool since the last look.
struct pool_load {
    config::duration period{};
    std::uint64_t requests = 0;
    config::duration busy{};    ///< with a server, all requests together
    config::duration waited{};  ///< for one
};

class pool_sizer {
public:
    /// As long as a look back should be: shorter ones tell too little.
    static constexpr config::duration period = std::chrono::seconds{1};

    explicit pool_sizer(sizer_limits limits) noexcept : limits_(limits), size_(limits.least) {}

    std::size_t size() const noexcept { return size_; }
    const sizer_limits& limits() const noexcept { return limits_; }
    /// Looks at a period; the reason when the size is another from now on. `spare`: how many connections
    /// the server can take beside those there are; nothing when that is not known.
    std::optional<sizing_reason> look(const pool_load& load, std::optional<std::size_t> spare) noexcept;
    /// The server has refused a login for want of connections (53300); `open` are there.
    std::optional<sizing_reason> server_full(std::size_t open) noexcept;
    /// New limits: the size stays where they allow it.
    void set_limits(sizer_limits limits) noexcept;

private:
    enum class trial : std::uint8_t { none, more, fewer };
    std::optional<sizing_reason> try_next(double latency, std::optional<std::size_t> spare) noexcept;
    std::optional<sizing_reason> judge(double latency, std::optional<std::size_t> spare) noexcept;
    std::optional<sizing_reason> move(std::size_t to, trial now, sizing_reason why) noexcept;
    std::optional<sizing_reason> back(sizing_reason why) noexcept;

    sizer_limits limits_;
    std::size_t size_;
    trial trial_ = trial::none;
    std::size_t from_ = 0;     ///< the size before the trial
    double latency_from_ = 0;  ///< and the seconds a request took then
    bool settling_ = false;    ///< the size is new: the period under way saw both
    bool doubles_ = true;      ///< nothing has spoken against more yet
    bool fewer_next_ = false;  ///< which way the next trial goes
    std::uint32_t rest_ = 0;   ///< periods until it
    std::uint32_t pause_ = 4;  ///< periods after the next trial that fails
};

}  // namespace pgmend::pool
