#pragma once
// The questions that make a schema_catalog, for a simple Query of our own. Both set what they need for their
// own transaction alone, so that no client's search_path or time limit gets in the way. Pure; any thread.

#include <cstddef>
#include <string>
#include <string_view>

namespace pgmend::protocol {

/// Rows of four texts: kind, name, flags, extra (schema_catalog_builder). `server_version` as the server
/// reports it ("15.4 (Debian …)"): what an older one lacks is left out. A body of more than `body_max`
/// characters is not sent, and its language is said to be "unread".
///
///   version     a number that moves with every change of the catalogs read here
///   function    name, volatility + 'e' (an extension's) or '-' + language, body
///   link        source, 'r' when reading the target is enough, target: who uses the target reaches the
///   source hides       name of what has an expression that calls a function of PostgreSQL's with lasting
///   effects writes      the same for one that writes everywhere  a function behind an operator, a cast or a
///   type, which no text names ddl         a function behind an event trigger
std::string schema_catalog_query(std::string_view server_version, std::size_t body_max);

/// The row `version` alone: asked first when the catalog may have grown old, it costs the server next to
/// nothing.
const std::string& schema_version_query();

}  // namespace pgmend::protocol
