#pragma once
// A smoothed latency: exponentially weighted, so that one slow answer does not count for much and a slow
// minute does. Pure; one thread.

#include "config/environment.hpp"

namespace pgmend::health {

class latency_average {
public:
    /// The first value is taken as it is; each further one moves the average by a fifth of the difference.
    void add(config::duration latest) noexcept {
        if (latest < config::duration::zero()) return;
        average_ = known_ ? average_ + (latest - average_) / 5 : latest;
        known_ = true;
    }
    bool known() const noexcept { return known_; }
    config::duration value() const noexcept { return average_; }

private:
    config::duration average_{};
    bool known_ = false;
};

}  // namespace pgmend::health
