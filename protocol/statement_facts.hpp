#pragma once
// From what stands in PostgreSQL's parse tree (`statement_parser`) to what it means: the judging half of
// `statement_classifier`. Pure; any thread.

#include "protocol/schema_catalog.hpp"
#include "protocol/statement_parser.h"
#include "protocol/statement_traits.hpp"

#include <optional>

namespace pgmend::protocol {

/// What the scanner saw while it made the key, and the tree no longer shows.
struct scanned_words {
    bool moment_literal = false;  // a quoted constant may be 'now' or its kin
    bool temp_schema = false;     // a name or a constant may be pg_temp
};

/// Parses `text` (zero-terminated, no other zero bytes) and judges it. Empty when it cannot be parsed.
/// What `catalog` knows of the database's own functions counts; null: nothing is known of them.
std::optional<statement_traits> judge_statements(
    const char* text, scanned_words words, const schema_catalog* catalog = nullptr
) noexcept;

}  // namespace pgmend::protocol
