#pragma once
// The rules a run must keep, and the record of the first one that was broken. Pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgmend::sim {

enum class oracle : std::uint8_t {
    crossed_reply,     ///< a client was sent what belongs to another one
    wrong_reply,       ///< an answer differs from PostgreSQL's, or comes in another order
    unexpected_reply,  ///< an answer nobody asked for: given twice, or invented
    parameter_leak,    ///< reported parameters differ from what this client's session has
    notification,      ///< a notification was lost, doubled or invented
    foreign_cancel,    ///< a cancel reached a statement it was not meant for
    broken_framing,    ///< bytes that are no message
    lost_connection,   ///< closed, though nothing had gone wrong
    admitted,          ///< somebody came in with a wrong password
    liveness,          ///< a client waits although every fault has healed
    budget,            ///< more server connections than allowed
    atomicity,         ///< rows differ from what the clients were told
    leftover,          ///< something of a client, a connection or a timer outlived the run
    spinning,          ///< the loop is woken without end for nothing
    nondeterminism,    ///< the same seed gave another run
    scenario,          ///< the run of a scenario did not reach what it was written for
};

inline constexpr std::size_t oracles_count = static_cast<std::size_t>(oracle::scenario) + 1;

std::string_view to_string(oracle which) noexcept;

struct violation {
    oracle which;
    std::string text;
};

/// Keeps the first violation; what follows it is usually its consequence.
class judge {
public:
    void convict(oracle which, std::string text) {
        if (!first_) first_ = violation{which, std::move(text)};
    }
    bool convicted() const noexcept { return first_.has_value(); }
    const std::optional<violation>& first() const noexcept { return first_; }

private:
    std::optional<violation> first_;
};

}  // namespace pgmend::sim
