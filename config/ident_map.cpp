#include "config/ident_map.hpp"

#include <boost/regex.hpp>
#include <stdexcept>

#include "config/hba_words.hpp"

namespace pgmend::config {

namespace {
/// A name in a certificate is shorter; a pattern's work grows with it.
constexpr std::size_t longest_name = 1024;
}  // namespace

/// Perl's syntax is the nearest to PostgreSQL's advanced regular expressions that a library reads. This one
/// bounds the work and the memory of a match; the C library's takes all there is for `a++++`.
struct ident_map::pattern {
    explicit pattern(const std::string& text)
        : compiled(text, boost::regex::perl | boost::regex::no_except) {}
    bool good() const { return compiled.status() == 0; }
    bool matches(const std::string& name, boost::smatch& groups) const {
        try {
            return boost::regex_search(name, groups, compiled);
        } catch (const std::runtime_error&) {
            return false;  // too much work
        }
    }
    boost::regex compiled;
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
        boost::smatch groups;
        if (!each.matcher->matches(name, groups)) continue;
        std::string wanted = each.user;
        if (const std::size_t at = wanted.find("\\1"); at != std::string::npos) {
            if (!groups[1].matched) continue;
            wanted.replace(at, 2, groups[1].str());
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
            if (!entry.matcher->good())
                return result::failure(hba_problem(fields[1][0].at, "this is a pattern that is none"));
        }
        map.add(std::move(entry));
    }
    return result::of(std::move(map));
}

}  // namespace pgmend::config
