#include "tests/sim/oracle.hpp"

namespace pgmend::sim {

std::string_view to_string(oracle which) noexcept {
    switch (which) {
        case oracle::crossed_reply:
            return "crossed_reply";
        case oracle::wrong_reply:
            return "wrong_reply";
        case oracle::unexpected_reply:
            return "unexpected_reply";
        case oracle::parameter_leak:
            return "parameter_leak";
        case oracle::notification:
            return "notification";
        case oracle::foreign_cancel:
            return "foreign_cancel";
        case oracle::broken_framing:
            return "broken_framing";
        case oracle::lost_connection:
            return "lost_connection";
        case oracle::admitted:
            return "admitted";
        case oracle::liveness:
            return "liveness";
        case oracle::budget:
            return "budget";
        case oracle::atomicity:
            return "atomicity";
        case oracle::leftover:
            return "leftover";
        case oracle::spinning:
            return "spinning";
        case oracle::nondeterminism:
            return "nondeterminism";
        case oracle::scenario:
            return "scenario";
    }
    return "unknown";
}

}  // namespace pgmend::sim
