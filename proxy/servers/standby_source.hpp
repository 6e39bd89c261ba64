#pragma once
// Where connections for reading go (reads.mode): to the standbys that follow the primary closely enough, in
// turn. What is met at them counts for the whole worker, as what is met at the primary does. One worker
// thread.

#include <memory>

#include "health/standby_positions.hpp"
#include "proxy/servers/backend_cluster.hpp"

namespace pgmend::proxy {

/// What standbys are good for.
enum class standby_state : std::uint8_t {
    none,     ///< none works
    lagging,  ///< none is near enough to the primary
    ready,
};

class standby_source final : public pool::endpoint_source {
public:
    /// `positions` may be null: then no standby will do. `cluster` outlives this.
    standby_source(
        backend_cluster& cluster, config::environment& env,
        std::shared_ptr<const health::standby_positions> positions, config::duration max_lag
    )
        : cluster_(cluster), env_(env), positions_(std::move(positions)), max_lag_(max_lag) {}

    void set_max_lag(config::duration most) noexcept { max_lag_ = most; }
    /// What the best of the standbys is good for.
    standby_state best() const noexcept;
    /// Whether this connection may be read from, by a client whose last write was over at `wrote_at`, or that
    /// has written nothing.
    bool has(const pool::server_connection& server, config::time_point wrote_at) const noexcept;
    /// Whether any standby would do for that client.
    bool any_has(config::time_point wrote_at) const noexcept;

    // endpoint_source
    pool::endpoint_choice choose(bool patient) override;
    bool accepts(const pool::endpoint& where, const pool::server_connection& server) override;
    config::duration report(const pool::endpoint_choice& choice, const pool::login_outcome& outcome) override;
    std::atomic<config::time_point::rep>* life_sign(const pool::endpoint& where) noexcept override {
        return cluster_.life_sign(where);
    }
    bool may_serve(const pool::endpoint& where) const noexcept override;
    bool any_serves() const noexcept override { return best() == standby_state::ready; }
    std::uint64_t* served(const pool::endpoint& where) noexcept override { return cluster_.served(where); }
    std::optional<std::size_t> spare_connections() const noexcept override { return std::nullopt; }
    void broke(const pool::server_connection& server) override { cluster_.broke(server); }
    void holding(const pool::hold_news&) override {}
    std::string absence() const override { return cluster_.absence(); }

private:
    bool is_ready(std::size_t place) const noexcept;

    backend_cluster& cluster_;
    config::environment& env_;
    std::shared_ptr<const health::standby_positions> positions_;
    config::duration max_lag_;
    std::size_t next_ = 0;
};

}  // namespace pgmend::proxy
