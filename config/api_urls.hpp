#pragma once
// URLs of HTTP interfaces that pgmend asks, such as Patroni's.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/units.hpp"

namespace pgmend::config {

struct api_url {
    bool tls = false;
    std::string host;  ///< a name or an address, without brackets
    std::uint16_t port = 0;
    std::string path;  ///< what every request's path begins with: empty, or '/...' without a '/' at its end

    auto operator<=>(const api_url&) const = default;
};
using api_url_list = std::vector<api_url>;

/// `http://host:port/path` or https; the port is Patroni's 8008 where it is left out. No user, no query.
parsed<api_url> parse_api_url(std::string_view text);
std::string print_api_url(const api_url& url);

/// Reads a sequence of URLs, or one scalar with commas between them.
bool read_api_urls(const document_node& node, std::string_view key, api_url_list& into, problems& found);
std::string print_api_urls(const api_url_list& urls);

}  // namespace pgmend::config
