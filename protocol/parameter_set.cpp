#include "protocol/parameter_set.hpp"

#include <algorithm>

#include "protocol/session_change.hpp"
#include "protocol/statement_classifier.hpp"

namespace pgmend::protocol {

const std::string* parameter_set::find(std::string_view name) const noexcept {
    const auto it = values.find(name);
    return it == values.end() ? nullptr : &it->second;
}

const parameter_set* parameter_store::intern(parameter_map values) {
    if (const auto it = sets_.find(values); it != sets_.end()) return it->get();
    auto set = std::make_unique<parameter_set>();
    set->values = std::move(values);
    set->id = ++last_id_;
    if (const auto* value = set->find("standard_conforming_strings")) {
        set->standard_conforming_strings = *value == "on";
    }
    if (const auto* value = set->find("client_encoding"))
        set->ambiguous_encoding = is_ambiguous_encoding(*value);
    return sets_.insert(std::move(set)).first->get();
}

void parameter_store::sweep(const std::unordered_set<const parameter_set*>& live) {
    std::erase_if(sets_, [&](const auto& set) { return set.get() != empty_ && !live.contains(set.get()); });
    sweep_at_ = std::max(least_sweep, 2 * sets_.size());
}

const parameter_set* parameter_store::with(
    const parameter_set* base, std::string_view name, const std::string* value
) {
    const std::string* present = base->find(name);
    if ((present == nullptr && value == nullptr) ||
        (present != nullptr && value != nullptr && *present == *value)) {
        return base;
    }
    parameter_map values = base->values;
    if (value == nullptr) {
        values.erase(values.find(name));
    } else {
        values.insert_or_assign(std::string{name}, *value);
    }
    return intern(std::move(values));
}

parameter_difference difference(const parameter_set& from, const parameter_set& to) {
    parameter_difference result;
    for (const auto& [name, value] : from.values) {
        if (to.find(name) == nullptr) result.reset.push_back(name);
    }
    for (const auto& [name, value] : to.values) {
        const std::string* present = from.find(name);
        if (present == nullptr || *present != value) result.set.emplace_back(name, value);
    }
    return result;
}

bool names_statement_timeout(std::string_view name) noexcept {
    constexpr std::string_view wanted = "statement_timeout";
    return std::equal(name.begin(), name.end(), wanted.begin(), wanted.end(), [](char left, char right) {
        return (left >= 'A' && left <= 'Z' ? left + ('a' - 'A') : left) == right;
    });
}

std::string restore_script(const parameter_set& from, const parameter_set& to) {
    const parameter_difference change = difference(from, to);
    if (change.reset.empty() && change.set.empty()) return {};
    // The limit of either client may be shorter than what this takes. Its own, if it changes, comes last: it
    // holds from the next statement on.
    std::string script{unlimited};
    std::string limit;
    for (const auto& name : change.reset) {
        std::string& where = names_statement_timeout(name) ? limit : script;
        where += "RESET " + quote_identifier(name) + ';';
    }
    for (const auto& [name, value] : change.set) {
        std::string& where = names_statement_timeout(name) ? limit : script;
        // set_config takes the flat form that current_setting gave, also for lists such as search_path.
        where +=
            "SELECT pg_catalog.set_config(" + quote_literal(name) + ',' + quote_literal(value) + ",false);";
    }
    return script + limit;
}

}  // namespace pgmend::protocol
