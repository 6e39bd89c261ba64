#pragma once
// Who names the servers, and what becomes of asking. Part of metrics.hpp.

#include <array>
#include <cstdint>
#include <string_view>

namespace pgmend::config::metrics {

/// Where it is said that a server is there.
enum class server_source : std::uint8_t {
    configured,  ///< upstream.servers, or a connection URL
    srv,         ///< DNS, by upstream.srv
    patroni,     ///< Patroni's REST API, by upstream.patroni
};
inline constexpr std::array<std::string_view, 3> server_source_words{"configured", "srv", "patroni"};
constexpr const auto& label_words(server_source) { return server_source_words; }

/// What became of asking for a list of servers.
enum class list_result : std::uint8_t {
    ok,
    failed,   ///< no answer, or that it cannot be told now
    refused,  ///< an answer that cannot be taken: the servers stay those of the last good one
};
inline constexpr std::array<std::string_view, 3> list_result_words{"ok", "failed", "refused"};
constexpr const auto& label_words(list_result) { return list_result_words; }

}  // namespace pgmend::config::metrics
