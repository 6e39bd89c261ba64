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

std::string restore_script(const parameter_set& from, const parameter_set& to) {
    const parameter_difference change = difference(from, to);
    std::string script;
    for (const auto& name : change.reset) {
        script += "RESET " + quote_identifier(name) + ';';
    }
    for (const auto& [name, value] : change.set) {
        // set_config takes the flat form that current_setting gave, also for lists such as search_path.
        script +=
            "SELECT pg_catalog.set_config(" + quote_literal(name) + ',' + quote_literal(value) + ",false);";
    }
    return script;
}

}  // namespace pgmend::protocol
