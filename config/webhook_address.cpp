#include "config/webhook_address.hpp"

#include <algorithm>

namespace pgmend::config {

namespace {

constexpr std::string_view scheme = "http://";
constexpr std::size_t longest = 2000;

bool is_port(std::string_view text) {
    const bool digits =
        !text.empty() && text.size() <= 5 && text.find_first_not_of("0123456789") == text.npos;
    if (!digits) return false;
    const unsigned long port = std::stoul(std::string(text));
    return port >= 1 && port <= 65535;
}

}  // namespace

std::string webhook_address::authority() const {
    const std::string name = host.find(':') != host.npos ? "[" + host + "]" : host;
    return port == "80" ? name : name + ":" + port;
}

std::optional<webhook_address> parse_webhook(std::string_view text) {
    const auto plain = [](unsigned char each) { return each > 0x20 && each < 0x7f && each != '#'; };
    if (!text.starts_with(scheme) || text.size() > longest || !std::ranges::all_of(text, plain))
        return std::nullopt;
    text.remove_prefix(scheme.size());
    const std::size_t slash = std::min(text.find_first_of("/?"), text.size());
    std::string_view place = text.substr(0, slash);
    webhook_address made;
    if (slash < text.size()) {
        made.target = text.substr(slash);
        if (made.target.front() == '?') made.target.insert(0, "/");
    }
    if (place.find('@') != place.npos) return std::nullopt;  // a password would be shown with the setting
    std::size_t colon = place.rfind(':');
    if (place.starts_with('[')) {
        const std::size_t close = place.find(']');
        if (close == place.npos || (close + 1 < place.size() && place[close + 1] != ':')) return std::nullopt;
        made.host = place.substr(1, close - 1);
        colon = close + 1 < place.size() ? close + 1 : place.npos;
    } else {
        made.host = place.substr(0, colon);
        if (made.host.find(':') != made.host.npos) return std::nullopt;
    }
    if (made.host.empty()) return std::nullopt;
    if (colon != place.npos) {
        made.port = place.substr(colon + 1);
        if (!is_port(made.port)) return std::nullopt;
    }
    return made;
}

}  // namespace pgmend::config
