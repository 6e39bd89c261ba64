#include "proxy/session/standby_reader.hpp"

#include "config/log.hpp"

namespace pgmend::proxy {

pool::server_connection* standby_reader::stand_in_line(pool::event_mask when_granted) {
    bit_ = when_granted;
    return pool.acquire(*this);
}

void standby_reader::look_again(pool::event_mask bit, config::duration after) {
    timer_ = std::make_unique<pool::gate_timer>(env_, gate_, bit);
    timer_->after(after);
}

void standby_reader::stop_waiting() noexcept {
    timer_.reset();
    pool.withdraw(*this);
    if (pool::server_connection* server = take_offer()) pool.release(*server, false);
}

standby_reader& standby_readers::add(
    std::uint32_t client, pool::server_pool& standbys, pool::event_gate& gate, config::read_mode mode
) {
    auto& reader = readers_[client];
    reader = std::make_unique<standby_reader>(standbys, env_, gate);
    reader->mode = mode;
    return *reader;
}

void standby_readers::went(read_route route) {
    metrics_.reads.add(route);
    if (route != read_route::no_primary || without_primary_++ != 0) return;
    began_ = env_.now();
    log::warning("reads_without_primary", {{"hint", "standbys are read from"}});
    tell("begun", "there is no primary");
}

void standby_readers::primary_is(bool there) {
    if (!there || without_primary_ == 0) return;
    log::info("reads_with_primary", {{"reads", without_primary_}});
    tell("ended", "there is a primary again");
    without_primary_ = 0;
}

/// Of an end, how many there were.
void standby_readers::tell(std::string_view outcome, std::string_view cause) {
    healing_event act;
    act.at = env_.now();
    act.kind = healing_kind::reads;
    act.outcome = outcome;
    act.cause = cause;
    act.count = without_primary_;
    act.took = std::chrono::duration_cast<std::chrono::milliseconds>(act.at - began_);
    ledger_.add(std::move(act));
}

}  // namespace pgmend::proxy
