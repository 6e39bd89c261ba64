#pragma once
// Reads pgbouncer.ini as PgBouncer does. Pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgmend::config {

struct ini_entry {
    std::string key;
    std::string value;
    std::size_t line = 0;
};

struct ini_section {
    std::string name;
    std::vector<ini_entry> entries;
};

struct ini_result {
    std::vector<ini_section> sections;
    std::vector<std::string> errors;  ///< with the number of the line
};

/// Lines of `key = value` under `[section]`; ';' and '#' begin a comment at the beginning of a line alone.
ini_result parse_ini(std::string_view text);

/// The value of an entry under [databases] or [users] taken apart: `host=a port=5432 password='it''s'`. False
/// when it is not well formed; what came before the fault is there.
bool parse_ini_words(std::string_view text, std::vector<std::pair<std::string, std::string>>& words);

}  // namespace pgmend::config
