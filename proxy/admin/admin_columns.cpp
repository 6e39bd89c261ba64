// The columns of every SHOW, and rows as bytes. Order and types are PgBouncer 1.25's (and of its 1.26 the
// count of logins) where it has the same: some tools read by position.

#include <array>

#include "protocol/message_writer.hpp"
#include "proxy/admin/admin_table.hpp"

namespace pgmend::proxy {

namespace {

using column = table_column;
constexpr auto int4 = cell_type::int4;
constexpr auto int8 = cell_type::int8;
constexpr auto numeric = cell_type::numeric;

constexpr std::array version_columns{column{"version"}};
constexpr std::array config_columns{column{"key"}, column{"value"}, column{"default"}, column{"changeable"}};
constexpr std::array database_columns{
    column{"name"},
    column{"host"},
    column{"port", int4},
    column{"database"},
    column{"force_user"},
    column{"pool_size", int4},
    column{"min_pool_size", int4},
    column{"reserve_pool_size", int4},
    column{"server_lifetime", int4},
    column{"pool_mode"},
    column{"load_balance_hosts"},
    column{"max_connections", int4},
    column{"current_connections", int4},
    column{"max_client_connections", int4},
    column{"current_client_connections", int4},
    column{"paused", int4},
    column{"disabled", int4}};
constexpr std::array pool_columns{
    column{"database"},
    column{"user"},
    column{"cl_active", int4},
    column{"cl_waiting", int4},
    column{"cl_active_cancel_req", int4},
    column{"cl_waiting_cancel_req", int4},
    column{"sv_active", int4},
    column{"sv_active_cancel", int4},
    column{"sv_being_canceled", int4},
    column{"sv_idle", int4},
    column{"sv_used", int4},
    column{"sv_tested", int4},
    column{"sv_login", int4},
    column{"maxwait", int4},
    column{"maxwait_us", int4},
    column{"pool_mode"},
    column{"load_balance_hosts"},
    column{"pool_size", int4}};
constexpr std::array peer_pool_columns{
    column{"peer_id", int4}, column{"cl_active_cancel_req", int4}, column{"cl_waiting_cancel_req", int4},
    column{"sv_active_cancel", int4}, column{"sv_login", int4}};
/// Of SHOW SOCKETS; SHOW CLIENTS and SERVERS have all but the last seven.
constexpr std::array socket_columns{
    column{"type"},
    column{"user"},
    column{"database"},
    column{"replication"},
    column{"state"},
    column{"addr"},
    column{"port", int4},
    column{"local_addr"},
    column{"local_port", int4},
    column{"connect_time"},
    column{"request_time"},
    column{"wait", int4},
    column{"wait_us", int4},
    column{"close_needed", int4},
    column{"ptr"},
    column{"link"},
    column{"remote_pid", int4},
    column{"tls"},
    column{"application_name"},
    column{"prepared_statements", int4},
    column{"id", int4},
    column{"recv_pos", int4},
    column{"pkt_pos", int4},
    column{"pkt_remain", int4},
    column{"send_pos", int4},
    column{"send_remain", int4},
    column{"pkt_avail", int4},
    column{"send_avail", int4}};
constexpr std::size_t only_of_sockets = 7;
constexpr std::array user_columns{
    column{"name"},
    column{"pool_size"},
    column{"reserve_pool_size"},
    column{"pool_mode"},
    column{"max_user_connections", int4},
    column{"current_connections", int4},
    column{"max_user_client_connections", int4},
    column{"current_client_connections", int4}};
constexpr std::array stats_columns{
    column{"database"},
    column{"total_server_assignment_count", numeric},
    column{"total_xact_count", numeric},
    column{"total_query_count", numeric},
    column{"total_received", numeric},
    column{"total_sent", numeric},
    column{"total_xact_time", numeric},
    column{"total_query_time", numeric},
    column{"total_wait_time", numeric},
    column{"total_client_parse_count", numeric},
    column{"total_server_parse_count", numeric},
    column{"total_bind_count", numeric},
    column{"total_client_login_count", numeric},
    column{"avg_server_assignment_count", numeric},
    column{"avg_xact_count", numeric},
    column{"avg_query_count", numeric},
    column{"avg_recv", numeric},
    column{"avg_sent", numeric},
    column{"avg_xact_time", numeric},
    column{"avg_query_time", numeric},
    column{"avg_wait_time", numeric},
    column{"avg_client_parse_count", numeric},
    column{"avg_server_parse_count", numeric},
    column{"avg_bind_count", numeric},
    column{"avg_client_login_count", numeric}};
constexpr std::array stats_totals_columns{
    column{"database"},
    column{"server_assignment_count", numeric},
    column{"xact_count", numeric},
    column{"query_count", numeric},
    column{"bytes_received", numeric},
    column{"bytes_sent", numeric},
    column{"xact_time", numeric},
    column{"query_time", numeric},
    column{"wait_time", numeric},
    column{"client_parse_count", numeric},
    column{"server_parse_count", numeric},
    column{"bind_count", numeric},
    column{"client_login_count", numeric}};
constexpr std::array stats_averages_columns{
    column{"database"},
    column{"server_assignment_count", numeric},
    column{"xact_count", numeric},
    column{"query_count", numeric},
    column{"bytes_received", numeric},
    column{"bytes_sent", numeric},
    column{"xact_time", numeric},
    column{"query_time", numeric},
    column{"wait_time", numeric},
    column{"avg_client_parse_count", numeric},
    column{"avg_server_parse_count", numeric},
    column{"avg_bind_count", numeric},
    column{"client_login_count", numeric}};
constexpr std::array totals_columns{column{"name"}, column{"value", numeric}};
constexpr std::array list_columns{column{"list"}, column{"items", int4}};
constexpr std::array mem_columns{
    column{"name"}, column{"size", int4}, column{"used", int4}, column{"free", int4},
    column{"memtotal", int4}};
constexpr std::array state_columns{column{"key"}, column{"value"}};
constexpr std::array host_columns{column{"hostname"}, column{"ttl", int8}, column{"addrs"}};
constexpr std::array zone_columns{column{"zonename"}, column{"serial", int8}, column{"count", int4}};
constexpr std::array peer_columns{
    column{"peer_id", int4}, column{"host"}, column{"port", int4}, column{"pool_size", int4}};
constexpr std::array topology_columns{column{"server"},         column{"condition"},
                                      column{"role"},           column{"read_only"},
                                      column{"timeline", int8}, column{"lsn"},
                                      column{"lag_ms", int8},   column{"latency_us", int8},
                                      column{"addresses"},      column{"sv_connections", int4},
                                      column{"banned"},         column{"source"},
                                      column{"listed"},         column{"said"},
                                      column{"since"},          column{"in_words"}};
constexpr std::array pin_columns{
    column{"reason"}, column{"clients", int8}, column{"total", int8}, column{"meaning"}};
constexpr std::array limit_columns{column{"name"},       column{"scope"},         column{"current", int8},
                                   column{"most", int8}, column{"refused", int8}, column{"setting"}};
constexpr std::array memory_columns{
    column{"name"}, column{"items", int8}, column{"bytes", int8}, column{"meaning"}};

constexpr std::array breaker_columns{
    column{"server"},         column{"class"},        column{"state"},          column{"reason"},
    column{"in_a_row", int4}, column{"calls", int8},  column{"failures", int8}, column{"slow", int8},
    column{"trials", int4},   column{"opened", int8}, column{"open_ms", int8},  column{"worker", int4}};
constexpr std::array healing_columns{
    column{"time"},
    column{"kind"},
    column{"server"},
    column{"database"},
    column{"user"},
    column{"client"},
    column{"outcome"},
    column{"reason"},
    column{"cause"},
    column{"statement"},
    column{"attempt", int4},
    column{"count", int8},
    column{"duration_ms", int8},
    column{"worker", int4}};
constexpr std::array statement_columns{
    column{"calls", int8},   column{"errors", int8}, column{"retries", int8}, column{"pins", int8},
    column{"time_ms", int8}, column{"timed", int8},  column{"mean_us", int8}, column{"p50_us", int8},
    column{"p95_us", int8},  column{"p99_us", int8}, column{"statement"}};
constexpr std::array coverage_columns{
    column{"database"},      column{"outcome"},     column{"live", int8},
    column{"recent", int8},  column{"total", int8}, column{"recent_percent"},
    column{"total_percent"}, column{"statement"},   column{"meaning"}};
constexpr std::array health_columns{column{"component"}, column{"state"}, column{"since"}, column{"in_words"},
                                    column{"suffers"},   column{"done"},  column{"advice"}};
constexpr std::array protection_columns{
    column{"server"}, column{"database"}, column{"user"},    column{"rule"},
    column{"works"},  column{"why"},      column{"meaning"}, column{"asked_ago_s", int8}};

// OIDs and sizes of pg_type.
constexpr std::uint32_t oid_of(cell_type type) noexcept {
    switch (type) {
        case cell_type::text:
            return 25;
        case cell_type::int4:
            return 23;
        case cell_type::int8:
            return 20;
        case cell_type::numeric:
            return 1700;
    }
    return 25;
}

constexpr std::uint16_t size_of(cell_type type) noexcept {
    if (type == cell_type::int4) return 4;
    return type == cell_type::int8 ? 8 : 0xffff;
}

void put_u16(std::vector<std::byte>& out, std::uint16_t value) {
    out.push_back(static_cast<std::byte>(value >> 8));
    out.push_back(static_cast<std::byte>(value & 0xff));
}

void put_u32(std::vector<std::byte>& out, std::uint32_t value) {
    put_u16(out, static_cast<std::uint16_t>(value >> 16));
    put_u16(out, static_cast<std::uint16_t>(value & 0xffff));
}

void put_text(std::vector<std::byte>& out, std::string_view text) {
    const auto bytes = protocol::as_bytes(text);
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// NUMERIC's binary form: digits to the base of 10,000, the highest first.
void put_numeric(std::vector<std::byte>& out, std::uint64_t value) {
    std::vector<std::uint16_t> digits;
    for (; value != 0; value /= 10'000)
        digits.push_back(static_cast<std::uint16_t>(value % 10'000));
    const auto weight = digits.empty() ? 0 : digits.size() - 1;
    while (!digits.empty() && digits.front() == 0)
        digits.erase(digits.begin());
    put_u32(out, static_cast<std::uint32_t>(8 + 2 * digits.size()));
    put_u16(out, static_cast<std::uint16_t>(digits.size()));
    put_u16(out, static_cast<std::uint16_t>(weight));
    put_u32(out, 0);  // positive, no digits behind the point
    for (auto each = digits.rbegin(); each != digits.rend(); ++each)
        put_u16(out, *each);
}

std::uint16_t format_at(std::span<const std::uint16_t> formats, std::size_t place) noexcept {
    if (formats.empty()) return 0;
    return formats.size() == 1 ? formats[0] : place < formats.size() ? formats[place] : std::uint16_t{0};
}

void put_binary(std::vector<std::byte>& out, cell_type type, const std::string& text) {
    if (type == cell_type::text) {
        put_u32(out, static_cast<std::uint32_t>(text.size()));
        put_text(out, text);
        return;
    }
    const auto value = static_cast<std::uint64_t>(std::strtoll(text.c_str(), nullptr, 10));
    if (type == cell_type::numeric) {
        put_numeric(out, value);
        return;
    }
    put_u32(out, size_of(type));
    if (type == cell_type::int8) put_u32(out, static_cast<std::uint32_t>(value >> 32));
    put_u32(out, static_cast<std::uint32_t>(value & 0xffffffffU));
}

}  // namespace

table_columns columns_of(show_topic topic) noexcept {
    switch (topic) {
        case show_topic::help:
        case show_topic::parameter:
            return {};
        case show_topic::version:
            return version_columns;
        case show_topic::config:
            return config_columns;
        case show_topic::databases:
            return database_columns;
        case show_topic::pools:
            return pool_columns;
        case show_topic::peer_pools:
            return peer_pool_columns;
        case show_topic::clients:
        case show_topic::servers:
            return table_columns{socket_columns}.first(socket_columns.size() - only_of_sockets);
        case show_topic::sockets:
        case show_topic::active_sockets:
            return socket_columns;
        case show_topic::users:
            return user_columns;
        case show_topic::stats:
            return stats_columns;
        case show_topic::stats_totals:
            return stats_totals_columns;
        case show_topic::stats_averages:
            return stats_averages_columns;
        case show_topic::totals:
            return totals_columns;
        case show_topic::lists:
            return list_columns;
        case show_topic::mem:
            return mem_columns;
        case show_topic::state:
            return state_columns;
        case show_topic::dns_hosts:
            return host_columns;
        case show_topic::dns_zones:
            return zone_columns;
        case show_topic::peers:
            return peer_columns;
        case show_topic::topology:
            return topology_columns;
        case show_topic::pins:
            return pin_columns;
        case show_topic::limits:
            return limit_columns;
        case show_topic::memory:
            return memory_columns;
        case show_topic::breakers:
            return breaker_columns;
        case show_topic::healings:
            return healing_columns;
        case show_topic::statements:
            return statement_columns;
        case show_topic::coverage:
            return coverage_columns;
        case show_topic::protection:
            return protection_columns;
        case show_topic::health:
            return health_columns;
    }
    return {};
}

void write_columns(
    std::vector<std::byte>& out, table_columns columns, std::span<const std::uint16_t> formats
) {
    std::vector<std::byte> body;
    put_u16(body, static_cast<std::uint16_t>(columns.size()));
    for (std::size_t i = 0; i < columns.size(); ++i) {
        put_text(body, columns[i].name);
        body.push_back(std::byte{0});
        put_u32(body, 0);  // of no table
        put_u16(body, 0);
        put_u32(body, oid_of(columns[i].type));
        put_u16(body, size_of(columns[i].type));
        put_u32(body, 0xffffffffU);
        put_u16(body, format_at(formats, i));
    }
    protocol::message_writer{out}.frame('T', {body});
}

void write_row(
    std::vector<std::byte>& out, table_columns columns, const table_row& row,
    std::span<const std::uint16_t> formats
) {
    std::vector<std::byte> body;
    put_u16(body, static_cast<std::uint16_t>(row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
        if (!row[i]) {
            put_u32(body, 0xffffffffU);
        } else if (format_at(formats, i) == 1 && i < columns.size()) {
            put_binary(body, columns[i].type, *row[i]);
        } else {
            put_u32(body, static_cast<std::uint32_t>(row[i]->size()));
            put_text(body, *row[i]);
        }
    }
    protocol::message_writer{out}.frame('D', {body});
}

}  // namespace pgmend::proxy
