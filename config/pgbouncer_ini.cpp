#include "config/pgbouncer_ini.hpp"

#include <algorithm>

namespace pgmend::config {

namespace {

constexpr std::string_view blanks = " \t\r";

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

ini_result parse_ini(std::string_view text) {
    ini_result result;
    std::size_t number = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        ++number;
        if (line.empty() || line.front() == ';' || line.front() == '#') continue;
        const auto fail = [&result, number](std::string_view what) {
            result.errors.push_back("line " + std::to_string(number) + ": " + std::string(what));
        };
        if (line.front() == '[') {
            if (line.back() != ']') {
                fail("the name of a section has no closing bracket");
            } else {
                result.sections.push_back({std::string(line.substr(1, line.size() - 2)), {}});
            }
            continue;
        }
        if (line.starts_with("%include")) {
            fail("%include is not followed: give the file that it names as well, or paste it in");
            continue;
        }
        const std::size_t equals = line.find('=');
        if (equals == line.npos || result.sections.empty()) {
            fail(equals == line.npos ? "is no key = value" : "stands in no section");
            continue;
        }
        result.sections.back().entries.push_back(
            {std::string(trimmed(line.substr(0, equals))), std::string(trimmed(line.substr(equals + 1))),
             number}
        );
    }
    return result;
}

bool parse_ini_words(std::string_view text, std::vector<std::pair<std::string, std::string>>& words) {
    for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
        const std::size_t equals = text.find('=');
        if (equals == text.npos) return false;
        const std::string key(trimmed(text.substr(0, equals)));
        text = trimmed(text.substr(equals + 1));
        std::string value;
        if (text.starts_with('\'')) {
            std::size_t at = 1;
            for (; at < text.size(); ++at) {
                if (text[at] != '\'') {
                    value += text[at];
                } else if (at + 1 < text.size() && text[at + 1] == '\'') {
                    value += text[at++];
                } else {
                    break;
                }
            }
            if (at >= text.size()) return false;
            text.remove_prefix(at + 1);
        } else {
            const std::size_t end = std::min(text.find_first_of(blanks), text.size());
            value = text.substr(0, end);
            text.remove_prefix(end);
        }
        words.emplace_back(key, std::move(value));
    }
    return true;
}

}  // namespace pgmend::config
