#include "protocol/builtin_functions.hpp"

#include <cstddef>

namespace pgmend::protocol {
namespace {

/// Binary search by byte position: step back to the blank before, compare the name there.
bool contains_name(std::string_view names, std::string_view name) noexcept {
    if (name.empty() || name.find(' ') != std::string_view::npos) return false;
    std::size_t low = 0;  // always the position of a blank
    std::size_t high = names.size() - 1;
    while (low < high) {
        const std::size_t begin = names.rfind(' ', (low + high - 1) / 2) + 1;
        const std::size_t end = names.find(' ', begin);
        const int order = name.compare(names.substr(begin, end - begin));
        if (order == 0) return true;
        if (order < 0) {
            high = begin - 1;
        } else {
            low = end;
        }
    }
    return false;
}

struct effect_row {
    session_effect effects;
    std::string_view names;  // sorted like the generated lists
};

constexpr effect_row effect_rows[] = {
    {session_effect::calls_set_config, " set_config "},
    {session_effect::seed, " setseed "},
    {session_effect::sequence_value, " currval lastval nextval "},
    // Said twice, it takes back what others have drawn meanwhile.
    {session_effect::sequence_value | session_effect::outside_effects, " setval "},
    {session_effect::advisory_lock,
     " pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared "},
    {session_effect::advisory_unlock,
     " pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared "},
    {session_effect::transaction_lock,
     " pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock"
     " pg_try_advisory_xact_lock_shared "},
    {session_effect::large_object,
     " lo_close lo_creat lo_create lo_export lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open "
     "lo_put"
     " lo_tell lo_tell64 lo_truncate lo_truncate64 lo_unlink loread lowrite "},
    // Server files, other backends, WAL and statistics are beyond any ROLLBACK.
    {session_effect::outside_effects,
     " lo_export lo_import pg_cancel_backend pg_create_restore_point pg_drop_replication_slot"
     " pg_export_snapshot pg_log_backend_memory_contexts pg_logical_emit_message"
     " pg_logical_slot_get_binary_changes pg_logical_slot_get_changes pg_promote pg_reload_conf"
     " pg_replication_slot_advance pg_rotate_logfile pg_rotate_logfile_old pg_stat_force_next_flush"
     " pg_stat_reset pg_stat_reset_replication_slot pg_stat_reset_shared"
     " pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters pg_stat_reset_slru"
     " pg_stat_reset_subscription_stats pg_switch_wal pg_terminate_backend pg_wal_replay_pause"
     " pg_wal_replay_resume "},
    // They run SQL given as text, or what a cursor or a whole schema hides.
    {session_effect::unknown_function,
     " cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema database_to_xmlschema"
     " query_to_xml query_to_xml_and_xmlschema query_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema"
     " schema_to_xmlschema table_to_xml table_to_xml_and_xmlschema table_to_xmlschema ts_rewrite ts_stat "},
    // They leave something in the session that no other effect names: a backup, a temporary slot, an origin.
    {session_effect::unknown_function | session_effect::outside_effects,
     " pg_backup_start pg_backup_stop pg_copy_logical_replication_slot pg_copy_physical_replication_slot"
     " pg_create_logical_replication_slot pg_create_physical_replication_slot pg_replication_origin_advance"
     " pg_replication_origin_create pg_replication_origin_drop pg_replication_origin_session_reset"
     " pg_replication_origin_session_setup pg_replication_origin_xact_reset"
     " pg_replication_origin_xact_setup "},
};

/// Volatile, because they answer differently each time, but they change nothing.
constexpr std::string_view harmless_volatile_names =
    " clock_timestamp current_query gen_random_uuid pg_blocking_pids pg_collation_actual_version"
    " pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system pg_current_logfile"
    " pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn"
    " pg_database_collation_actual_version pg_database_size pg_get_backend_memory_contexts"
    " pg_get_shmem_allocations pg_get_wal_replay_pause_state pg_get_wal_resource_managers pg_hba_file_rules"
    " pg_ident_file_mappings pg_indexes_size pg_is_in_recovery pg_is_wal_replay_paused"
    " pg_isolation_test_session_is_blocked pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn"
    " pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status pg_ls_archive_statusdir pg_ls_dir"
    " pg_ls_logdir pg_ls_tmpdir pg_ls_waldir pg_notification_queue_usage pg_partition_ancestors"
    " pg_partition_tree pg_prepared_xact pg_read_binary_file pg_read_file pg_relation_size"
    " pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_show_all_file_settings pg_sleep pg_sleep_for"
    " pg_sleep_until pg_stat_file pg_stat_get_recovery_prefetch pg_table_size pg_tablespace_size"
    " pg_total_relation_size pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status random"
    " timeofday txid_status ";

/// Stable in the catalog, yet they assign a transaction id: not for a standby.
constexpr std::string_view assigning_names = " pg_current_xact_id txid_current ";

/// PostgreSQL has no such names, but everybody knows what these extensions do.
constexpr std::string_view outside_prefixes[] = {"dblink", "http"};

}  // namespace

bool is_builtin_function(std::string_view name) noexcept {
    return contains_name(builtin_calm_names, name) || contains_name(builtin_volatile_names, name);
}

builtin_function find_builtin_function(std::string_view schema, std::string_view name) noexcept {
    builtin_function found;
    const bool calm = contains_name(builtin_calm_names, name);
    // The two methods of TABLESAMPLE are reached by their names, but nobody can call them.
    const bool builtin =
        calm || contains_name(builtin_volatile_names, name) || name == "bernoulli" || name == "system";
    if (!builtin || !(schema.empty() || schema == "pg_catalog") || name.starts_with("binary_upgrade_")) {
        for (const auto prefix : outside_prefixes) {
            if (name.starts_with(prefix)) found.effects |= session_effect::outside_effects;
        }
        return found;
    }
    found.effects = session_effect::none;
    for (const auto& row : effect_rows) {
        if (contains_name(row.names, name)) found.effects |= row.effects;
    }
    const bool harmless =
        calm ? !contains_name(assigning_names, name)
             : contains_name(harmless_volatile_names, name) || name == "bernoulli" || name == "system";
    found.read_only = harmless && found.effects == session_effect::none;
    return found;
}

}  // namespace pgmend::protocol
