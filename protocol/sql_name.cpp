#include "protocol/sql_name.hpp"

#include "protocol/hash.hpp"

#include <algorithm>
#include <array>

namespace pgmend::protocol {
namespace {

char folded(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

std::uint64_t name_number(std::string_view name) noexcept {
    // PostgreSQL cuts a long name between two characters, so the last bytes it keeps may be any or none.
    constexpr std::size_t certain = name_bytes_max - 3;
    std::array<char, certain> letters{};
    std::size_t length = 0;
    for (const char each : name.substr(0, certain)) {
        const bool ascii = static_cast<unsigned char>(each) < 0x80;
        letters[length++] = ascii ? folded(each) : '\x80';
        if (!ascii) break;  // what follows depends on the encoding
    }
    return hash_bytes(as_bytes(std::string_view{letters.data(), length})).low;
}

std::optional<std::string> spelled_name(const sql_token& token) {
    if (token.kind == sql_token_kind::identifier) {
        std::string name{token.text};
        std::transform(name.begin(), name.end(), name.begin(), folded);
        return name;
    }
    if (token.kind != sql_token_kind::quoted_identifier || token.text.front() != '"') return std::nullopt;
    std::string name;
    for (std::size_t i = 1; i + 1 < token.text.size(); ++i) {
        name += token.text[i];
        if (token.text[i] == '"') ++i;  // a quote is written twice
    }
    return name;
}

}  // namespace pgmend::protocol
