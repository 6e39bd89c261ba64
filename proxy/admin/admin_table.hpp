#pragma once
// A result of the console: its columns, in PgBouncer's order and types where PgBouncer has it, and its rows
// as text. Pure.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.hpp"
#include "proxy/admin/admin_command.hpp"
#include "proxy/admin/admin_facts.hpp"

namespace pgmend::proxy {

enum class cell_type : std::uint8_t { text, int4, int8, numeric };

struct table_column {
    std::string_view name;
    cell_type type = cell_type::text;
};
using table_columns = std::span<const table_column>;

using cell = std::optional<std::string>;  ///< nothing: NULL
using table_row = std::vector<cell>;
using table_rows = std::vector<table_row>;

/// The columns of SHOW `topic`; none for `help`, which is a notice, and for `parameter`, whose column has its
/// name.
table_columns columns_of(show_topic topic) noexcept;
/// The rows of SHOW `topic`: as many cells each as it has columns.
table_rows rows_of(show_topic topic, const admin_facts& facts);
/// Which facts it needs of each worker.
facts_wanted needs_of(show_topic topic) noexcept;

/// The usage that SHOW HELP tells.
std::string help_text();

/// The name of a setting, given that or PgBouncer's for it; what is neither comes back as it is.
std::string own_setting(std::string_view name);
/// A value given under that name: PgBouncer counts in seconds.
std::string own_value(std::string_view name, std::string value, const config::setting_base& setting);

// Rows by kind, for rows_of.
table_rows config_rows(const config::settings& settings);
table_rows stats_rows(show_topic topic, const admin_facts& facts);
table_rows client_rows(const admin_facts& facts, bool in_sockets, bool only_busy);
table_rows server_rows(const admin_facts& facts, bool in_sockets, bool only_busy);
table_rows database_rows(const admin_facts& facts);
table_rows pool_rows(const admin_facts& facts);
table_rows breaker_rows(const admin_facts& facts);
table_rows healing_rows(const admin_facts& facts);
table_rows statement_rows(const admin_facts& facts);
table_rows coverage_rows(const admin_facts& facts);
table_rows protection_rows(const admin_facts& facts);
table_rows health_rows(const admin_facts& facts);

/// `2026-11-22 09:30:00.250 UTC`, of milliseconds since 1970.
std::string moment_of(std::int64_t when_ms);
/// Milliseconds since 1970 of a moment of the clock of `facts.now`.
std::int64_t moment_in_ms(config::time_point when, const admin_facts& facts);

/// RowDescription. `formats` as in Bind: none, one for all, or one each.
void write_columns(
    std::vector<std::byte>& out, table_columns columns, std::span<const std::uint16_t> formats
);
/// DataRow.
void write_row(
    std::vector<std::byte>& out, table_columns columns, const table_row& row,
    std::span<const std::uint16_t> formats
);

}  // namespace pgmend::proxy
