#pragma once
// The shape of a text of SQL: its tokens, folded, with constants elided. Texts with one key have one parse
// tree but for constants, so `statement_classifier` asks PostgreSQL's parser once for all of them. The relay
// makes a key for every simple Query: the plainest tokens are cut here at a few instructions a byte, whatever
// needs a second look is cut by `sql_scanner`. Owned by one worker.

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "protocol/recent_texts.hpp"
#include "protocol/sql_scanner.hpp"
#include "protocol/statement_facts.hpp"

namespace pgmend::protocol {

/// The plain integers of a text, in its order; when there are more than `recent_texts` keeps, one more.
struct integer_places {
    std::array<integer_place, recent_texts::most_integers + 1> places;
    std::size_t count = 0;
};

class sql_key {
public:
    /// False for what is no SQL by the rules of its letters; then there is no key. Allocates only when the
    /// text is the longest so far.
    bool make(std::string_view text);

    /// Valid until the next call.
    std::string_view bytes() const noexcept { return {key_.data(), length_}; }
    const scanned_words& words() const noexcept { return words_; }
    /// Others in their places make the same key. Valid until the next call.
    std::span<const integer_place> integers() const noexcept {
        return {integers_.places.data(), integers_.count};
    }

private:
    char* put(const sql_token& token, char* out) noexcept;

    std::vector<char> text_;  ///< a copy that ends in a zero, so that no byte is checked against the end
    std::vector<char> key_;
    std::size_t length_ = 0;
    scanned_words words_;
    integer_places integers_;
};

}  // namespace pgmend::protocol
