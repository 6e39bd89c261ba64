#pragma once
// Which server the next connection goes to: the servers in the order given, the last one that would do first,
// one that failed resting until its pause is over. The one place where a pool's outcome meets health's
// judgement. One worker thread.

#include <vector>

#include "config/settings.hpp"
#include "health/backoff.hpp"
#include "pool/server_pool.hpp"

namespace pgmend::proxy {

class backend_cluster final : public pool::endpoint_source {
public:
    backend_cluster(const config::settings& settings, config::environment& env);

    pool::endpoint choose() override;
    bool accepts(const pool::endpoint& where, const pool::server_connection& server) override;
    config::duration report(const pool::endpoint& where, const pool::login_outcome& outcome) override;

private:
    struct candidate {
        pool::endpoint where;
        health::backoff pause;
        config::time_point rests_until{};
    };
    candidate* find(const pool::endpoint& where) noexcept;

    config::environment& env_;
    config::session_attributes wanted_;
    std::vector<candidate> candidates_;
    std::size_t present_ = 0;  ///< the one that worked last
    bool standby_preference_given_up_ = false;
};

}  // namespace pgmend::proxy
