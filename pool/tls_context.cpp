#include "pool/tls_context.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

namespace pgmend::pool {

namespace {

using native_context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

constexpr std::array<std::pair<std::string_view, tls_mode>, 6> mode_names{{
    {"disable", tls_mode::disable},
    {"allow", tls_mode::allow},
    {"prefer", tls_mode::prefer},
    {"require", tls_mode::require},
    {"verify-ca", tls_mode::verify_ca},
    {"verify-full", tls_mode::verify_full},
}};

bool verifies(tls_mode mode) noexcept { return mode == tls_mode::verify_ca || mode == tls_mode::verify_full; }

/// Takes OpenSSL's reasons off this thread's queue; the first one is nearest to the cause.
std::string openssl_reason() {
    const unsigned long code = ERR_get_error();
    std::string text = "unknown error";
    if (ERR_SYSTEM_ERROR(code)) {
        text = std::generic_category().message(ERR_GET_REASON(code));
    } else if (const char* reason = ERR_reason_error_string(code); reason != nullptr) {
        text = reason;
    }
    ERR_clear_error();
    return text;
}

[[noreturn]] void fail(std::string_view what, const std::string& file) {
    throw tls_load_error("could not load " + std::string(what) + " \"" + file + "\": " + openssl_reason());
}

int native_version(tls_version version) noexcept {
    switch (version) {
        case tls_version::any:
            return 0;
        case tls_version::tls_1_2:
            return TLS1_2_VERSION;
        case tls_version::tls_1_3:
            return TLS1_3_VERSION;
    }
    return 0;
}

/// The wire form of our one protocol: its length and its name.
constexpr std::array<unsigned char, 11> alpn_wire{10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered, unsigned count, void*) {
    unsigned char* found = nullptr;
    const int outcome =
        SSL_select_next_proto(&found, size, alpn_wire.data(), alpn_wire.size(), offered, count);
    *chosen = found;
    return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// What both roles have in common.
native_context base(const SSL_METHOD* method, const tls_rules& rules) {
    ERR_clear_error();
    native_context native(SSL_CTX_new(method), &SSL_CTX_free);
    if (!native) throw tls_load_error("could not set up TLS: " + openssl_reason());
    SSL_CTX_set_min_proto_version(native.get(), std::max(TLS1_2_VERSION, native_version(rules.lowest)));
    SSL_CTX_set_max_proto_version(native.get(), native_version(rules.highest));
    SSL_CTX_set_options(native.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // Idle connections give their buffers back; what the stream below has is read in one call, not header by
    // header.
    SSL_CTX_set_mode(native.get(), SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(native.get(), 1);
    return native;
}

void load_certificate(SSL_CTX* native, const tls_files& files) {
    if (SSL_CTX_use_certificate_chain_file(native, files.cert.c_str()) != 1) fail("certificate", files.cert);
    // A key behind a passphrase would make OpenSSL ask at the terminal.
    SSL_CTX_set_default_passwd_cb(native, [](char*, int, int, void*) { return 0; });
    if (SSL_CTX_use_PrivateKey_file(native, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
        fail("private key", files.key);
    }
    if (SSL_CTX_check_private_key(native) != 1) fail("private key", files.key);
}

void load_authorities(SSL_CTX* native, const tls_files& files) {
    if (files.ca == "system") {
        if (SSL_CTX_set_default_verify_paths(native) != 1) fail("root certificates", files.ca);
    } else if (SSL_CTX_load_verify_locations(native, files.ca.c_str(), nullptr) != 1) {
        fail("root certificate", files.ca);
    }
    if (files.crl.empty()) return;
    X509_STORE* const store = SSL_CTX_get_cert_store(native);
    if (X509_STORE_load_file(store, files.crl.c_str()) != 1) fail("revocation list", files.crl);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

bool is_address(const std::string& host) noexcept {
    unsigned char bytes[sizeof(in6_addr)];
    return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

/// SSL_set_tlsext_host_name without the old cast in its macro.
bool set_server_name(SSL* ssl, const std::string& host) noexcept {
    return SSL_ctrl(
               ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str())
           ) == 1;
}

/// All that our side as a server needs, for one certificate.
native_context server_native(const tls_files& files, tls_mode mode, const tls_rules& rules) {
    native_context native = base(TLS_server_method(), rules);
    SSL_CTX_set_alpn_select_cb(native.get(), &choose_protocol, nullptr);
    load_certificate(native.get(), files);
    SSL_CTX_set_options(native.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_dh_auto(native.get(), 1);
    // Tickets alone: nothing of a session that may come back is kept here. libpq never comes back, so one is
    // plenty.
    SSL_CTX_set_session_cache_mode(native.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(native.get(), 1);
    constexpr unsigned char id[] = "pgmend";
    SSL_CTX_set_session_id_context(native.get(), id, sizeof id - 1);
    if (!files.ca.empty()) {
        load_authorities(native.get(), files);
        // Which authorities are meant is told to the client; the system's are too many to name.
        if (files.ca != "system") {
            STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.ca.c_str());
            if (names == nullptr) fail("root certificate", files.ca);
            SSL_CTX_set_client_CA_list(native.get(), names);
        }
        const int demand = verifies(mode) ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        SSL_CTX_set_verify(native.get(), SSL_VERIFY_PEER | demand, nullptr);
    } else if (verifies(mode)) {
        throw tls_load_error("a root certificate file must be given to verify clients");
    }
    return native;
}

/// Whether the certificate is in that name.
bool named(const SSL_CTX* native, const char* host) noexcept {
    X509* const certificate = SSL_CTX_get0_certificate(native);
    return X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, nullptr) == 1;
}

}  // namespace

std::optional<tls_mode> parse_tls_mode(std::string_view text) noexcept {
    for (const auto& [name, mode] : mode_names) {
        if (name == text) return mode;
    }
    return std::nullopt;
}

tls_files with_libpq_defaults(tls_files given, const std::string& home, tls_mode mode) {
    const std::string folder = home + "/.postgresql/";
    std::error_code ignored;
    const auto use_if_there = [&](std::string& path, const char* name) {
        if (path.empty() && std::filesystem::exists(folder + name, ignored)) path = folder + name;
    };
    // A key alone is of no use, and the default key may belong to another certificate.
    if (given.cert.empty()) {
        use_if_there(given.cert, "postgresql.crt");
        if (!given.cert.empty() && given.key.empty()) given.key = folder + "postgresql.key";
    }
    use_if_there(given.ca, "root.crt");
    if (given.ca.empty() && verifies(mode)) given.ca = folder + "root.crt";
    return given;
}

tls_context::tls_context(
    ssl_ctx_st* native, tls_mode mode, bool server_role, const tls_rules& rules,
    std::vector<ssl_ctx_st*> others
)
    : native_(native), others_(std::move(others)), mode_(mode), rules_(rules), server_role_(server_role) {
    if (others_.empty()) return;
    // OpenSSL's macros for these two are old casts.
    SSL_CTX_callback_ctrl(
        native_, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
        reinterpret_cast<void (*)()>(&tls_context::choose_certificate)
    );
    SSL_CTX_ctrl(native_, SSL_CTRL_SET_TLSEXT_SERVERNAME_ARG, 0, this);
}

/// OpenSSL's callback, once the client's greeting was read. A name that nobody has is no reason to refuse.
int tls_context::choose_certificate(ssl_st* ssl, int*, void* self) noexcept {
    const auto& context = *static_cast<const tls_context*>(self);
    const char* host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (host == nullptr || named(context.native_, host)) return SSL_TLSEXT_ERR_OK;
    const auto found =
        std::ranges::find_if(context.others_, [host](const SSL_CTX* other) { return named(other, host); });
    if (found != context.others_.end()) SSL_set_SSL_CTX(ssl, *found);
    return SSL_TLSEXT_ERR_OK;
}

std::shared_ptr<const tls_context> tls_context::towards_clients(
    const tls_files& files, tls_mode mode, const tls_rules& rules, const std::vector<tls_files>& others
) {
    native_context native = server_native(files, mode, rules);
    std::vector<native_context> more;
    for (const tls_files& other : others) {
        more.push_back(server_native({other.cert, other.key, files.ca, files.crl}, mode, rules));
    }
    std::vector<ssl_ctx_st*> owned;
    owned.reserve(more.size());
    for (native_context& each : more) {
        owned.push_back(each.release());
    }
    return std::make_shared<tls_context>(native.release(), mode, true, rules, std::move(owned));
}

std::shared_ptr<const tls_context> tls_context::towards_servers(
    const tls_files& files, tls_mode mode, const tls_rules& rules
) {
    native_context native = base(TLS_client_method(), rules);
    if (SSL_CTX_set_alpn_protos(native.get(), alpn_wire.data(), alpn_wire.size()) != 0) {
        throw tls_load_error("could not set up TLS: " + openssl_reason());
    }
    if (!files.cert.empty()) load_certificate(native.get(), files);
    if (!files.ca.empty()) {
        load_authorities(native.get(), files);
        SSL_CTX_set_verify(native.get(), SSL_VERIFY_PEER, nullptr);
    } else if (verifies(mode)) {
        throw tls_load_error("a root certificate file must be given to verify servers");
    }
    SSL_CTX_set_session_cache_mode(native.get(), SSL_SESS_CACHE_OFF);
    return std::make_shared<tls_context>(native.release(), mode, false, rules);
}

tls_context::~tls_context() {
    SSL_CTX_free(native_);
    for (ssl_ctx_st* other : others_) {
        SSL_CTX_free(other);
    }
}

ssl_st* tls_context::make(const std::string& host) const noexcept {
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(native_), &SSL_free);
    if (!ssl) return nullptr;
    if (server_role_) {
        SSL_set_accept_state(ssl.get());
        return ssl.release();
    }
    SSL_set_connect_state(ssl.get());
    const bool address = is_address(host);
    // Addresses are no server names: RFC 6066.
    const bool tell = rules_.server_name && !host.empty() && !address;
    if (tell && !set_server_name(ssl.get(), host)) return nullptr;
    if (mode_ != tls_mode::verify_full) return ssl.release();
    X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl.get());
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int named = address ? X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str())
                              : X509_VERIFY_PARAM_set1_host(rules, host.c_str(), host.size());
    // An empty name would be no check at all.
    if (named != 1 || host.empty()) return nullptr;
    return ssl.release();
}

}  // namespace pgmend::pool
