#include "config/auth_requirement.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgmend::config {

namespace {

constexpr std::array<std::pair<std::string_view, auth_kind>, 6> kinds{{
    {"none", auth_kind::none},
    {"password", auth_kind::password},
    {"md5", auth_kind::md5},
    {"scram-sha-256", auth_kind::scram_sha_256},
    {"gss", auth_kind::gss},
    {"sspi", auth_kind::sspi},
}};

}  // namespace

parsed<auth_requirement> parse_auth_requirement(std::string_view text) {
    using result = parsed<auth_requirement>;
    auth_requirement requirement;
    requirement.text = text;
    if (text.empty()) return result::of(std::move(requirement));
    const bool negated = text.starts_with('!');
    std::uint8_t named = 0;
    for (bool more = true; more;) {
        const std::size_t comma = text.find(',');
        std::string_view word = text.substr(0, comma);
        more = comma != text.npos;
        if (more) text.remove_prefix(comma + 1);
        if (word.starts_with('!') != negated) return result::failure("mixes methods with and without '!'");
        if (negated) word.remove_prefix(1);
        const auto* const kind = std::ranges::find(kinds, word, [](const auto& each) { return each.first; });
        if (kind == kinds.end()) return result::failure("names a method that is not known");
        const auto bit = static_cast<std::uint8_t>(kind->second);
        if ((named & bit) != 0) return result::failure("names a method twice");
        named = static_cast<std::uint8_t>(named | bit);
    }
    requirement.allowed = negated ? static_cast<std::uint8_t>(~named) : named;
    return result::of(std::move(requirement));
}

}  // namespace pgmend::config
