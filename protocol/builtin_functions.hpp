#pragma once
// What is known of PostgreSQL's own functions: that they are PostgreSQL's, that they may be called again, and
// what of them outlives the statement. Names come from pg_proc (tests/support/builtin_functions.py); effects
// are listed by hand in the .cpp, because no catalog knows them. Pure; any thread.

#include "protocol/statement_traits.hpp"

#include <string_view>

namespace pgmend::protocol {

struct builtin_function {
    /// Effects of a call. `unknown_function` for names that are not PostgreSQL's, and for those of
    /// PostgreSQL's that run SQL handed to them as text.
    session_effect effects = session_effect::unknown_function;
    /// A call may be repeated: it changes nothing, anywhere.
    bool read_only = false;
};

/// `schema` is empty for an unqualified name. Names as PostgreSQL folds them.
builtin_function find_builtin_function(std::string_view schema, std::string_view name) noexcept;

/// Effects by which a function changes its session beyond the transaction, or may do anything.
inline constexpr session_effect hiding_effects = session_effect::calls_set_config | session_effect::seed |
                                                 session_effect::advisory_lock |
                                                 session_effect::unknown_function;

/// Effects by which a function does what cannot be done a second time, though its session is as before.
inline constexpr session_effect beyond_effects =
    session_effect::outside_effects | session_effect::transaction_lock;

/// Whether PostgreSQL has a function of that name itself.
bool is_builtin_function(std::string_view name) noexcept;

/// Calls `take` with every name of PostgreSQL's own that is volatile in some overload.
template <class Take>
void for_each_volatile_builtin(Take&& take);

/// Sorted (C collation), each name between two blanks. Calm: immutable or stable in every overload.
extern const std::string_view builtin_calm_names;
extern const std::string_view builtin_volatile_names;

template <class Take>
void for_each_volatile_builtin(Take&& take) {
    const std::string_view names = builtin_volatile_names;
    for (std::size_t begin = 1; begin < names.size();) {
        const std::size_t end = names.find(' ', begin);
        take(names.substr(begin, end - begin));
        begin = end + 1;
    }
}

}  // namespace pgmend::protocol
