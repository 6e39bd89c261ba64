#pragma once
// Certificates and rules of TLS, loaded once and shared by all connections of one role. Immutable: a reload
// makes a new context and swaps the pointer; connections keep the one they began with. Any thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

struct ssl_ctx_st;
struct ssl_st;

namespace pgmend::pool {

/// libpq's sslmode, and the same words for what we ask of clients.
enum class tls_mode : std::uint8_t {
    disable,      ///< never TLS
    allow,        ///< to servers: clear first, TLS when the server insists; from clients: either
    prefer,       ///< to servers: TLS first, clear when the server has none; from clients: either
    require,      ///< TLS or nothing
    verify_ca,    ///< and a certificate of our authority
    verify_full,  ///< and one in the name of the host (server), or in any name of our authority (client)
};
std::optional<tls_mode> parse_tls_mode(std::string_view text) noexcept;

/// Paths of PEM files; an empty one is not given. As `ca`, `system` means the authorities of the operating
/// system.
struct tls_files {
    std::string cert;
    std::string key;
    std::string ca;
    std::string crl = {};  ///< revoked certificates, checked along the whole chain
};

enum class tls_version : std::uint8_t { any, tls_1_2, tls_1_3 };

/// What is agreed on beside the certificates. TLS below 1.2 is never spoken.
struct tls_rules {
    tls_version lowest = tls_version::any;
    tls_version highest = tls_version::any;
    bool server_name = true;  ///< tell the server which host is meant (SNI)
    bool direct = false;      ///< to servers: TLS from the first byte, the protocol by ALPN
};

/// The protocol's name in ALPN. Source: PostgreSQL 17, src/interfaces/libpq.
inline constexpr std::string_view tls_protocol = "postgresql";

/// What of libpq's defaults exists under `home`: ~/.postgresql/{postgresql.crt,postgresql.key,root.crt},
/// filled in where `given` is empty. The root is named even where it does not exist when `mode` cannot do
/// without.
tls_files with_libpq_defaults(tls_files given, const std::string& home, tls_mode mode);

/// Thrown by the two loaders; the text names the file and what OpenSSL says of it.
class tls_load_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

class tls_context {
public:
    /// Our side is the server. `cert` and `key` must be given. `mode` verify_ca and verify_full demand a
    /// certificate signed by `ca`; in the other modes a client may show one, checked against `ca` when that
    /// is given. Clients may resume sessions by ticket; the keys of tickets live and die with the context. A
    /// client that offers protocols by ALPN but not ours is refused, as by PostgreSQL 17. Who names a host
    /// (SNI) is shown the first certificate in that name, of `files` and then of `others` (cert and key), and
    /// that of `files` where none is.
    static std::shared_ptr<const tls_context> towards_clients(
        const tls_files& files, tls_mode mode, const tls_rules& rules = {},
        const std::vector<tls_files>& others = {}
    );

    /// Our side is the client. As in libpq, a `ca` that is given is verified against in every mode, so that
    /// `require` with a root file is verify_ca; verify_ca and verify_full fail to load without one. `cert`
    /// and `key` are shown when the server asks. As libpq 17, ALPN says `postgresql` in every handshake.
    static std::shared_ptr<const tls_context> towards_servers(
        const tls_files& files, tls_mode mode, const tls_rules& rules = {}
    );

    /// Owns `native` and the others.
    tls_context(
        ssl_ctx_st* native, tls_mode mode, bool server_role, const tls_rules& rules,
        std::vector<ssl_ctx_st*> others = {}
    );
    tls_context(const tls_context&) = delete;
    tls_context& operator=(const tls_context&) = delete;
    ~tls_context();

    tls_mode mode() const noexcept { return mode_; }
    bool direct() const noexcept { return rules_.direct; }
    bool server_role() const noexcept { return server_role_; }
    /// A connection's state, owned by the caller. `host` is the server's name as configured, for SNI and
    /// verify_full; empty in the server role. Null when memory is short or `host` cannot be a name.
    ssl_st* make(const std::string& host) const noexcept;

private:
    static int choose_certificate(ssl_st* ssl, int* alert, void* self) noexcept;

    ssl_ctx_st* native_;
    std::vector<ssl_ctx_st*> others_;  ///< for other names
    tls_mode mode_;
    tls_rules rules_;
    bool server_role_;
};

}  // namespace pgmend::pool
