#pragma once
// How an event and its fields become text or JSON. Pure. What comes before (time, level) is the log's
// pattern.

#include <string>

#include "config/log.hpp"

namespace pgmend::config::log {

/// Longest text of one field, in bytes before escaping; the rest is replaced by an ellipsis.
inline constexpr std::size_t field_bytes_max = 1024;

/// Text: `server_lost endpoint=127.0.0.1:5432 detail="two words"`. Text that is empty or holds anything that
/// could be taken for the line's own structure is quoted, and escaped as in JSON. JSON:
/// `"event":"server_lost","endpoint":"127.0.0.1:5432"`, members without the braces. Always valid UTF-8.
std::string line_of(format form, std::string_view event_name, fields list);

}  // namespace pgmend::config::log
