#include "protocol/recent_texts.hpp"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstring>

namespace pgmend::protocol {
namespace {

constexpr std::size_t word = sizeof(std::uint64_t);
constexpr std::size_t chosen_by = 6 * word;  // bytes at most

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

#ifdef __SSE2__

/// How many bytes stand before the first digit, of 16.
std::size_t before_digit(const char* from) noexcept {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const __m128i distance = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    const __m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(9)), distance);
    return static_cast<std::size_t>(
        std::countr_zero(static_cast<unsigned>(_mm_movemask_epi8(digits)) | 0x10000U)
    );
}

#else

std::size_t before_digit(const char* from) noexcept {
    return static_cast<std::size_t>(std::find_if(from, from + 16, is_digit) - from);
}

#endif

/// Chooses by the words before the first digit, so that texts with other integers are sought in one place.
std::size_t pair_of(std::string_view text) noexcept {
    constexpr std::uint64_t factor = 0x9e3779b97f4a7c15ULL;
    const std::size_t size = std::min(text.size(), chosen_by);
    std::size_t plain = 0;
    for (std::size_t found = 16; found == 16 && plain + 16 <= size;) {
        found = before_digit(text.data() + plain);
        plain += found;
    }
    std::uint64_t number = factor;
    for (std::size_t at = 0; at + word <= plain; at += word) {
        std::uint64_t part = 0;
        std::memcpy(&part, text.data() + at, word);
        number = std::rotl((number ^ part) * factor, 29);
    }
    return (number >> 32) % (recent_texts::capacity / 2);
}

}  // namespace

struct recent_texts::kept {
    key_number number;
    std::uint16_t size = 0;
    std::uint8_t integers = 0;
    bool newer = false;  // than the other of its pair
    bool used = false;
    std::array<integer_place, most_integers> places;
    std::array<char, longest_text> text;

    bool is(std::string_view sought) const noexcept;
};

/// Each stretch between two integers is the same, and an integer stands wherever one stood: it ends where
/// what is kept goes on, so that what follows it is the same as well.
bool recent_texts::kept::is(std::string_view sought) const noexcept {
    const char* at = sought.data();
    const char* const end = at + sought.size();
    std::size_t compared = 0;
    for (std::size_t i = 0; i < integers; ++i) {
        const std::size_t stretch = places[i].begin - compared;
        if (static_cast<std::size_t>(end - at) <= stretch) return false;
        if (std::memcmp(at, text.data() + compared, stretch) != 0) return false;
        at += stretch;
        const char* const integer = at;
        while (at != end && is_digit(*at))
            ++at;
        if (at == integer || at - integer > plain_integer_digits) return false;
        compared = places[i].begin + places[i].digits;
    }
    const std::size_t rest = size - compared;
    return static_cast<std::size_t>(end - at) == rest && std::memcmp(at, text.data() + compared, rest) == 0;
}

recent_texts::recent_texts() : kept_(std::make_unique<kept[]>(capacity)) {}
recent_texts::~recent_texts() = default;

std::optional<key_number> recent_texts::find(std::string_view text) const noexcept {
    const kept* const pair = &kept_[2 * pair_of(text)];
    if (pair[0].used && pair[0].is(text)) return pair[0].number;
    if (pair[1].used && pair[1].is(text)) return pair[1].number;
    return std::nullopt;
}

void recent_texts::keep(
    std::string_view text, std::span<const integer_place> integers, key_number number
) noexcept {
    if (text.size() > longest_text || integers.size() > most_integers) return;
    kept* const pair = &kept_[2 * pair_of(text)];
    kept& older = pair[pair[0].newer ? 1 : 0];
    kept& other = pair[pair[0].newer ? 0 : 1];
    older.number = number;
    older.size = static_cast<std::uint16_t>(text.size());
    older.integers = static_cast<std::uint8_t>(integers.size());
    older.newer = true;
    other.newer = false;
    older.used = true;
    std::copy(integers.begin(), integers.end(), older.places.begin());
    std::memcpy(older.text.data(), text.data(), text.size());
}

}  // namespace pgmend::protocol
