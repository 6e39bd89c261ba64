#pragma once
// The texts of SQL that were folded to keys lately. Programs send the same texts again and again, with other
// integers in them; such a text has the key of the one that is kept, as `sql_key` writes one mark for each
// plain integer, so it need not be folded. Compared in blocks, which takes a fraction of folding. Owned by
// one worker.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace pgmend::protocol {

/// Where a plain integer, of at most `plain_integer_digits`, stands in a text.
struct integer_place {
    std::uint16_t begin = 0;   // bytes from the beginning of the text
    std::uint16_t digits = 0;  // bytes
};

inline constexpr std::ptrdiff_t plain_integer_digits = 9;  // as many surely fit 32 bits

/// The number of a key: what `statement_classifier` looks shapes up by.
struct key_number {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
};

class recent_texts {
public:
    static constexpr std::size_t longest_text = 232;  // bytes; longer ones are not kept
    static constexpr std::size_t most_integers = 8;   // texts with more are not kept
    static constexpr std::size_t capacity = 128;      // texts, of 290 bytes

    recent_texts();
    ~recent_texts();

    /// The number of the text's key, if a text is kept that is the same but for the values of its integers.
    /// Allocates nothing.
    std::optional<key_number> find(std::string_view text) const noexcept;

    /// Keeps a text with the number of its key, in the place of an older one. `integers`: all that
    /// `sql_key` found to be plain, in the text's order. Allocates nothing.
    void keep(std::string_view text, std::span<const integer_place> integers, key_number number) noexcept;

private:
    struct kept;

    std::unique_ptr<kept[]> kept_;  // pairs
};

}  // namespace pgmend::protocol
