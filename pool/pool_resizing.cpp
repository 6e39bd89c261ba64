// The part of server_pool that gives a pool another size while it works (`pool.sizing: adaptive`): looks at
// what went through it as long as clients have to wait, asks pool_sizer, and tells.

#include <algorithm>

#include "config/log.hpp"
#include "pool/server_pool.hpp"

namespace pgmend::pool {

pool_limits server_pool::limits_now() const noexcept {
    pool_limits limits = options_.limits;
    if (sizer_) limits.size = sizer_->size();
    return limits;
}

void server_pool::adopt_sizing() noexcept {
    if (options_.least_size == 0) {
        sizer_.reset();
        look_.reset();
        return;
    }
    const sizer_limits limits{std::min(options_.least_size, options_.limits.size), options_.limits.size};
    if (sizer_) {
        sizer_->set_limits(limits);
    } else {
        sizer_.emplace(limits);
    }
}

/// The metric tells of what the ledger has.
void server_pool::note_size() noexcept {
    const std::size_t now = ledger_.limits().size;
    context_.metrics.pool_size.add(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(told_size_));
    told_size_ = now;
}

void server_pool::set_share(std::size_t size, bool owes) {
    options_.limits.size = size;
    owes_share_ = owes;
    adopt_sizing();
    pool_ledger::actions actions;
    ledger_.set_limits(limits_now(), context_.env.now(), actions);
    note_size();
    carry_out(actions);
}

std::size_t server_pool::unused() const noexcept {
    return ledger_.idle_since(context_.env.now() - options_.limits.repartition_delay);
}

/// When other workers are asked for a part of what they may have; max() when there is no reason.
config::time_point server_pool::share_due() const noexcept {
    const ledger_waiter* first = ledger_.first_waiter();
    const bool full = ledger_.connecting() == 0 && ledger_.total() >= options_.limits.size;
    if (!options_.shared || context_.shares == nullptr || first == nullptr || !full || ledger_.holding() ||
        ledger_.paused() || closing_)
        return config::time_point::max();
    return std::max(first->since, asked_for_share_) + options_.limits.repartition_delay;
}

void server_pool::look_for_share() {
    const auto now = context_.env.now();
    if (now < share_due()) return;
    asked_for_share_ = now;
    context_.shares->ask_for_share(*this);
}

/// Somebody has to wait: from now on there is something to find out.
void server_pool::begin_look() noexcept {
    if (!sizer_ || look_) return;
    look_ =
        load_look{context_.env.now(), traffic_.transactions, traffic_.transaction_time, traffic_.wait_time};
}

void server_pool::look_at_size() {
    const auto now = context_.env.now();
    if (!look_ || now < look_->began + pool_sizer::period) return;
    const load_look before = *std::exchange(look_, std::nullopt);
    const bool waited = traffic_.wait_time != before.waited || ledger_.waiting() != 0;
    if (waited) begin_look();
    if (ledger_.holding() || ledger_.paused() || closing_) return;
    auto spare = context_.endpoints.spare_connections();
    if (spare) spare = *spare / options_.workers;
    const pool_load load{
        now - before.began, traffic_.transactions - before.transactions,
        traffic_.transaction_time - before.busy, traffic_.wait_time - before.waited};
    resized(sizer_->look(load, spare));
}

void server_pool::resized(std::optional<sizing_reason> why) {
    if (!why) return;
    context_.metrics.pool_resizes.add(*why);
    log::info(
        "pool_resized", {{"pool", login_.user + "@" + login_.database},
                         {"from", ledger_.limits().size},
                         {"to", sizer_->size()},
                         {"reason", label_word(*why)},
                         {"waiting", ledger_.waiting()}}
    );
    pool_ledger::actions actions;
    ledger_.set_limits(limits_now(), context_.env.now(), actions);
    note_size();
    carry_out(actions);
}

}  // namespace pgmend::pool
