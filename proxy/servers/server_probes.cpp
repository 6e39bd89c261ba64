#include "proxy/servers/server_probes.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>

#include "protocol/md5_auth.hpp"

namespace pgmend::proxy {

namespace {

/// libpq 15 has no word for the operating system's authorities, and takes a file alone: the one that OpenSSL
/// is told to take, or where Debian keeps them.
std::string system_authorities() {
    const char* named = std::getenv(X509_get_default_cert_file_env());
    return named != nullptr ? named : "/etc/ssl/certs/ca-certificates.crt";
}

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

template <class E>
std::string_view word_of(E value) {
    for (const auto& one : words(value)) {
        if (one.value == value) return one.text;
    }
    return "prefer";
}

std::string bound_of(config::tls_bound bound, const char* none) {
    return bound == config::tls_bound::any ? std::string{none} : std::string{word_of(bound)};
}

/// libpq 15 knows no require_auth: how it is kept to it.
enum class keeping : std::uint8_t {
    freely,    ///< it may answer whatever the server asks
    bound,     ///< with channel binding it answers SCRAM alone, and only to who holds the server's key
    withheld,  ///< it could be led to tell the password in a way that is not allowed
};

keeping keep_to(const config::upstream_settings& upstream, bool socket) {
    using config::auth_kind;
    const auto& methods = upstream.require_auth();
    const bool scram = methods.allows(auth_kind::scram_sha_256);
    if (scram && methods.allows(auth_kind::password) && methods.allows(auth_kind::md5))
        return keeping::freely;
    const bool clear = socket || upstream.tls.mode() == config::server_tls_mode::disable;
    return scram && !clear ? keeping::bound : keeping::withheld;
}

/// A password that libpq can use: it can do nothing with hashes and verifiers. The next one at each attempt;
/// where it must be bound to TLS and there may be none, an attempt without any, too.
health::probe_parameters password_of(
    const secret_book& secrets, const std::string& user, keeping how, std::size_t attempt
) {
    if (how == keeping::withheld) return {};
    std::vector<std::string> usable;
    if (const user_secrets* known = secrets.find(user)) {
        for (const std::string& each : known->offered) {
            const bool hashed = protocol::is_md5_hash(each) || each.starts_with("SCRAM-SHA-256$");
            if (!hashed) usable.push_back(each);
        }
    }
    if (usable.empty()) return {};
    if (how == keeping::freely) return {{"password", usable[attempt % usable.size()]}};
    const std::size_t turn = attempt % (usable.size() + 1);
    if (turn == usable.size()) return {};
    return {{"password", usable[turn]}, {"channel_binding", "require"}};
}

/// What a reload may change: how the connection is protected.
health::probe_parameters security_of(const config::settings& settings) {
    const auto& upstream = settings.upstream;
    return {
        {"sslmode", std::string{word_of(upstream.tls.mode())}},
        {"sslcert", upstream.tls.cert()},
        {"sslkey", upstream.tls.key()},
        {"sslcrl", upstream.tls.crl()},
        {"sslsni", upstream.tls.sni() == config::yes_no::yes ? "1" : "0"},
        {"ssl_min_protocol_version", bound_of(upstream.tls.min_version(), "TLSv1.2")},
        {"ssl_max_protocol_version", bound_of(upstream.tls.max_version(), "")},
        {"channel_binding", std::string{word_of(upstream.binding())}},
        {"sslrootcert", upstream.tls.ca() == "system" ? system_authorities() : upstream.tls.ca()},
    };
}

std::string user_of(const config::settings& settings) {
    return settings.health.user().empty() ? settings.upstream.user() : settings.health.user();
}

health::probe_parameters parameters_of(
    const config::settings& settings, const config::server_address& server, const char* application
) {
    const auto& upstream = settings.upstream;
    health::probe_parameters given{
        {"port", std::to_string(server.port)},
        {"user", user_of(settings)},
        {"dbname", upstream.database().empty() ? upstream.user() : upstream.database()},
        {"application_name", application},
        {"target_session_attrs", "any"},
        {"gssencmode", "disable"},
    };
    if (!server.host.empty()) given.emplace_back("host", server.host);
    return given;
}

health::address_source addresses_of(const config::server_address& server, address_resolver& addresses) {
    if (server.is_socket()) return {};
    return [&addresses, where = endpoint_of(server)] { return in_text(addresses.lookup(where)); };
}

health::secret_source secrets_of(
    const config::settings& settings, const config::server_address& server, const live_files& files
) {
    return [&files, user = user_of(settings), socket = server.is_socket()](std::size_t attempt) {
        health::probe_parameters now = security_of(files.settings());
        const keeping how = keep_to(files.settings().upstream, socket);
        for (auto& each : password_of(*files.facts().secrets, user, how, attempt))
            now.push_back(std::move(each));
        return now;
    };
}

}  // namespace

pool::endpoint endpoint_of(const config::server_address& server) {
    return {server.address.empty() ? server.host : server.address, server.port};
}

std::unique_ptr<health::prober> make_prober(
    boost::asio::io_context& control, const config::settings& settings, const config::server_address& server,
    address_resolver& addresses, const live_files& files
) {
    return std::make_unique<health::libpq_prober>(
        control, parameters_of(settings, server, "pgmend health"), addresses_of(server, addresses),
        [] { return std::chrono::steady_clock::now(); }, secrets_of(settings, server, files)
    );
}

std::unique_ptr<health::libpq_link> make_wal_link(
    boost::asio::io_context& control, const config::settings& settings, const config::server_address& server,
    address_resolver& addresses, const live_files& files
) {
    health::probe_parameters given = parameters_of(settings, server, "pgmend wal");
    given.emplace_back("replication", "true");
    return std::make_unique<health::libpq_link>(
        control, std::move(given), addresses_of(server, addresses), secrets_of(settings, server, files)
    );
}

}  // namespace pgmend::proxy
