#pragma once
// The structured values of the configuration: servers, users, and the URL that stands for several settings.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/units.hpp"

namespace pgmend::config {

/// One PostgreSQL server. `host` is a name, an address, or a socket directory (it then starts with '/', or
/// with '@' in the abstract namespace). It may be empty when `address` is given.
struct server_address {
    std::string host;
    std::string
        address;  ///< libpq's hostaddr: connect here, verify certificates against `host`; mostly empty
    std::uint16_t port = 5432;

    auto operator<=>(const server_address&) const = default;
    bool is_socket() const noexcept;
    /// The path of the socket file; only for `is_socket()`.
    std::string socket_path() const;
};
using server_list = std::vector<server_address>;

/// `host`, `host:port`, `[v6]:port`, `/directory:port`; the port is 5432 where it is left out.
parsed<server_address> parse_server(std::string_view text);
/// `host:port` as it would be written; addresses with colons are put in brackets.
std::string print_server(const server_address& server);

/// Somebody who may log in to pgmend.
struct user_entry {
    std::string name;
    std::string password;       ///< plain text, `md5` + 32 hex digits, or a SCRAM-SHA-256 verifier
    std::string password_file;  ///< of such secrets, one a line; instead of `password`
    auto operator<=>(const user_entry&) const = default;
};
using user_list = std::vector<user_entry>;

/// A connection URL or keyword string as it was given. A type of its own because it can hold a password:
/// it is printed by `redact_connection_url` alone.
struct connection_string {
    std::string text;
    auto operator<=>(const connection_string&) const = default;
};

/// Reads a sequence of servers, or one scalar with commas between them.
bool read_servers(const document_node& node, std::string_view key, server_list& into, problems& found);
std::string print_servers(const server_list& servers);

/// Reads a sequence of `{name, password}` or `{name, password_file}`.
bool read_users(const document_node& node, std::string_view key, user_list& into, problems& found);
/// Names only: every password is `***`.
std::string print_users(const user_list& users);

}  // namespace pgmend::config
