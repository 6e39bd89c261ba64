#pragma once
// The lexical form that pg_hba.conf and pg_ident.conf share: fields between blanks, values between commas,
// quotes, comments, lines that go on. Source: PostgreSQL 15, hba.c. Pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::config {

/// In quotes a word loses its special meaning.
struct hba_word {
    std::string text;
    bool quoted = false;
};
using hba_field = std::vector<hba_word>;

/// Goes through a text line by line.
class hba_text {
public:
    explicit hba_text(std::string_view text) noexcept : rest_(text) {}

    /// The fields of the next line, none for an empty one; false at the end of the text.
    bool next(std::vector<hba_field>& fields);
    /// Of the line that was read last.
    std::size_t line() const noexcept { return line_; }
    /// Why it could not be read; mostly empty.
    const std::string& problem() const noexcept { return problem_; }

private:
    std::string take_line();

    std::string_view rest_;
    std::size_t line_ = 0;
    std::size_t following_ = 1;
    std::string problem_;
};

}  // namespace pgmend::config
