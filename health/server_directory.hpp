#pragma once
// Which servers there are when a list that changes (DNS, Patroni) names them. Each has a place, the number by
// which everybody knows it, and keeps it as long as anybody may still have to do with it. A list is a hint: a
// primary that works keeps its place until another one has been elected, whatever lists say. Pure: the time
// is an argument. Control thread.

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "config/upstreams.hpp"

namespace pgmend::health {

struct topology;
using config::metrics::server_source;

enum class presence : std::uint8_t {
    listed,
    leaving,  ///< no longer named: gets nothing new, and is looked at for a while, or while it is the primary
    gone,     ///< nobody looks at it; its place may be given to another server
};

inline constexpr std::array<std::string_view, 3> presence_words{"listed", "leaving", "gone"};
constexpr std::string_view presence_word(presence here) noexcept {
    return presence_words[static_cast<std::size_t>(here)];
}

/// A server as a list has it; all but the address are hints.
struct named_server {
    config::server_address address;
    std::string said;     ///< what it is, in the list's words; may be empty
    bool leader = false;  ///< the list takes it for the primary
    bool behind = false;  ///< it is not for clients that want a standby
    bool operator==(const named_server&) const = default;
};
using named_list = std::vector<named_server>;

struct known_server {
    config::server_address address;
    server_source source = server_source::configured;
    presence here = presence::listed;
    std::uint32_t rank = 0;  ///< of those listed: which is tried first
    std::string said;        ///< of those listed, as in named_server
    bool leader = false;     ///< the same
    bool behind = false;     ///< the same
    bool operator==(const known_server&) const = default;
};
/// By place.
using server_roster = std::vector<known_server>;
using roster_snapshot = std::shared_ptr<const server_roster>;

class server_directory {
public:
    static constexpr std::size_t most_listed = 64;
    static constexpr std::size_t most_places = 128;
    /// How long one that is no longer named is looked at, and how long its place is not given away then.
    static constexpr config::duration farewell = std::chrono::minutes{1};
    static constexpr config::duration mourning = std::chrono::minutes{10};

    /// `configured` are those known until a list has been heard.
    explicit server_directory(const config::server_list& configured);

    /// By place; another one after each change.
    const roster_snapshot& roster() const noexcept { return roster_; }
    /// A list that has come, best first; at least one server. True: the roster is new.
    bool heard(server_source from, const named_list& named, config::time_point now);
    /// Time has passed, or the picture has changed. True: the roster is new.
    bool settle(const topology& picture, config::time_point now);
    /// Servers of the last list that found no place.
    std::size_t refused() const noexcept { return refused_; }

private:
    struct entry {
        known_server server;
        config::time_point since{};  ///< it is leaving, or gone
    };
    entry* place_for(const config::server_address& address, config::time_point now);
    bool publish();

    std::vector<entry> places_;
    roster_snapshot roster_;
    std::size_t refused_ = 0;
};

}  // namespace pgmend::health
