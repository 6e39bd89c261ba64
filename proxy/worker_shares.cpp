// The part of worker_core that moves parts of pools between workers: carries what share_book says.

#include <algorithm>

#include "config/log.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

const pool::pool_name& worker_core::name_of(const pool::server_pool& pool) const {
    return std::ranges::find_if(
               pools_, [&pool](const auto& each) { return each.second.get() == &pool; }
    )->first;
}

void worker_core::ask_for_share(pool::server_pool& pool) {
    const pool::pool_name& name = name_of(pool);
    const pool::share_request request{
        name, options_.index, shares_.settings(), pool.ledger().waiting(), shares_.below(name)};
    for (unsigned worker = 0; worker < options_.workers; ++worker) {
        if (worker == options_.index) continue;
        options_.to_worker(worker, [request](worker_core& core) { core.lend_share(request); });
    }
}

/// A pool that nobody has used here leaves its part as well.
void worker_core::lend_share(const pool::share_request& request) {
    pool::share_facts facts;
    facts.given = given_share(request.pool);
    if (const auto found = pools_.find(request.pool); found != pools_.end()) {
        const auto& ledger = found->second->ledger();
        facts.open = ledger.total();
        facts.waiting = ledger.waiting();
        facts.unused = found->second->unused();
    }
    const pool::share_answer answer = shares_.answer(request, facts);
    if (!answer.why) return;
    const std::size_t parts = answer.parts + (answer.promised ? 1 : 0);
    metrics_.pool_shares.add(*answer.why, parts);
    config::log::info(
        "pool_share_moved", {{"pool", request.pool.second + "@" + request.pool.first},
                             {"from_worker", options_.index},
                             {"to_worker", request.asker},
                             {"connections", parts},
                             {"reason", label_word(*answer.why)}}
    );
    adopt_share(request.pool);
    if (answer.parts != 0) hand_share(request.pool, request.asker, answer.parts);
}

void worker_core::hand_share(const pool::pool_name& name, unsigned worker, std::size_t parts) {
    options_.to_worker(worker, [name, settings = shares_.settings(), parts](worker_core& core) {
        core.take_share(name, settings, parts);
    });
}

void worker_core::take_share(const pool::pool_name& name, std::uint64_t settings, std::size_t parts) {
    if (shares_.gained(name, settings, parts)) adopt_share(name);
}

void worker_core::adopt_share(const pool::pool_name& name) {
    const auto found = pools_.find(name);
    if (found == pools_.end()) return;
    found->second->set_share(shares_.size(name, given_share(name)), shares_.owes(name));
}

/// The reserve is each worker's own: what is open of it takes no other worker's place.
bool worker_core::still_owes_share(const pool::server_pool& pool) {
    const pool::pool_name& name = name_of(pool);
    const std::size_t reserve = pool.options().limits.reserve_size;
    const std::size_t open = pool.ledger().total() - std::min(pool.ledger().total(), reserve);
    for (const unsigned worker : shares_.due(name, given_share(name), open))
        hand_share(name, worker, 1);
    return shares_.owes(name);
}

}  // namespace pgmend::proxy
