#pragma once
// RFC 3454's tables and Unicode 3.2's normalisation data, packed; saslprep.cpp alone reads them. Written by
// saslprep_tables.py.

#include <string_view>

namespace pgmend::protocol {

extern const std::string_view saslprep_nothing;
extern const std::string_view saslprep_spaces;
extern const std::string_view saslprep_prohibited;
extern const std::string_view saslprep_right_to_left;
extern const std::string_view saslprep_left_to_right;
extern const std::string_view saslprep_combining;
extern const std::string_view saslprep_decompositions;

}  // namespace pgmend::protocol
