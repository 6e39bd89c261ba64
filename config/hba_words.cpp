#include "config/hba_words.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t longest_line = 16 * 1024;

bool blank(char each) { return each == ' ' || each == '\t' || each == '\r'; }

/// Takes one word off the front of `line`; false when a quote is left open.
bool take_word(std::string_view& line, hba_word& word) {
    bool inside = false;
    std::size_t at = 0;
    for (; at < line.size(); ++at) {
        const char each = line[at];
        if (!inside && (blank(each) || each == ',' || each == '#')) break;
        if (each != '"') {
            word.text += each;
            continue;
        }
        // A doubled quote within quotes stands for itself.
        if (inside && at + 1 < line.size() && line[at + 1] == '"') {
            word.text += '"';
            ++at;
            continue;
        }
        inside = !inside;
        word.quoted = true;
    }
    line.remove_prefix(at);
    return !inside;
}

}  // namespace

std::string hba_problem(position at, std::string_view text) {
    return std::to_string(at.line) + ":" + std::to_string(at.column) + ": " + std::string(text);
}

position hba_text::place_of(std::size_t offset) const noexcept {
    seam last{0, following_};
    for (const seam& each : seams_) {
        if (each.offset <= offset) last = each;
    }
    return {last.line, offset - last.offset + 1};
}

/// With the lines that a backslash at the end joins to it.
std::string hba_text::take_line() {
    seams_.clear();
    std::string whole;
    for (bool more = true; more && !rest_.empty();) {
        const std::size_t end = rest_.find('\n');
        std::string_view line = rest_.substr(0, end);
        rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
        seams_.push_back({whole.size(), following_++});
        if (line.ends_with('\r')) line.remove_suffix(1);
        more = line.ends_with('\\');
        if (more) line.remove_suffix(1);
        whole += line;
    }
    return whole;
}

bool hba_text::next(std::vector<hba_field>& fields) {
    fields.clear();
    problem_.clear();
    if (rest_.empty()) return false;
    const std::string whole = take_line();
    if (whole.size() > longest_line || whole.find('\0') != std::string::npos) {
        problem_ = hba_problem(place_of(0), "the line is too long or has a NUL character");
        return true;
    }
    std::string_view line = whole;
    bool joined = false;  // the last word was followed by a comma
    for (;;) {
        while (!line.empty() && blank(line.front()))
            line.remove_prefix(1);
        if (line.empty() || line.front() == '#') break;
        if (line.front() == ',') {
            joined = !fields.empty();
            line.remove_prefix(1);
            continue;
        }
        hba_word word;
        word.at = place_of(whole.size() - line.size());
        if (!take_word(line, word)) {
            problem_ = hba_problem(word.at, "the line has a quote without an end");
            return true;
        }
        if (!joined) fields.emplace_back();
        fields.back().push_back(std::move(word));
        // Blanks may stand behind a comma, not before it.
        joined = line.starts_with(',');
        if (joined) line.remove_prefix(1);
    }
    return true;
}

}  // namespace pgmend::config
