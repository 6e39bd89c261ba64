#pragma once
// The first packet of a connection, which has a length but no type: StartupMessage, SSLRequest, GSSENCRequest
// and CancelRequest; and the same packets as we send them. Source: PostgreSQL protocol, "Start-up";
// ProcessStartupPacket in src/backend/postmaster. Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/auth_error.hpp"
#include "protocol/bytes.hpp"

namespace pgmend::protocol {

/// Bytes of the smallest and the largest packet, its length field included (MAX_STARTUP_PACKET_LENGTH counts
/// without).
inline constexpr std::size_t startup_packet_min = 8;
inline constexpr std::size_t startup_packet_max = 10000 + 4;
/// Bytes of the key in a CancelRequest: four under protocol 3.0, up to 256 from 3.2 on.
inline constexpr std::size_t cancel_key_min = 4;
inline constexpr std::size_t cancel_key_max = 256;
/// The newest minor of protocol 3 that we speak; what is newer is negotiated down to it.
inline constexpr std::uint16_t newest_minor_version = 2;

enum class startup_kind : std::uint8_t {
    need_more,       ///< read until `size` bytes are there (4 while the length itself is not known)
    ssl_request,     ///< answer S and start TLS, or N and read another first packet
    gssenc_request,  ///< answer N and read another first packet
    cancel_request,  ///< never answered: act and close
    startup,
    violation,  ///< send `error` as FATAL and close
};

enum class replication_mode : std::uint8_t { none, physical, logical };

struct startup_parameter {
    std::string_view name;
    std::string_view value;
    bool operator==(const startup_parameter&) const = default;
};

struct cancel_request {
    std::uint32_t pid = 0;
    byte_view key;
};

/// A StartupMessage. All views point into the bytes parsed.
struct startup_message {
    std::uint16_t minor = 0;    ///< as asked for; speak min(minor, newest_minor_version)
    std::string_view user;      ///< never empty
    std::string_view database;  ///< the user's name unless given
    replication_mode replication = replication_mode::none;
    std::vector<startup_parameter> parameters;       ///< all but protocol options, in the order given
    std::vector<std::string_view> protocol_options;  ///< names beginning with `_pq_.`; we know none of them

    std::uint16_t spoken_minor() const noexcept {
        return minor < newest_minor_version ? minor : newest_minor_version;
    }
    /// True when NegotiateProtocolVersion must be sent, naming newest_minor_version and all of
    /// protocol_options, before authentication begins.
    bool needs_negotiation() const noexcept {
        return minor > newest_minor_version || !protocol_options.empty();
    }
    /// Empty when it was not given; the last one counts.
    std::string_view find(std::string_view name) const noexcept;
};

struct startup_packet {
    startup_kind kind = startup_kind::need_more;
    std::size_t size = 4;  ///< bytes of the whole packet; of what is needed, with need_more
    cancel_request cancel;
    startup_message startup;
    auth_error error;
};

/// Reads the packet at the front of `bytes`. Stateless: with need_more, call again with the same bytes and
/// more behind them. An SSLRequest or GSSENCRequest with bytes behind it is a violation, because what came in
/// clear before the answer may be somebody else's (CVE-2021-23214).
startup_packet parse_startup(byte_view bytes, std::size_t max_parameters = 256);

/// Two clients with equal keys ask for the same session defaults, so that they can share servers started
/// alike. All parameters except user, database, application_name and replication; names case-folded and
/// sorted, the last of equal names counts. Empty when nothing is left.
std::string startup_partition_key(const startup_message& startup);

/// A StartupMessage towards a server, protocol 3.`minor`. Strings end at a zero byte within them.
void append_startup(
    std::vector<std::byte>& out, std::uint16_t minor, std::span<const startup_parameter> parameters
);
void append_ssl_request(std::vector<std::byte>& out);
void append_cancel_request(std::vector<std::byte>& out, std::uint32_t pid, byte_view key);

/// An application_name as PostgreSQL keeps it: at most 63 bytes, of printable ASCII alone. What is set anew
/// on another server must not fail where the startup packet was taken. Source: guc.c (GUC_IS_NAME),
/// pg_clean_ascii.
std::string kept_application_name(std::string_view given);

}  // namespace pgmend::protocol
