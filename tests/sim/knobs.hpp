#pragma once
// Settings of the subject as a schedule draws them: from the registry, which knows their ranges, so that a
// new setting of the data path is drawn without being named here. Left out, or narrowed, is what would
// rightly be noticed by clients. Pure.

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/prng.hpp"

namespace pgmend::sim {

/// A setting as it is written in the configuration, and the moment from which it counts.
struct setting_change {
    std::uint32_t at_us = 0;  ///< 0: since the start; else it comes with a reload
    std::string key;
    std::string value;
};

/// Values for some settings from the start on.
std::vector<setting_change> draw_settings(prng& dice);
/// Values for some of those that a reload may change.
std::vector<setting_change> draw_reload(prng& dice, std::uint32_t at_us);

}  // namespace pgmend::sim
