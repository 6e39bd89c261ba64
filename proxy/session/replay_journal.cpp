#include "proxy/session/replay_journal.hpp"

#include <array>

namespace pgmend::proxy {

using protocol::has;
using protocol::session_effect;
using protocol::transaction_control;

namespace {

struct effect_hazard {
    session_effect effects;
    replay_hindrance why;
};
/// The plainest reason first: most of these bring others with them.
constexpr std::array<effect_hazard, 7> effect_hazards{{
    {session_effect::unknown, replay_hindrance::unknown_statement},
    {session_effect::outside_effects | session_effect::load | session_effect::hidden_beyond,
     replay_hindrance::outside_effects},
    {session_effect::advisory_lock | session_effect::advisory_unlock | session_effect::transaction_lock,
     replay_hindrance::advisory_lock},
    {session_effect::call | session_effect::do_block, replay_hindrance::procedure},
    {session_effect::sql_prepare | session_effect::sql_execute | session_effect::sql_deallocate |
         session_effect::discard,
     replay_hindrance::sql_statements},
    {session_effect::listen | session_effect::unlisten, replay_hindrance::listening},
    {session_effect::unknown_function | session_effect::seed, replay_hindrance::unknown_function},
}};

void set_name(client_statements& names, const name_journal::belief& now) {
    if (now.first == nullptr) {
        names.unnamed = now.second;
    } else {
        names.restore(*now.first, now.second);
    }
}

}  // namespace

std::optional<replay_hindrance> hazard_of(const protocol::statement_traits& traits) noexcept {
    for (const auto& [effects, why] : effect_hazards) {
        if (has(traits.effects, effects)) return why;
    }
    if (has(traits.control, transaction_control::prepare | transaction_control::prepared))
        return replay_hindrance::two_phase;
    if (traits.cannot_run_in_block) return replay_hindrance::not_in_block;
    if (has(traits.control, transaction_control::hidden)) return replay_hindrance::unknown_statement;
    return std::nullopt;
}

std::optional<replay_hindrance> what_hinders(const replay_facts& facts) noexcept {
    if (!facts.wanted) return replay_hindrance::switched_off;
    if (facts.entered_failed) return replay_hindrance::entered_failed;
    if (facts.state_kept) return replay_hindrance::pinned;
    if (facts.hazard) return facts.hazard;
    if (facts.commit_sent) return replay_hindrance::commit_sent;
    if (facts.wrote_outside) return replay_hindrance::wrote_outside;
    if (!facts.whole_record || facts.bytes > facts.most_bytes) return replay_hindrance::not_recorded;
    if (!facts.whole_digest) return replay_hindrance::pipelined;
    if (facts.statements > facts.most_statements) return replay_hindrance::too_many;
    if (facts.age > facts.most_age) return replay_hindrance::too_old;
    return std::nullopt;
}

std::vector<name_journal::belief> name_journal::now(const client_statements& names) const {
    std::vector<belief> now;
    if (!changes_) return now;
    now.reserve(changes_->before.size());
    for (const auto& [entry, before] : changes_->before) {
        now.emplace_back(entry, entry == nullptr ? names.unnamed : entry->statement);
    }
    return now;
}

std::vector<name_journal::belief> name_journal::rewind(client_statements& names) {
    std::vector<belief> now = this->now(names);
    if (!changes_) return now;
    for (auto latest = changes_->before.rbegin(); latest != changes_->before.rend(); ++latest) {
        set_name(names, *latest);
    }
    clear();
    return now;
}

void believe(client_statements& names, std::vector<name_journal::belief> beliefs) {
    for (const auto& each : beliefs) {
        set_name(names, each);
    }
}

}  // namespace pgmend::proxy
