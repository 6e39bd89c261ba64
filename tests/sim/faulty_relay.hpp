#pragma once
// A subject that passes messages through, one server connection a client, and can be given one planted bug.
// It proves that each oracle convicts; without a bug it proves that a subject between client and server is
// not itself a fault.

#include <array>
#include <string_view>

#include "tests/sim/subject.hpp"

namespace pgmend::sim {

enum class planted_bug : std::uint8_t {
    none,
    drop_reply,         ///< now and then a CommandComplete is lost
    repeat_ready,       ///< now and then ReadyForQuery comes twice
    swap_replies,       ///< now and then a row goes to another client
    reorder,            ///< now and then two messages change places
    leak_parameter,     ///< a ParameterStatus goes to another client too
    lose_flush,         ///< Flush is not passed on
    ignore_budget,      ///< a server connection for each client, whatever the limit
    keep_session,       ///< the server connection of a client that left is kept as it is
    leave_timer,        ///< a timer is never cancelled
    misdirect_cancel,   ///< a cancel goes to another client's session
    write_twice,        ///< an UPDATE is sent twice, its second answer swallowed
    break_length,       ///< a length field is damaged
    hang_up,            ///< a healthy connection is closed
    spin,               ///< a stream stays armed for what nobody waits for
    lose_notification,  ///< notifications are not passed on
    leak_lease,         ///< the buffer of a client that left is not given back
    stay_down,          ///< after a server connection broke, nobody is served any more
    lose_cancel,        ///< cancels have a wrong key, as if each came too late: no rule forbids that
    roll_dice,          ///< behaves differently in each run of a process
    take_any_password,  ///< asks for one, and lets everybody in
    wait_for_rest,      ///< of a message that broke off inside its header: for ever
    follow_nobody,      ///< goes on to the server that was the primary once
    repeat_parameter,   ///< now and then a ParameterStatus comes twice
    share_key,          ///< BackendKeyData is another client's
    hide_notifier,      ///< notifications are everybody's but their own
};
inline constexpr std::size_t planted_bugs_count = static_cast<std::size_t>(planted_bug::hide_notifier) + 1;

std::string_view to_string(planted_bug which) noexcept;

std::unique_ptr<subject> make_faulty_relay(const subject_setup& setup, planted_bug bug);

}  // namespace pgmend::sim
