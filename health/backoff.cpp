#include "health/backoff.hpp"

#include <algorithm>

namespace pgmend::health {

std::chrono::milliseconds backoff::next(std::uint64_t random) noexcept {
    const auto low = limits_.first.count();
    const auto high = std::clamp(previous_.count() * 3, low, std::max(low, limits_.longest.count()));
    const auto span = static_cast<std::uint64_t>(high - low) + 1;
    previous_ = std::chrono::milliseconds{low + static_cast<std::int64_t>(random % span)};
    return previous_;
}

}  // namespace pgmend::health
