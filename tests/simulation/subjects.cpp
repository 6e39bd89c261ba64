#include "tests/simulation/subjects.hpp"

#include <array>
#include <utility>

namespace pgmend::sim {

namespace {

using maker = std::unique_ptr<subject> (*)(const subject_setup&);

constexpr std::array<std::pair<std::string_view, maker>, 1> subjects = {{
    {"direct", &make_direct_subject},
}};

}  // namespace

std::optional<subject_factory> find_subject(std::string_view name) {
    for (const auto& [known, make] : subjects) {
        if (known == name) return subject_factory(make);
    }
    return std::nullopt;
}

std::string subject_names() {
    std::string names;
    for (const auto& [known, make] : subjects)
        names += (names.empty() ? "" : "|") + std::string(known);
    return names;
}

}  // namespace pgmend::sim
