#include "proxy/server_probes.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>

namespace pgmend::proxy {

namespace {

/// libpq 15 has no word for the operating system's authorities; this is where Debian keeps them.
constexpr const char* system_authorities = "/etc/ssl/certs/ca-certificates.crt";

std::vector<std::string> in_text(const std::vector<pool::socket_address>& addresses) {
    std::vector<std::string> texts;
    for (const auto& address : addresses) {
        const auto* generic = reinterpret_cast<const sockaddr*>(address.bytes.data());
        std::array<char, INET6_ADDRSTRLEN> text{};
        const void* bytes = nullptr;
        if (generic->sa_family == AF_INET) {
            bytes = &reinterpret_cast<const sockaddr_in*>(address.bytes.data())->sin_addr;
        } else if (generic->sa_family == AF_INET6) {
            bytes = &reinterpret_cast<const sockaddr_in6*>(address.bytes.data())->sin6_addr;
        }
        if (bytes == nullptr) continue;
        if (::inet_ntop(generic->sa_family, bytes, text.data(), text.size()) != nullptr) {
            texts.emplace_back(text.data());
        }
    }
    return texts;
}

std::string_view word_of(config::server_tls_mode mode) {
    for (const auto& one : words(mode)) {
        if (one.value == mode) return one.text;
    }
    return "prefer";
}

}  // namespace

std::unique_ptr<health::prober> make_prober(
    boost::asio::io_context& control, const config::settings& settings, const config::server_address& server,
    address_resolver& addresses
) {
    const auto& upstream = settings.upstream;
    health::probe_parameters given{
        {"port", std::to_string(server.port)},
        {"user", upstream.user()},
        {"dbname", upstream.database().empty() ? upstream.user() : upstream.database()},
        {"password", upstream.password()},
        {"application_name", "pgmend health"},
        {"target_session_attrs", "any"},
        {"gssencmode", "disable"},
        {"sslmode", std::string{word_of(upstream.tls.mode())}},
        {"sslcert", upstream.tls.cert()},
        {"sslkey", upstream.tls.key()},
        {"sslrootcert", upstream.tls.ca() == "system" ? system_authorities : upstream.tls.ca()},
    };
    if (!server.host.empty()) given.emplace_back("host", server.host);
    health::address_source source;
    if (!server.is_socket()) {
        const pool::endpoint where{server.address.empty() ? server.host : server.address, server.port};
        source = [&addresses, where] { return in_text(addresses.lookup(where)); };
    }
    return std::make_unique<health::libpq_prober>(control, std::move(given), std::move(source), [] {
        return std::chrono::steady_clock::now();
    });
}

}  // namespace pgmend::proxy
