#include "protocol/result_digest.hpp"

#include <vector>

#include "protocol/hash.hpp"
#include "protocol/statement_store.hpp"

namespace pgmend::protocol {

std::uint64_t result_digest(byte_view row_description) {
    constexpr std::size_t table_and_column = 6;
    constexpr std::size_t type_length_modifier = 10;
    byte_reader reader{row_description};
    std::vector<std::byte> relied_on;
    const std::uint16_t columns = reader.u16();
    for (std::uint16_t i = 0; i < columns && !reader.failed(); ++i) {
        const byte_view name = as_bytes(reader.cstring());
        relied_on.insert(relied_on.end(), name.begin(), name.end());
        relied_on.push_back(std::byte{0});
        reader.bytes(table_and_column);
        const byte_view type = reader.bytes(type_length_modifier);
        relied_on.insert(relied_on.end(), type.begin(), type.end());
        reader.bytes(2);
    }
    if (!reader.done()) return ambiguous_result;
    const std::uint64_t digest = hash_bytes(relied_on).low;
    return digest > no_result_digest ? digest : digest + no_result_digest + 1;
}

}  // namespace pgmend::protocol
