#include "tests/sim/simulation.hpp"

namespace pgmend::sim {

namespace {

/// Tries changes one after the other and keeps those after which the run still is what is wanted.
class shrinker {
public:
    shrinker(
        const fault_schedule& from, const subject_factory& make, const run_property& wanted,
        std::size_t attempts
    )
        : best_(from), make_(make), wanted_(wanted), attempts_(attempts) {}

    bool accept(const fault_schedule& candidate) {
        if (attempts_ == 0) return false;
        --attempts_;
        if (!wanted_(run_schedule(candidate, make_))) return false;
        best_ = candidate;
        return true;
    }

    /// Leaves out elements of one of the schedule's lists, from the back.
    template <class List>
    bool thin_out(List fault_schedule::*list) {
        bool any = false;
        for (std::size_t place = (best_.*list).size(); place-- > 0;) {
            fault_schedule candidate = best_;
            (candidate.*list).erase((candidate.*list).begin() + static_cast<std::ptrdiff_t>(place));
            any |= accept(candidate);
        }
        return any;
    }

    template <class Change>
    bool change(Change&& how) {
        fault_schedule candidate = best_;
        how(candidate);
        return to_text(candidate) != to_text(best_) && accept(candidate);
    }

    bool calm_network() {
        bool any = change([](fault_schedule& run) { run.jitter_us = 0; });
        any |= change([](fault_schedule& run) { run.fragment = 0; });
        any |= change([](fault_schedule& run) { run.shuffle = false; });
        return any | change([](fault_schedule& run) { run.buffer = 65536; });
    }

    bool calm_client(std::size_t place) {
        bool any = change([&](fault_schedule& run) { run.clients[place].exchanges /= 2; });
        any |= change([&](fault_schedule& run) { run.clients[place].write_piece = 0; });
        any |= change([&](fault_schedule& run) { run.clients[place].read_pause_us = 0; });
        any |= change([&](fault_schedule& run) { run.clients[place].minor = 0; });
        any |= change([&](fault_schedule& run) { run.clients[place].asks_option = false; });
        any |= change([&](fault_schedule& run) { run.clients[place].wrong_password = false; });
        any |= change([&](fault_schedule& run) { run.clients[place].vanish_after = 0; });
        return any | change([&](fault_schedule& run) { run.clients[place].start_us = 0; });
    }

    fault_schedule best() const { return best_; }
    bool may_continue() const { return attempts_ > 0; }
    std::size_t clients() const { return best_.clients.size(); }

private:
    fault_schedule best_;
    const subject_factory& make_;
    const run_property& wanted_;
    std::size_t attempts_;
};

}  // namespace

fault_schedule shrink(const fault_schedule& failing, const subject_factory& make, std::size_t attempts) {
    const auto report = run_schedule(failing, make);
    if (!report.broken) return failing;
    const run_property wanted = [which = report.broken->which](const run_report& run) {
        return run.broken && run.broken->which == which;
    };
    return shrink_while(failing, make, wanted, attempts);
}

fault_schedule shrink_while(
    const fault_schedule& from, const subject_factory& make, const run_property& wanted, std::size_t attempts
) {
    shrinker work(from, make, wanted, attempts);
    for (bool any = true; any && work.may_continue();) {
        any = work.thin_out(&fault_schedule::faults);
        any |= work.thin_out(&fault_schedule::clients);
        any |= work.thin_out(&fault_schedule::settings);
        any |= work.calm_network();
        for (std::size_t place = 0; place < work.clients(); ++place)
            any |= work.calm_client(place);
    }
    return work.best();
}

}  // namespace pgmend::sim
