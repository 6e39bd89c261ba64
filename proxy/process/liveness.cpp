#include "proxy/process/liveness.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace pgmend::proxy {

bool liveness::alive(std::vector<std::uint64_t> turns, time_point now) {
    const bool moved = seen_.size() != turns.size() ||
                       std::equal(turns.begin(), turns.end(), seen_.begin(), std::greater<>{});
    if (moved) {
        seen_ = std::move(turns);
        since_ = now;
    }
    return now - since_ <= patience_;
}

}  // namespace pgmend::proxy
