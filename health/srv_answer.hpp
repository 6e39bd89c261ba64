#pragma once
// What DNS says when it is asked for SRV records (RFC 2782): a message from the network, read with all that
// implies, and the servers it names in the order in which they are to be tried. Pure.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "health/server_directory.hpp"

namespace pgmend::health {

struct srv_record {
    std::string host;
    std::uint16_t port = 0;
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
    bool operator==(const srv_record&) const = default;
};

struct srv_answer {
    std::vector<srv_record> records;  ///< as they came; at least one where there is no problem
    std::uint32_t ttl = 0;            ///< the shortest of theirs, in seconds
    std::string problem;              ///< why nothing of it is taken; empty: it is good
};

/// More records than this are a mistake or worse.
inline constexpr std::size_t most_srv_records = 64;

/// A whole message, as a resolver hands it over. One record that cannot be read spoils all of it.
srv_answer read_srv_answer(std::span<const std::byte> message);

/// By priority, and among equals by weight: at random in that proportion, and with one `seed` always alike,
/// so that a list that did not change stays in its order.
named_list servers_in_order(std::vector<srv_record> records, std::uint64_t seed);

}  // namespace pgmend::health
