#pragma once
// What a client that remembers the description of a prepared statement relies on: names and types of the
// columns. PostgreSQL compares the same before it says 0A000, "cached plan must not change result type"
// (plancache.c, equalTupleDescs of 15). Pure.

#include <cstdint>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

/// Of the body of a RowDescription; where a column comes from and its format are left out. Never 0 or 1;
/// equal digests mean equal results. 1 for what is no whole RowDescription.
std::uint64_t result_digest(byte_view row_description);
/// Of a statement without a result.
inline constexpr std::uint64_t no_result_digest = 2;

}  // namespace pgmend::protocol
