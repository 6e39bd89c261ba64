#pragma once
// What the fuzz targets share: the list of them, how an input is taken apart, and how a broken property is
// told. A target is a function of its input alone: the same bytes always do the same.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/bytes.hpp"

namespace pgmend::fuzz {

using protocol::byte_view;

// clang-format off
/// Each name is a function below, a file in targets/ and a folder in corpus/.
#define PGMEND_FUZZ_TARGETS(each) \
    each(frames) \
    each(startup) \
    each(messages) \
    each(passwords) \
    each(sasl) \
    each(scanner) \
    each(classifier) \
    each(changes) \
    each(values) \
    each(policy) \
    each(url) \
    each(rules) \
    each(secrets) \
    each(http) \
    each(console) \
    each(tls) \
    each(srv) \
    each(patroni) \
    each(requests) \
    each(replies) \
    each(sessions) \
    each(servers)
// clang-format on

#define PGMEND_FUZZ_DECLARE(name) void name(byte_view input);
PGMEND_FUZZ_TARGETS(PGMEND_FUZZ_DECLARE)
#undef PGMEND_FUZZ_DECLARE

/// A property that must hold whatever the input is.
inline void require(bool holds, const char* property) {
    if (holds) return;
    std::fprintf(stderr, "broken property: %s\n", property);
    std::abort();
}

/// Takes an input apart from its front. When it is used up, everything is zero or empty.
class dice {
public:
    explicit dice(byte_view input) noexcept : rest_(input) {}

    bool done() const noexcept { return rest_.empty(); }
    std::uint8_t u8() noexcept {
        if (rest_.empty()) return 0;
        const auto value = static_cast<std::uint8_t>(rest_.front());
        rest_ = rest_.subspan(1);
        return value;
    }
    std::uint32_t u32() noexcept {
        std::uint32_t value = 0;
        for (int byte = 0; byte < 4; ++byte)
            value = value << 8 | u8();
        return value;
    }
    /// 0 … count - 1.
    std::size_t below(std::size_t count) noexcept { return u8() % count; }
    bool coin() noexcept { return (u8() & 1U) != 0; }
    std::string_view text(std::size_t most) noexcept {
        const std::size_t count = most < rest_.size() ? most : rest_.size();
        const auto taken = protocol::as_text(rest_.first(count));
        rest_ = rest_.subspan(count);
        return taken;
    }
    /// A length in one byte, and so many.
    std::string_view short_text() noexcept { return text(u8()); }
    byte_view rest() const noexcept { return rest_; }
    std::string_view rest_text() const noexcept { return protocol::as_text(rest_); }

private:
    byte_view rest_;
};

/// A copy with nothing behind it, so that one byte read too many is one the sanitizer sees.
class exact_copy {
public:
    explicit exact_copy(std::string_view text) : size_(text.size()), bytes_(new char[text.size()]) {
        text.copy(bytes_, size_);
    }
    exact_copy(const exact_copy&) = delete;
    exact_copy& operator=(const exact_copy&) = delete;
    ~exact_copy() { delete[] bytes_; }
    std::string_view text() const noexcept { return {bytes_, size_}; }
    byte_view bytes() const noexcept { return protocol::as_bytes(text()); }

private:
    std::size_t size_;
    char* bytes_;
};

}  // namespace pgmend::fuzz
