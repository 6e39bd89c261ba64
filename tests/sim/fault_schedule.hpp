#pragma once
// A run as data: the network's traits, the clients, and what breaks when. Drawn from a seed, printed as text,
// read back from text, and made smaller. A schedule alone decides everything that happens in its run. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/knobs.hpp"
#include "tests/sim/sim_client.hpp"
#include "tests/sim/sim_network.hpp"

namespace pgmend::sim {

enum class fault_kind : std::uint8_t {
    cut,        ///< a connection is reset or closed, after some more bytes
    stall,      ///< a direction delivers nothing for a while
    slow,       ///< a direction is throttled for a while
    refuse,     ///< nobody listens on the server's port for a while
    hang,       ///< connections to the server do not open for a while
    restart,    ///< the server shuts down in order and is back after a while
    crash,      ///< the same without a word
    terminate,  ///< one server session is ended by an administrator
    read_only,  ///< the server's configuration says for a while that transactions only read
    half_open,  ///< a connection delivers nothing in either direction, and is reset after a while
    drain,    ///< the subject's process gets SIGTERM, a new one takes new clients; after a while it is killed
    promote,  ///< the primary dies, its standby takes over, and after `bytes` microseconds that is known
    deny,     ///< the server refuses every login for a while, as with a wrong password
};

std::string_view to_string(fault_kind which) noexcept;

struct fault {
    std::uint32_t at_us = 0;
    fault_kind kind = fault_kind::cut;
    link_group group = link_group::server;
    std::uint32_t pick = 0;  ///< which living link or session, modulo their number
    end_side toward = end_side::opener;
    std::uint32_t bytes = 0;  ///< cut: after so many more; slow: so many a second
    std::uint32_t for_us = 0;
    cut_kind how = cut_kind::reset;
    /// Instead of a living link: the one of the group that is the `nth` to be opened, from its first byte on,
    /// whenever that is. Only for `cut` and `stall`; `at_us` says nothing then.
    std::uint32_t nth = 0;

    /// From its moment on it can cost somebody a connection, so that errors may be its consequence. A cut
    /// and a half open connection do so when it comes to it.
    bool disrupts() const noexcept {
        return kind != fault_kind::stall && kind != fault_kind::slow && kind != fault_kind::cut &&
               kind != fault_kind::half_open;
    }
    std::uint32_t end_us() const noexcept { return at_us + for_us; }
};

struct fault_schedule {
    std::uint64_t seed = 0;
    std::uint32_t latency_us = 50;
    std::uint32_t jitter_us = 0;
    std::uint32_t buffer = 65536;
    std::uint32_t fragment = 0;
    bool shuffle = false;
    std::uint32_t server_connections = 4;
    bool standby = false;  ///< there is a second server, which can be promoted
    std::vector<client_plan> clients;
    std::vector<fault> faults;
    std::vector<setting_change> settings;
    /// Of a scenario: marks that its run must reach, or it is no longer about what it was written for.
    std::vector<std::string> expected;

    link_traits traits() const;
    /// The moment from which every fault is over.
    std::uint32_t healed_us() const noexcept;
};

fault_schedule draw_schedule(std::uint64_t seed);
std::string to_text(const fault_schedule& schedule);
/// Nothing when the text is not one; `problem` then names the line.
std::optional<fault_schedule> schedule_from_text(const std::string& text, std::string& problem);

}  // namespace pgmend::sim
