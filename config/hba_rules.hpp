#pragma once
// Who may come in from where, and how: PostgreSQL's pg_hba.conf, as a file or as a list in the configuration.
// The first rule that fits decides. Source: PostgreSQL 15, hba.c and "The pg_hba.conf File". Rules that need
// what pgmend has not (role membership, names of hosts, LDAP, GSSAPI, ...) are refused, never skipped: to
// skip a rule is to let the next one decide. Pure but for the addresses of this host; control plane.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/modes.hpp"
#include "config/units.hpp"

namespace pgmend::config {

/// An IPv4 or IPv6 address.
struct ip_address {
    std::array<std::uint8_t, 16> bytes{};
    unsigned bits = 0;  ///< 32 or 128
    bool operator==(const ip_address&) const = default;
};
/// Numeric only.
std::optional<ip_address> parse_address(std::string_view text);

struct address_range {
    ip_address first;
    ip_address mask;
    bool contains(const ip_address& address) const noexcept;
    bool operator==(const address_range&) const = default;
};
/// An address, or a network as `10.0.0.0/8`.
std::optional<address_range> parse_address_range(std::string_view text);

enum class connection_kind : std::uint8_t {
    local,      ///< Unix socket
    any,        ///< host: TCP with TLS or without
    encrypted,  ///< hostssl
    clear,      ///< hostnossl
    none,       ///< hostgssenc: never
};

/// What besides the method a client's certificate has to show.
enum class certificate_demand : std::uint8_t { none, valid, named };

struct hba_rule {
    connection_kind kind = connection_kind::any;
    bool all_databases = false;
    bool same_user = false;    ///< a database called like the user
    bool replication = false;  ///< the keyword: physical replication
    std::vector<std::string> databases;
    bool all_users = false;
    std::vector<std::string> users;
    bool all_addresses = false;
    std::vector<address_range> addresses;
    auth_method method = auth_method::reject;
    certificate_demand certificate = certificate_demand::none;
    certificate_name name = certificate_name::cn;
    std::string map;  ///< of ident_map; empty: the name in the certificate is the user
};

/// What a client's first packet says, and how it came.
struct hba_question {
    std::optional<ip_address> address;  ///< none: Unix socket
    bool encrypted = false;
    bool physical_replication = false;
    std::string_view user;
    std::string_view database;
};

struct hba_rules {
    std::vector<hba_rule> rules;
    /// Null when no rule fits, which means no.
    const hba_rule* find(const hba_question& question) const noexcept;
};

/// Rules as they are written, from `auth.hba`: lines of pg_hba.conf.
struct hba_lines {
    std::vector<std::string> lines;
    auto operator<=>(const hba_lines&) const = default;
};

/// The whole text of a pg_hba.conf. The problem begins with its `line:column: `.
parsed<hba_rules> parse_hba(std::string_view text);

/// Reads a sequence of lines, or of mappings {type, database, user, address, method, map, ...}.
bool read_hba(const document_node& node, std::string_view key, hba_lines& into, problems& found);

}  // namespace pgmend::config
