#include "proxy/process/http_exchange.hpp"

#include <boost/asio/ip/address_v4.hpp>
#include <string_view>

namespace pgmend::proxy {

namespace {

/// The name in a Host header, without its port.
std::string_view name_in(std::string_view host) noexcept {
    if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
    return host.substr(0, host.find(':'));
}

}  // namespace

bool of_another_site(const http_request& request) noexcept {
    // A GET that needs no permission has no Origin, and a stream that nobody can read takes a place all the
    // same. Another port of this machine is another site.
    const std::string_view site = request.fetch_site;
    const bool link = request.path == "/" && !request.post && request.fetch_dest == "document";
    if (!site.empty() && site != "same-origin" && site != "none" && !link) return true;
    std::string_view origin = request.origin;
    if (origin.empty()) return false;
    if (const auto at = origin.find("://"); at != origin.npos) origin.remove_prefix(at + 3);
    return origin != request.host;
}

bool asked_from_here(const http_request& request) noexcept {
    if (!request.from_here || of_another_site(request)) return false;
    const std::string_view name = name_in(request.host);
    if (name == "localhost" || name == "[::1]") return true;
    // An address and not a name that begins like one: names can be made to mean this machine.
    boost::system::error_code wrong;
    const auto address = boost::asio::ip::make_address_v4(name, wrong);
    return !wrong && address.is_loopback();
}

}  // namespace pgmend::proxy
