#include "protocol/parameter_set.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "protocol/session_change.hpp"
#include "protocol/statement_classifier.hpp"

namespace pgmend::protocol {

namespace {

/// What `with` was asked lately: of many clients that come in, most ask the same. By the id of the set, which
/// no other has; each thread has stores of its own.
struct step {
    std::uint64_t base = 0;
    std::string name;
    std::string value;
    const parameter_set* result = nullptr;
};
struct steps {
    std::array<step, 8> lately;
    std::size_t oldest = 0;
};
thread_local steps known;
constexpr std::size_t longest_known = 128;

/// The first id of a store: the upper half is the store's own.
std::uint64_t first_id() noexcept {
    static std::atomic<std::uint64_t> stores{0};
    return stores.fetch_add(1, std::memory_order_relaxed) << 32;
}

}  // namespace

const std::string* parameter_set::find(std::string_view name) const noexcept {
    const auto it = values.find(name);
    return it == values.end() ? nullptr : &it->second;
}

const parameter_set* parameter_store::intern(parameter_map values) {
    if (const auto it = sets_.find(values); it != sets_.end()) return it->get();
    auto set = std::make_unique<parameter_set>();
    set->values = std::move(values);
    if (last_id_ == 0) last_id_ = first_id();
    set->id = ++last_id_;
    if (const auto* value = set->find("standard_conforming_strings")) {
        set->standard_conforming_strings = *value == "on";
    }
    if (const auto* value = set->find("client_encoding"))
        set->ambiguous_encoding = is_ambiguous_encoding(*value);
    return sets_.insert(std::move(set)).first->get();
}

void parameter_store::sweep(const std::unordered_set<const parameter_set*>& live) {
    known = {};
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
    if (value == nullptr) {
        parameter_map values = base->values;
        values.erase(values.find(name));
        return intern(std::move(values));
    }
    for (const step& one : known.lately) {
        if (one.base == base->id && one.name == name && one.value == *value) return one.result;
    }
    parameter_map values = base->values;
    values.insert_or_assign(std::string{name}, *value);
    const parameter_set* result = intern(std::move(values));
    if (name.size() + value->size() <= longest_known) {
        known.lately[known.oldest] = {base->id, std::string{name}, *value, result};
        known.oldest = (known.oldest + 1) % known.lately.size();
    }
    return result;
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
    // A role may not set all that the login may: parameters change between the old one and the new one.
    constexpr std::string_view role = "role";
    std::string role_last;
    if (from.find(role) != nullptr) script += "RESET \"role\";";
    if (const std::string* wanted = to.find(role); wanted != nullptr)
        role_last = "SELECT pg_catalog.set_config('role'," + quote_literal(*wanted) + ",false);";
    for (const auto& name : change.reset) {
        if (name == role) continue;
        std::string& where = names_statement_timeout(name) ? limit : script;
        where += "RESET " + quote_identifier(name) + ';';
    }
    for (const auto& [name, value] : change.set) {
        if (name == role) continue;
        std::string& where = names_statement_timeout(name) ? limit : script;
        // set_config takes the flat form that current_setting gave, also for lists such as search_path.
        where +=
            "SELECT pg_catalog.set_config(" + quote_literal(name) + ',' + quote_literal(value) + ",false);";
    }
    return script + role_last + limit;
}

}  // namespace pgmend::protocol
