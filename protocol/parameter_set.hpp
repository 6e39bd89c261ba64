#pragma once
// Interned sets of parameters: two sessions with equal settings hold the same pointer, so that "is this
// server set up for this client" is one comparison. One worker thread; sets live as long as their store.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace pgmend::protocol {

using parameter_map = std::map<std::string, std::string, std::less<>>;

struct parameter_set {
    parameter_map values;
    std::uint64_t id = 0;  ///< never given twice by one store
    /// Facts the scanner needs, derived once: HEALING section 3.
    bool standard_conforming_strings = true;
    bool ambiguous_encoding = false;

    /// Null when the set does not say.
    const std::string* find(std::string_view name) const noexcept;
};

/// The names differ in what they do to `from` to make it `to`.
struct parameter_difference {
    std::vector<std::string> reset;                        ///< in `from` only
    std::vector<std::pair<std::string, std::string>> set;  ///< new or different in `to`
};

class parameter_store {
public:
    parameter_store() { empty_ = intern({}); }
    const parameter_set* empty() const noexcept { return empty_; }
    const parameter_set* intern(parameter_map values);
    /// The set `base` with one value changed; `value` null takes the name out.
    const parameter_set* with(const parameter_set* base, std::string_view name, const std::string* value);
    std::size_t size() const noexcept { return sets_.size(); }
    /// Many sets were made since the last sweep; most of them may be out of use.
    bool wants_sweep() const noexcept { return sets_.size() >= sweep_at_; }
    /// Forgets all sets but the empty one and those in `live`.
    void sweep(const std::unordered_set<const parameter_set*>& live);

private:
    struct by_values {
        using is_transparent = void;
        bool operator()(const std::unique_ptr<parameter_set>& a, const std::unique_ptr<parameter_set>& b)
            const {
            return a->values < b->values;
        }
        bool operator()(const std::unique_ptr<parameter_set>& a, const parameter_map& b) const {
            return a->values < b;
        }
        bool operator()(const parameter_map& a, const std::unique_ptr<parameter_set>& b) const {
            return a < b->values;
        }
    };
    static constexpr std::size_t least_sweep = 1024;

    std::set<std::unique_ptr<parameter_set>, by_values> sets_;
    const parameter_set* empty_;
    std::uint64_t last_id_ = 0;
    std::size_t sweep_at_ = least_sweep;
};

parameter_difference difference(const parameter_set& from, const parameter_set& to);

/// In front of other statements of one simple query: they take as long as they take, and the session's own
/// limit holds again behind them.
inline constexpr std::string_view unlimited = "SET LOCAL statement_timeout=0;";
/// Whether this is the name of that limit, in whatever case.
bool names_statement_timeout(std::string_view name) noexcept;

/// The statements that turn a server from one set to another, as one simple query; empty when nothing
/// differs.
std::string restore_script(const parameter_set& from, const parameter_set& to);

}  // namespace pgmend::protocol
