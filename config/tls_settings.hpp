#pragma once
// The settings of TLS, toward clients and toward servers. A part of settings.hpp, which says what a
// declaration is.

#include <cstdint>
#include <string>

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct client_tls_settings : section {
    using section::section;
    setting<client_tls_mode> mode{
        this, "listen.tls.mode", client_tls_mode::disable, reload_class::new_sessions,
        "TLS toward clients: refuse it, accept it where asked for (allow, prefer), insist on it (require), "
        "and "
        "on a certificate of the client's (verify-ca) in the name of its user (verify-full, see "
        "`auth.cert_name`). Becomes `prefer` by itself when `cert` and `key` are given. Unix sockets never "
        "carry TLS. Files are read again when they change."};
    setting<std::string> cert{
        this, "listen.tls.cert", "", reload_class::new_sessions,
        "Certificate chain shown to clients, a PEM file."};
    setting<std::string> key{
        this, "listen.tls.key", "", reload_class::new_sessions,
        "Private key of `listen.tls.cert`, a PEM file."};
    setting<certificate_list> certificates{
        this, "listen.tls.certificates", certificate_list{}, reload_class::new_sessions,
        "Further certificates, each with its private key. A client that names a host in its TLS greeting "
        "(SNI) is shown the first of them in that name, unless `listen.tls.cert` is; any other client is "
        "shown `listen.tls.cert`."};
    setting<std::string> ca{
        this, "listen.tls.ca", "", reload_class::new_sessions,
        "Authorities that client certificates are checked against, a PEM file. Empty: none is asked for."};
    setting<std::string> crl{
        this, "listen.tls.crl", "", reload_class::new_sessions,
        "Revoked client certificates, a PEM file with a list for every authority of `listen.tls.ca`."};
    setting<tls_bound> min_version{
        this, "listen.tls.min_version", tls_bound::tls_1_2, reload_class::new_sessions,
        "The oldest TLS spoken with clients; nothing before TLSv1.2 ever is."};
    setting<tls_bound> max_version{
        this, "listen.tls.max_version", tls_bound::any, reload_class::new_sessions,
        "The newest TLS spoken with clients."};
};

struct server_tls_settings : section {
    using section::section;
    setting<server_tls_mode> mode{
        this, "upstream.tls.mode", server_tls_mode::prefer, reload_class::new_sessions,
        "TLS toward servers, with the meaning of libpq's sslmode."};
    setting<std::string> ca{
        this, "upstream.tls.ca", "", reload_class::new_sessions,
        "Authorities that server certificates are checked against: a PEM file, or `system` for those of the "
        "operating system."};
    setting<std::string> cert{
        this, "upstream.tls.cert", "", reload_class::new_sessions,
        "Certificate shown to servers, a PEM file."};
    setting<std::string> key{
        this, "upstream.tls.key", "", reload_class::new_sessions,
        "Private key of `upstream.tls.cert`, a PEM file."};
    setting<std::string> crl{
        this, "upstream.tls.crl", "", reload_class::new_sessions,
        "Revoked server certificates, a PEM file with a list for every authority of `upstream.tls.ca`; "
        "libpq's "
        "sslcrl."};
    setting<tls_negotiation> negotiation{
        this, "upstream.tls.negotiation", tls_negotiation::postgres, reload_class::new_sessions,
        "libpq's sslnegotiation. `direct` begins TLS with the first byte, for servers from PostgreSQL 17 on, "
        "and "
        "needs mode `require` or stricter."};
    setting<yes_no> sni{
        this, "upstream.tls.sni", yes_no::yes, reload_class::new_sessions,
        "Whether the server is told which host name is meant; libpq's sslsni."};
    setting<tls_bound> min_version{
        this, "upstream.tls.min_version", tls_bound::tls_1_2, reload_class::new_sessions,
        "The oldest TLS spoken with servers; nothing before TLSv1.2 ever is. libpq's "
        "ssl_min_protocol_version."};
    setting<tls_bound> max_version{
        this, "upstream.tls.max_version", tls_bound::any, reload_class::new_sessions,
        "The newest TLS spoken with servers; libpq's ssl_max_protocol_version."};
};

}  // namespace pgmend::config
