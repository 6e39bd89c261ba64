#pragma once
// The lexical form that pg_hba.conf and pg_ident.conf share: fields between blanks, values between commas,
// quotes, comments, lines that go on. Source: PostgreSQL 15, hba.c. Pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"

namespace pgmend::config {

/// In quotes a word loses its special meaning.
struct hba_word {
    std::string text;
    bool quoted = false;
    position at = {};
};
using hba_field = std::vector<hba_word>;

/// `line:column: text`, to be put behind the name of a file and a colon.
std::string hba_problem(position at, std::string_view text);

/// Goes through a text line by line.
class hba_text {
public:
    explicit hba_text(std::string_view text) noexcept : rest_(text) {}

    /// The fields of the next line, none for an empty one; false at the end of the text.
    bool next(std::vector<hba_field>& fields);
    /// Why the last line could not be read, as `hba_problem` has it; mostly empty.
    const std::string& problem() const noexcept { return problem_; }

private:
    /// Where a line of the text begins in what several were joined to.
    struct seam {
        std::size_t offset;
        std::size_t line;
    };
    std::string take_line();
    position place_of(std::size_t offset) const noexcept;

    std::string_view rest_;
    std::size_t following_ = 1;
    std::vector<seam> seams_;
    std::string problem_;
};

}  // namespace pgmend::config
