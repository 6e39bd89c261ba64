#include "config/ident_map.hpp"

#include <regex.h>

#include <array>

#include "config/hba_words.hpp"

namespace pgmend::config {

namespace {
/// A name in a certificate is shorter; a pattern's work grows with it.
constexpr std::size_t longest_name = 1024;
}  // namespace

/// A POSIX extended regular expression; PostgreSQL's own are advanced ones, which read simple ones alike.
struct ident_map::pattern {
    explicit pattern(const std::string& text) : good(::regcomp(&compiled, text.c_str(), REG_EXTENDED) == 0) {}
    pattern(const pattern&) = delete;
    pattern& operator=(const pattern&) = delete;
    ~pattern() {
        if (good) ::regfree(&compiled);
    }
    regex_t compiled{};
    bool good;
};

bool ident_map::allows(std::string_view map, const std::string& name, std::string_view user) const {
    if (name.empty() || name.size() > longest_name) return false;
    if (map.empty()) return name == user;
    for (const entry& each : entries_) {
        if (each.map != map) continue;
        if (!each.matcher) {
            if (each.name == name && each.user == user) return true;
            continue;
        }
        std::array<regmatch_t, 2> groups{};
        if (::regexec(&each.matcher->compiled, name.c_str(), groups.size(), groups.data(), 0) != 0) continue;
        std::string wanted = each.user;
        if (const std::size_t at = wanted.find("\\1"); at != std::string::npos) {
            if (groups[1].rm_so < 0) continue;
            const auto begin = static_cast<std::size_t>(groups[1].rm_so);
            wanted.replace(at, 2, name, begin, static_cast<std::size_t>(groups[1].rm_eo) - begin);
        }
        if (wanted == user) return true;
    }
    return false;
}

parsed<ident_map> parse_ident_map(std::string_view text) {
    using result = parsed<ident_map>;
    ident_map map;
    hba_text lines(text);
    std::vector<hba_field> fields;
    while (lines.next(fields)) {
        if (!lines.problem().empty()) return result::failure(lines.problem());
        if (fields.empty()) continue;
        bool good = fields.size() == 3;
        for (const hba_field& field : fields)
            good = good && field.size() == 1;
        if (!good)
            return result::failure(hba_problem(fields[0][0].at, "this is not a map, a name and a user"));
        ident_map::entry entry;
        entry.map = fields[0][0].text;
        entry.name = fields[1][0].text;
        entry.user = fields[2][0].text;
        if (entry.name.starts_with('/')) {
            entry.matcher = std::make_shared<const ident_map::pattern>(entry.name.substr(1));
            if (!entry.matcher->good)
                return result::failure(hba_problem(fields[1][0].at, "this is a pattern that is none"));
        }
        map.add(std::move(entry));
    }
    return result::of(std::move(map));
}

}  // namespace pgmend::config
