#pragma once
// Results of the console as JSON, so that HTTP and the console tell the same: whatever SHOW has, /api has.
// Pure.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <optional>
#include <string>
#include <string_view>

#include "proxy/admin/admin_table.hpp"

namespace pgmend::proxy {

/// An object for each row, its members named and ordered as the columns; numbers as numbers, NULL as null.
boost::json::array json_rows(table_columns columns, const table_rows& rows);
/// On one line, with a newline behind it.
std::string json_text(const boost::json::object& value);
/// The topic whose SHOW has this word, in whatever case; nothing for what has no rows of its own.
std::optional<show_topic> topic_named(std::string_view word) noexcept;

}  // namespace pgmend::proxy
