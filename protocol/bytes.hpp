#pragma once
// Bytes on the wire: big-endian integers, bounded reading and writing.
// Source: PostgreSQL protocol, "Message Data Types". Pure; any thread.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace pgmend::protocol {

/// Bytes owned by somebody else; valid until their owner's next read unless a comment says otherwise.
using byte_view = std::span<const std::byte>;

inline std::string_view as_text(byte_view bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline byte_view as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

inline std::uint16_t load_u16(const std::byte* from) noexcept {
    std::uint16_t value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_bswap16(value);
}
inline std::uint32_t load_u32(const std::byte* from) noexcept {
    std::uint32_t value;
    std::memcpy(&value, from, sizeof value);
    return __builtin_bswap32(value);
}
inline void store_u16(std::byte* to, std::uint16_t value) noexcept {
    value = __builtin_bswap16(value);
    std::memcpy(to, &value, sizeof value);
}
inline void store_u32(std::byte* to, std::uint32_t value) noexcept {
    value = __builtin_bswap32(value);
    std::memcpy(to, &value, sizeof value);
}

/// Reads a message body front to back. The first read past the end makes the reader `failed` for good;
/// every later read then returns an empty value, so a caller checks once at the end.
class byte_reader {
public:
    explicit byte_reader(byte_view bytes) noexcept : rest_(bytes) {}

    std::uint8_t u8() noexcept { return take(1) ? static_cast<std::uint8_t>(last_[0]) : std::uint8_t{0}; }
    std::uint16_t u16() noexcept { return take(2) ? load_u16(last_.data()) : std::uint16_t{0}; }
    std::uint32_t u32() noexcept { return take(4) ? load_u32(last_.data()) : 0; }
    std::int32_t i32() noexcept { return static_cast<std::int32_t>(u32()); }

    /// A zero-terminated string, without its zero. The view lives as long as the bytes read.
    std::string_view cstring() noexcept {
        // Portals and statements mostly have no name.
        if (!rest_.empty() && rest_[0] == std::byte{}) {
            const auto none = as_text(rest_.first(0));
            rest_ = rest_.subspan(1);
            return none;
        }
        const void* zero = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
        if (zero == nullptr) {
            fail();
            return {};
        }
        const auto length = static_cast<std::size_t>(static_cast<const std::byte*>(zero) - rest_.data());
        const auto text = as_text(rest_.first(length));
        rest_ = rest_.subspan(length + 1);
        return text;
    }
    byte_view bytes(std::size_t count) noexcept { return take(count) ? last_ : byte_view{}; }
    byte_view rest() const noexcept { return rest_; }
    bool failed() const noexcept { return failed_; }
    /// True when everything was read and nothing failed.
    bool done() const noexcept { return !failed_ && rest_.empty(); }

private:
    bool take(std::size_t count) noexcept {
        if (rest_.size() < count) {
            fail();
            return false;
        }
        last_ = rest_.first(count);
        rest_ = rest_.subspan(count);
        return true;
    }
    void fail() noexcept {
        failed_ = true;
        rest_ = {};
    }

    byte_view rest_;
    byte_view last_;
    bool failed_ = false;
};

}  // namespace pgmend::protocol
