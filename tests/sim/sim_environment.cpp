#include "tests/sim/sim_environment.hpp"

#include <algorithm>
#include <cstring>

namespace pgmend::sim {

// The clock starts well after its epoch, so that "an hour ago" is a time too.
sim_environment::sim_environment(std::uint64_t seed) noexcept
    : now_(time_point{} + std::chrono::hours(24)), subject_dice_(seed ^ 0x5afe5eed), world_dice_(seed) {}

void sim_environment::note_text(std::string_view text) noexcept {
    while (text.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word;
        std::memcpy(&word, text.data(), sizeof word);
        note(word);
        text.remove_prefix(sizeof word);
    }
    std::uint64_t rest = text.size() << 56;
    std::memcpy(&rest, text.data(), text.size());
    note(rest);
}

bool sim_environment::jump_to_next_event(time_point deadline) {
    if (world_.empty() && timers_.empty()) return false;
    time_point next = deadline;
    if (!world_.empty()) next = std::min(next, world_.next());
    if (!timers_.empty()) next = std::min(next, timers_.next());
    if (next > now_) {
        now_ = next;
        note(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    }
    return true;
}

run_end sim_environment::run(const std::function<bool()>& done, time_point deadline) {
    idle_turns_ = 0;
    for (;;) {
        world_.fire_due(now_);
        if (source_ != nullptr) source_->dispatch();
        deferred_.run_all();
        timers_.fire_due(now_);
        deferred_.run_all();
        ++turns_;
        if (done()) return run_end::done;
        if (now_ >= deadline) return run_end::deadline;
        if (++idle_turns_ > idle_turns_max) return run_end::spinning;
        if (source_ != nullptr && source_->any_ready()) {
            now_ += turn_cost;
        } else if (!jump_to_next_event(deadline)) {
            return run_end::quiet;
        }
    }
}

}  // namespace pgmend::sim
