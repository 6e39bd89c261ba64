#pragma once
// Looks at one server through libpq, without blocking: it keeps one connection open, asks on it what the
// server is, and notices at once when the server ends it. Addresses are resolved by somebody else and passed
// as hostaddr, as libpq would block in a lookup. Control thread; owned by the monitor.

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "health/prober.hpp"

struct pg_conn;

namespace pgmend::health {

/// What libpq is told, apart from where: keyword and value.
using probe_parameters = std::vector<std::pair<std::string, std::string>>;
/// The addresses of the server now, as text; empty while its name has none. Empty function: not needed.
using address_source = std::function<std::vector<std::string>()>;
/// What changes while we run, such as passwords, asked anew for each connection: keyword and value. `attempt`
/// grows when the server refused the last ones. Empty function: nothing.
using secret_source = std::function<probe_parameters(std::size_t attempt)>;
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
    struct finish {
        void operator()(pg_conn* connection) const noexcept;
    };
    enum class direction : std::uint8_t { read, write };

    boost::asio::awaitable<observation> connect();
    boost::asio::awaitable<observation> ask();
    boost::asio::awaitable<bool> wait(direction what);
    observation failure(std::string_view sqlstate) const;
    void drop() noexcept;

    boost::asio::io_context& control_;
    boost::asio::steady_timer deadline_;
    probe_parameters parameters_;
    address_source addresses_;
    clock_source clock_;
    secret_source secrets_;
    std::size_t refusals_ = 0;
    std::unique_ptr<pg_conn, finish> connection_;
    std::size_t next_address_ = 0;  ///< a host of several addresses: another one after each failure
    bool facts_forbidden_ = false;  ///< the functions that tell timeline and identity are not ours to call
};

}  // namespace pgmend::health
