// SHOW CONFIG: every setting under its own name, then those that PgBouncer has as well under PgBouncer's, in
// its units, as exporters ask for them.

#include <algorithm>
#include <array>

#include "proxy/admin/admin_table.hpp"

namespace pgmend::proxy {

namespace {

struct other_name {
    std::string_view theirs;
    std::string_view ours;
};
constexpr std::array other_names{
    other_name{"listen_addr", "listen.host"},
    other_name{"listen_port", "listen.port"},
    other_name{"listen_backlog", "listen.backlog"},
    other_name{"unix_socket_dir", "listen.unix_socket_dir"},
    other_name{"unix_socket_mode", "listen.unix_socket_mode"},
    other_name{"max_client_conn", "listen.max_clients"},
    other_name{"client_login_timeout", "listen.login_timeout"},
    other_name{"pool_mode", "pool.mode"},
    other_name{"default_pool_size", "pool.size"},
    other_name{"min_pool_size", "pool.min_size"},
    other_name{"reserve_pool_size", "pool.reserve_size"},
    other_name{"reserve_pool_timeout", "pool.reserve_timeout"},
    other_name{"query_wait_timeout", "pool.wait_timeout"},
    other_name{"server_idle_timeout", "pool.idle_timeout"},
    other_name{"server_lifetime", "pool.lifetime"},
    other_name{"server_connect_timeout", "upstream.connect_timeout"},
    other_name{"server_login_retry", "pool.retry_delay_max"},
    other_name{"max_prepared_statements", "pool.max_prepared_statements"},
    other_name{"auth_type", "auth.method"},
    other_name{"auth_file", "auth.userlist"},
    other_name{"auth_hba_file", "auth.hba_file"},
    other_name{"auth_ident_file", "auth.ident_file"},
    other_name{"auth_user", "auth.query.user"},
    other_name{"auth_query", "auth.query.sql"},
    other_name{"auth_dbname", "auth.query.database"},
    other_name{"admin_users", "admin.users"},
    other_name{"stats_users", "admin.stats_users"},
    other_name{"stats_period", "admin.stats_period"}};

/// PgBouncer counts in seconds, without a unit.
std::string plain(const std::string& shown, const config::setting_base& setting) {
    if (!setting.allowed().starts_with("a duration")) return shown;
    const auto time = config::parse_duration(shown);
    if (!time.value) return shown;
    const auto ms = time.value->count();
    std::string text = std::to_string(ms / 1000);
    if (ms % 1000 == 0) return text;
    std::string rest = std::to_string(1000 + ms % 1000).substr(1);
    while (rest.back() == '0')
        rest.pop_back();
    return text + '.' + rest;
}

}  // namespace

std::string own_setting(std::string_view name) {
    const auto* found = std::ranges::find(other_names, name, &other_name::theirs);
    return std::string(found == other_names.end() ? name : found->ours);
}

std::string own_value(std::string_view name, std::string value, const config::setting_base& setting) {
    const bool theirs = own_setting(name) != name;
    const bool plain_number = value.find_first_not_of("0123456789") == std::string::npos && !value.empty();
    if (theirs && plain_number && setting.allowed().starts_with("a duration")) value += 's';
    return value;
}

table_rows config_rows(const config::settings& settings) {
    table_rows rows;
    const auto add = [&rows](std::string_view name, const config::setting_base& setting, bool translated) {
        const std::string value = setting.shown();
        const std::string initial = setting.shown_default();
        const bool changeable = setting.reload() != config::reload_class::restart;
        rows.push_back(
            {std::string(name), translated ? plain(value, setting) : value,
             translated ? plain(initial, setting) : initial, changeable ? "yes" : "no"}
        );
    };
    for (const config::setting_base* each : settings.all())
        add(each->key(), *each, false);
    for (const other_name& each : other_names) {
        if (const config::setting_base* setting = settings.find(each.ours)) add(each.theirs, *setting, true);
    }
    return rows;
}

}  // namespace pgmend::proxy
