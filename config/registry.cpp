#include "config/registry.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <set>

#include "config/spelling.hpp"

namespace pgmend::config {

namespace {

/// Every name that may be written: `pool` and `pool.size` for the setting pool.size.
std::set<std::string, std::less<>> names_of(const std::vector<setting_base*>& all) {
    std::set<std::string, std::less<>> names;
    for (const setting_base* setting : all) {
        const std::string_view key = setting->key();
        names.emplace(key);
        for (std::size_t dot = key.find('.'); dot != key.npos; dot = key.find('.', dot + 1))
            names.emplace(key.substr(0, dot));
    }
    return names;
}

}  // namespace

std::string_view word_of(reload_class reload) {
    switch (reload) {
        case reload_class::live:
            return "live";
        case reload_class::new_sessions:
            return "new sessions";
        case reload_class::restart:
            return "restart";
    }
    return {};
}

std::string_view word_of(value_source source) {
    switch (source) {
        case value_source::built_in:
            return "default";
        case value_source::database_url:
            return "DATABASE_URL";
        case value_source::file:
            return "file";
        case value_source::environment:
            return "environment";
        case value_source::console:
            return "console";
    }
    return {};
}

setting_base::setting_base(
    section* parent, std::string_view key, reload_class reload, std::string_view doc, secrecy kept
)
    : key_(key), doc_(doc), reload_(reload), secrecy_(kept) {
    parent->owner()->add(this);
}

std::string setting_base::environment_name() const {
    std::string name = "PGMEND_";
    for (const char each : key_)
        name += each == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(each)));
    return name;
}

setting_base* registry::find(std::string_view key) const noexcept {
    const auto found = std::ranges::find(all_, key, &setting_base::key);
    return found == all_.end() ? nullptr : *found;
}

bool registry::is_section(std::string_view key) const noexcept {
    return std::ranges::any_of(all_, [key](const setting_base* setting) {
        const std::string_view name = setting->key();
        return name.size() > key.size() && name.starts_with(key) && name[key.size()] == '.';
    });
}

std::string registry::nearest(std::string_view key) const {
    // A key of absurd length is nobody's misspelling, and the table below is quadratic.
    if (key.size() > 64) return {};
    const std::string_view last = key.substr(key.rfind('.') + 1);
    std::string best;
    // What is farther away is not suggested; two texts are at least as far apart as their lengths.
    std::size_t best_distance = std::max<std::size_t>(2, last.size() / 3) + 1;
    for (const std::string& name : names_of(all_)) {
        // The right word in the wrong section is as likely as a slip of the finger.
        const bool elsewhere = std::string_view(name).substr(name.rfind('.') + 1) == last;
        const std::size_t apart = std::max(name.size(), key.size()) - std::min(name.size(), key.size());
        std::size_t distance = apart < best_distance ? edit_distance(key, name) : apart;
        if (elsewhere) distance = std::min<std::size_t>(distance, 2);
        if (distance < best_distance) {
            best_distance = distance;
            best = name;
        }
    }
    return best;
}

}  // namespace pgmend::config
