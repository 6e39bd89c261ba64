#pragma once
// Looks at one server through libpq, without blocking: it keeps one connection open, asks on it what the
// server is, and notices at once when the server ends it. Addresses are resolved by somebody else and passed
// as hostaddr, as libpq would block in a lookup. Control thread; owned by the monitor.

#include "health/libpq_link.hpp"
#include "health/prober.hpp"

namespace pgmend::health {

/// What time it is; for latency.
using clock_source = config::time_point (*)();

class libpq_prober final : public prober {
public:
    libpq_prober(
        boost::asio::io_context& control, probe_parameters parameters, address_source addresses,
        clock_source clock, secret_source secrets = {}
    );
    ~libpq_prober() override;
    libpq_prober(const libpq_prober&) = delete;
    libpq_prober& operator=(const libpq_prober&) = delete;

    boost::asio::awaitable<observation> probe(config::duration timeout) override;
    boost::asio::awaitable<bool> idle(boost::asio::steady_timer& timer) override;

private:
    boost::asio::awaitable<observation> ask();

    boost::asio::io_context& control_;
    libpq_link link_;
    clock_source clock_;
    bool facts_forbidden_ = false;  ///< the functions that tell timeline and identity are not ours to call
};

}  // namespace pgmend::health
