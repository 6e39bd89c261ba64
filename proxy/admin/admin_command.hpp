#pragma once
// What is typed on the console, in the words of PgBouncer's and of our own. Pure.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::proxy {

enum class admin_verb : std::uint8_t {
    show,
    set,
    pause,
    resume,
    reconnect,
    disable,
    enable,
    kill,
    kill_client,
    wait_close,
    reload,
    shutdown,
    reset_statements,  ///< RESET STATEMENTS
    ban,
    unban,
    // What drivers say unasked. It is answered by the console itself.
    select_number,   ///< SELECT 1
    select_version,  ///< SELECT version()
    begin,
    commit,
    rollback,
};

/// What SHOW can show; PgBouncer's, then ours.
enum class show_topic : std::uint8_t {
    help,
    version,
    config,
    databases,
    pools,
    peer_pools,
    clients,
    servers,
    sockets,
    active_sockets,
    users,
    stats,
    stats_totals,
    stats_averages,
    totals,
    lists,
    mem,
    state,
    dns_hosts,
    dns_zones,
    peers,
    topology,
    pins,
    limits,
    memory,
    breakers,
    healings,
    statements,
    coverage,
    protection,
    health,
    parameter,  ///< one that drivers ask for: client_encoding and its like
};

struct show_word {
    std::string_view word;
    show_topic topic;
};
/// All of them but `parameter`.
std::span<const show_word> show_words() noexcept;

enum class shutdown_wait : std::uint8_t { none, for_servers, for_clients };

struct admin_command {
    admin_verb verb = admin_verb::show;
    show_topic topic = show_topic::help;
    shutdown_wait wait = shutdown_wait::none;
    std::string argument;  ///< a database, a client, a key, a server; empty: all of them
    std::string value;     ///< of SET; of BAN: the seconds that it lasts, empty: until UNBAN
    bool forced = false;   ///< BAN: also where no other server is left

    bool operator==(const admin_command&) const = default;
};

/// What is wrong, as an ErrorResponse says it.
struct admin_error {
    std::string_view sqlstate;
    std::string message;
    std::string hint;

    bool operator==(const admin_error&) const = default;
};

struct admin_parse {
    std::vector<admin_command> commands;  ///< none for an empty query
    std::optional<admin_error> error;
};

/// Takes a text of commands with ';' between them. With an error none of them counts.
admin_parse parse_admin(std::string_view text);

/// Whether a command changes something, so that a stats user may not give it.
bool changes_something(const admin_command& command) noexcept;
/// The tag of its CommandComplete, without a number of rows.
std::string_view tag_of(const admin_command& command) noexcept;

/// The session parameters that drivers ask for and set unasked; null for any other.
std::optional<std::string_view> console_parameter(std::string_view name) noexcept;

}  // namespace pgmend::proxy
