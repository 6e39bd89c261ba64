#include "proxy/login/login_throttle.hpp"

#include "config/hba_rules.hpp"

namespace pgmend::proxy {

namespace {
constexpr auto window = std::chrono::minutes{1};
}

std::string throttle_key(std::string_view address) {
    const auto parsed = config::parse_address(address);
    if (!parsed || parsed->bits == 32) return std::string{address};
    return {reinterpret_cast<const char*>(parsed->bytes.data()), 8};
}

config::duration login_throttle::failed(
    std::string_view address, config::time_point now, const throttle_limits& limits
) {
    const std::string key = throttle_key(address);
    if (known_.size() >= most_addresses && !known_.contains(key)) make_room(now);
    record& found = known_[key];
    if (found.failures == 0 || now - found.since >= window) found = {now, 0};
    ++found.failures;
    return found.failures > limits.burst ? limits.delay : config::duration{};
}

void login_throttle::make_room(config::time_point now) {
    std::erase_if(known_, [now](const auto& item) { return now - item.second.since >= window; });
    if (known_.size() >= most_addresses) known_.clear();
}

}  // namespace pgmend::proxy
