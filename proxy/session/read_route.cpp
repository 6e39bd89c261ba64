#include "proxy/session/read_route.hpp"

#include <algorithm>
#include <array>

namespace pgmend::proxy {

using protocol::session_effect;
using protocol::statement_kind;

namespace {

/// Words that stand in a question to the server itself: a standby is another process, has other statistics,
/// locks and settings, and is ahead of sequences, whose numbers it gets by the dozen.
constexpr std::array<std::string_view, 7> words_about_servers{
    "pg_", "inet_", "txid_", "current_setting", "last_value", "is_called", "log_cnt"};

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool speaks_of_servers(std::string_view text) noexcept {
    return std::ranges::any_of(words_about_servers, [text](std::string_view word) {
        const auto same = [](char a, char b) { return lower(a) == b; };
        return std::search(text.begin(), text.end(), word.begin(), word.end(), same) != text.end();
    });
}

}  // namespace

std::optional<read_route> what_keeps_at_primary(
    const protocol::statement_traits& traits, std::string_view text
) noexcept {
    if (traits.multiple) return read_route::not_alone;
    const bool select = traits.kind == statement_kind::select || traits.kind == statement_kind::values;
    const bool only_reads = select && traits.read_only && !traits.locks_rows && !traits.cannot_run_in_block &&
                            traits.control == protocol::transaction_control::none &&
                            !protocol::has(traits.effects, ~session_effect::special_literal);
    if (!only_reads) return read_route::not_a_read;
    if (speaks_of_servers(text)) return read_route::about_server;
    return std::nullopt;
}

std::optional<read_route> route_of(const read_facts& facts) noexcept {
    using config::read_mode;
    if (facts.mode == read_mode::primary) return std::nullopt;
    if (facts.mode == read_mode::prefer_primary && facts.primary_there) return std::nullopt;
    if (facts.front) return facts.front;
    if (!facts.plain_session) return read_route::session_state;
    if (!facts.judged) return read_route::not_judged;
    // What a standby answers with an error, the primary may do; a loss says nothing of other standbys.
    if (facts.refused || (facts.lost && facts.primary_there)) return read_route::standby_failed;
    if (facts.standbys == standby_state::none) return read_route::no_standby;
    if (facts.standbys == standby_state::lagging) return read_route::lagging;
    if (!facts.caught_up) return read_route::own_write;
    return facts.primary_there ? read_route::standby : read_route::no_primary;
}

}  // namespace pgmend::proxy
