#pragma once
// Framing of typed messages: one type byte, a length that counts itself, a body. Pure; any thread.

#include <cstddef>
#include <cstdint>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

inline constexpr std::size_t frame_header_size = 5;

/// A decoded header; `size` is the whole frame, header included.
struct frame_header {
    char type;
    std::uint32_t body;
    std::size_t size() const noexcept { return frame_header_size + body; }
};

/// Decodes the header at the front of `bytes` (at least frame_header_size of them). `body` is meaningless
/// when the length field is below 4: check `valid_length` first.
inline bool valid_length(const std::byte* header) noexcept {
    const std::uint32_t length = load_u32(header + 1);
    return length >= 4 && length <= 0x7fffffffU;
}
inline frame_header decode_header(const std::byte* header) noexcept {
    return {static_cast<char>(header[0]), load_u32(header + 1) - 4};
}

}  // namespace pgmend::protocol
