#pragma once
// Authorities and certificates made for one test run, in a folder that goes with the test.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace pgmend::test {

class temporary_folder {
public:
    temporary_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "pgmend-test-XXXXXX").string();
        path_ = mkdtemp(name.data());
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
};

/// A key with a certificate; signed by itself (an authority) or by `issuer`.
class certificate {
public:
    certificate(
        const std::string& common_name, const std::string& alternative_names, const certificate* issuer
    )
        : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), cert_(X509_new(), &X509_free) {
        X509* const cert = cert_.get();
        X509_set_version(cert, 2);
        static long serial = 1;
        ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key_.get());
        const auto* name = reinterpret_cast<const unsigned char*>(common_name.c_str());
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, name, -1, -1, 0);
        const certificate& signer = issuer != nullptr ? *issuer : *this;
        X509_set_issuer_name(cert, X509_get_subject_name(signer.cert_.get()));
        add(NID_basic_constraints, issuer != nullptr ? "CA:FALSE" : "critical,CA:TRUE");
        if (!alternative_names.empty()) add(NID_subject_alt_name, alternative_names);
        X509_sign(cert, signer.key_.get(), EVP_sha256());
    }

    void save(const std::string& cert_path, const std::string& key_path) const {
        std::FILE* file = std::fopen(cert_path.c_str(), "w");
        PEM_write_X509(file, cert_.get());
        std::fclose(file);
        file = std::fopen(key_path.c_str(), "w");
        PEM_write_PrivateKey(file, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
        std::fclose(file);
    }

private:
    void add(int nid, const std::string& value) {
        X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
        X509_add_ext(cert_.get(), extension, -1);
        X509_EXTENSION_free(extension);
    }
    std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
    std::unique_ptr<X509, decltype(&X509_free)> cert_;
};

}  // namespace pgmend::test
