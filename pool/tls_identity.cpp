// What a TLS connection knows of its two ends: the data SCRAM binds to, and the names in the peer's
// certificate.

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

#include "pool/tls_stream.hpp"

namespace pgmend::pool {

namespace {

using certificate = std::unique_ptr<X509, decltype(&X509_free)>;

constexpr std::size_t most_names = 64;

std::string text_of(const ASN1_STRING* value) {
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, value);
    if (size < 0) {
        ERR_clear_error();
        return {};
    }
    std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
    OPENSSL_free(utf8);
    return text.find('\0') == std::string::npos ? text : std::string();
}

std::string common_name_of(const X509_NAME* subject) {
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return {};
    return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

std::string distinguished_name_of(const X509_NAME* subject) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> memory(BIO_new(BIO_s_mem()), &BIO_free_all);
    if (!memory || X509_NAME_print_ex(memory.get(), subject, 0, XN_FLAG_RFC2253) < 0) return {};
    char* data = nullptr;
    const long size = BIO_get_mem_data(memory.get(), &data);
    return size <= 0 ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

std::vector<std::string> alternative_names_of(const X509* cert) {
    std::vector<std::string> names;
    const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> all(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(cert, NID_subject_alt_name, nullptr, nullptr)),
        &GENERAL_NAMES_free
    );
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()) && names.size() < most_names; ++i) {
        int type = 0;
        const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type);
        if (type != GEN_DNS && type != GEN_EMAIL && type != GEN_URI) continue;
        if (auto text = text_of(static_cast<const ASN1_STRING*>(value)); !text.empty()) {
            names.push_back(std::move(text));
        }
    }
    return names;
}

}  // namespace

std::string tls_stream::end_point() const {
    if (!established_ || failed_) return {};
    certificate peer(nullptr, &X509_free);
    const X509* cert = nullptr;
    if (context_->server_role()) {
        cert = SSL_get_certificate(ssl_);
    } else {
        peer.reset(SSL_get1_peer_certificate(ssl_));
        cert = peer.get();
    }
    if (cert == nullptr) return {};
    int digest = NID_undef;
    if (OBJ_find_sigid_algs(X509_get_signature_nid(cert), &digest, nullptr) != 1) return {};
    // Too weak by themselves, these two stand for SHA-256.
    if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
    const EVP_MD* const method = EVP_get_digestbynid(digest);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    // A signature without a hash of its own (Ed25519) defines no such data: PostgreSQL cannot bind to it
    // either.
    if (method == nullptr || X509_digest(cert, method, hash, &size) != 1) {
        ERR_clear_error();
        return {};
    }
    return {reinterpret_cast<const char*>(hash), size};
}

bool tls_stream::protocol_agreed() const noexcept {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if (ssl_ != nullptr) SSL_get0_alpn_selected(ssl_, &name, &size);
    return name != nullptr && std::string_view(reinterpret_cast<const char*>(name), size) == tls_protocol;
}

std::optional<tls_identity> tls_stream::peer() const {
    if (!established_ || failed_) return std::nullopt;
    const certificate cert(SSL_get1_peer_certificate(ssl_), &X509_free);
    if (!cert || SSL_get_verify_result(ssl_) != X509_V_OK) return std::nullopt;
    tls_identity identity;
    const X509_NAME* const subject = X509_get_subject_name(cert.get());
    identity.common_name = common_name_of(subject);
    identity.distinguished_name = distinguished_name_of(subject);
    identity.alternative_names = alternative_names_of(cert.get());
    return identity;
}

}  // namespace pgmend::pool
