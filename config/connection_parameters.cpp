#include "config/connection_parameters.hpp"

#include <algorithm>
#include <array>

namespace pgmend::config {

namespace {

/// The parameters that libpq gets to see; it knows them all since long before version 15.
constexpr std::array<std::string_view, 23> understood = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslcrl",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "channel_binding",
    "passfile",
    "service",
    "options",
    "connect_timeout",
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "target_session_attrs"};

/// A parameter under another name (of JDBC, Prisma, Rails, node-postgres), or one that libpq 15 is not shown.
struct alias {
    std::string_view name;
    std::string_view meaning;
};
constexpr std::array aliases = {
    alias{"ApplicationName", "application_name"}, alias{"ssl", "sslmode"},
    alias{"encoding", "client_encoding"}, alias{"schema", "search_path"},
    alias{"currentSchema", "search_path"}, alias{"search_path", "search_path"},
    alias{"targetServerType", "target_session_attrs"}, alias{"sslNegotiation", "sslnegotiation"},
    alias{"channelBinding", "channel_binding"}, alias{"requireAuth", "require_auth"},
    // libpq knows these two from version 17 and 16 on.
    alias{"sslnegotiation", "sslnegotiation"}, alias{"require_auth", "require_auth"}};

/// A known parameter without effect. `silent`: values that ask for nothing, comma-separated.
struct inert {
    std::string_view name;
    std::string_view silent;
    std::string_view why;
};
constexpr std::string_view system_decides = "the operating system's values are used";
constexpr std::string_view pool_decides = "pgmend pools connections, see pool.*";
constexpr std::string_view tls_decides = "see upstream.tls";
constexpr std::array inert_parameters = {
    inert{"load_balance_hosts", "disable", "servers are tried in the order given"},
    inert{"min_protocol_version", "3.0,latest", "servers are spoken to in protocol 3.0"},
    inert{"max_protocol_version", "3.0,3.2,latest", "servers are spoken to in protocol 3.0"},
    inert{"sslcompression", "0", tls_decides},
    inert{"sslcrldir", "", tls_decides},
    inert{"sslpassword", "", "keys with a passphrase are not supported"},
    inert{"sslcertmode", "allow", tls_decides},
    inert{"sslaccept", "", tls_decides},
    inert{"gssencmode", "disable,prefer", "GSSAPI is not supported"},
    inert{"krbsrvname", "", "GSSAPI is not supported"},
    inert{"gsslib", "", "GSSAPI is not supported"},
    inert{"gssdelegation", "0", "GSSAPI is not supported"},
    inert{"requirepeer", "", "it is not enforced"},
    inert{"replication", "false,off,no,0", "each client asks for replication itself"},
    inert{"keepalives", "1", system_decides},
    inert{"keepalives_idle", "", system_decides},
    inert{"keepalives_interval", "", system_decides},
    inert{"keepalives_count", "", system_decides},
    inert{"tcp_user_timeout", "0", system_decides},
    inert{"pgbouncer", "true,false", pool_decides},
    inert{"connection_limit", "", pool_decides},
    inert{"pool_timeout", "", pool_decides},
    inert{"pool", "", pool_decides},
    inert{"checkout_timeout", "", pool_decides},
    inert{"prepared_statements", "true,false", "clients may prepare statements or not"},
    inert{"prepareThreshold", "0,1,2,3,4,5", "clients may prepare statements or not"},
    inert{"preferQueryMode", "", "clients may use any kind of query"}};

/// Names come from outside, and a piece of a broken string can pass for one: only words are shown.
std::string printable(std::string_view name) {
    const bool word = !name.empty() && name.size() <= 40 && std::ranges::all_of(name, [](char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
               each == '_' || each == '-' || each == '.';
    });
    return word ? "'" + std::string(name) + "'" : "with an unreadable name";
}

bool listed(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        const std::string_view each = list.substr(0, list.find(','));
        if (each == word) return true;
        list.remove_prefix(std::min(list.size(), each.size() + 1));
    }
    return false;
}

}  // namespace

parameter_verdict judge_parameter(std::string_view name, std::string_view value) {
    if (std::ranges::find(understood, name) != understood.end()) return {parameter_use::libpq, {}};
    const auto* other = std::ranges::find(aliases, name, &alias::name);
    if (other != aliases.end()) return {parameter_use::alias, std::string(other->meaning)};
    const auto* known = std::ranges::find(inert_parameters, name, &inert::name);
    const std::string subject = "parameter " + printable(name);
    if (known == inert_parameters.end())
        return {parameter_use::unknown, subject + " is not known and has no effect"};
    if (listed(known->silent, value)) return {parameter_use::silent, {}};
    return {parameter_use::inert, subject + " has no effect: " + std::string(known->why)};
}

}  // namespace pgmend::config
