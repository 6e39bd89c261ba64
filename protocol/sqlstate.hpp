#pragma once
// The five-letter codes pgmend reads or sends. Source: PostgreSQL documentation, appendix A. Pure.

#include <string_view>

namespace pgmend::protocol::sqlstate {

inline constexpr std::string_view warning = "01000";
inline constexpr std::string_view connection_failure = "08006";
inline constexpr std::string_view transaction_resolution_unknown = "08007";
inline constexpr std::string_view protocol_violation = "08P01";
inline constexpr std::string_view feature_not_supported = "0A000";
inline constexpr std::string_view invalid_parameter_value = "22023";
inline constexpr std::string_view active_sql_transaction = "25001";
inline constexpr std::string_view read_only_transaction = "25006";
inline constexpr std::string_view in_failed_transaction = "25P02";
inline constexpr std::string_view idle_in_transaction_session_timeout = "25P03";
inline constexpr std::string_view transaction_timeout = "25P04";
inline constexpr std::string_view invalid_sql_statement_name = "26000";
inline constexpr std::string_view invalid_authorization = "28000";
inline constexpr std::string_view invalid_password = "28P01";
inline constexpr std::string_view invalid_cursor_name = "34000";
inline constexpr std::string_view undefined_database = "3D000";
inline constexpr std::string_view serialization_failure = "40001";
inline constexpr std::string_view statement_completion_unknown = "40003";
inline constexpr std::string_view insufficient_privilege = "42501";
inline constexpr std::string_view syntax_error = "42601";
inline constexpr std::string_view undefined_object = "42704";
inline constexpr std::string_view duplicate_cursor = "42P03";
inline constexpr std::string_view duplicate_prepared_statement = "42P05";
inline constexpr std::string_view out_of_memory = "53200";
inline constexpr std::string_view too_many_connections = "53300";
inline constexpr std::string_view configuration_limit_exceeded = "53400";
inline constexpr std::string_view program_limit_exceeded = "54000";
inline constexpr std::string_view object_not_in_prerequisite_state = "55000";
inline constexpr std::string_view cannot_change_now = "55P02";
inline constexpr std::string_view query_canceled = "57014";
inline constexpr std::string_view admin_shutdown = "57P01";
inline constexpr std::string_view crash_shutdown = "57P02";
inline constexpr std::string_view cannot_connect_now = "57P03";
inline constexpr std::string_view config_file_error = "F0000";
inline constexpr std::string_view internal_error = "XX000";

}  // namespace pgmend::protocol::sqlstate
