#pragma once
// How far a misspelt word is from one that is known. Pure.

#include <cstddef>
#include <string_view>

namespace pgmend::config {

/// Edits (insert, delete, replace, swap of neighbours) between two short names; quadratic in their lengths.
std::size_t edit_distance(std::string_view left, std::string_view right);

}  // namespace pgmend::config
