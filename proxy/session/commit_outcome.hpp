#pragma once
// What became of a transaction whose answer to COMMIT was lost (HEALING section 7): what the server is asked,
// and what follows from what it says. Decides and does nothing. Pure.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/metrics.hpp"
#include "health/wal_record.hpp"
#include "pool/commit_evidence.hpp"

namespace pgmend::proxy {

using config::metrics::outcome_reason;

enum class commit_outcome : std::uint8_t { committed, not_committed, unknown };
inline constexpr std::array<std::string_view, 3> commit_outcome_words{
    "committed", "not_committed", "unknown"};
constexpr const auto& label_words(commit_outcome) { return commit_outcome_words; }

/// The outcome that a reason stands for.
commit_outcome outcome_of(outcome_reason why) noexcept;

/// What the server said about the transaction's number, when the backend that had it was gone.
enum class xact_status : std::uint8_t {
    committed,
    aborted,
    in_progress,
    not_assigned,  ///< not given to anybody that has ended, nor before
    forgotten,
};

struct outcome_facts {
    pool::server_life then;  ///< read on the connection that is lost, before the transaction had its number
    pool::server_life now;
    std::string lsn;  ///< a place in the WAL behind the transaction's first record
    /// What became of the record that was written when the number was asked for.
    health::wal_finding wal = health::wal_finding::not_known;
    /// It is asked at the same address, where the old backend is known to be gone.
    bool same_place = false;
    /// By a connection that was logged in before the number was given: its backend has lived through all
    /// that.
    bool older_session = false;
    xact_status status = xact_status::forgotten;
};

outcome_reason decide_outcome(const outcome_facts& facts);
/// What a server's WAL could tell of it; ends nowhere where it cannot be asked.
health::wal_question wal_question_of(const outcome_facts& facts, std::string_view token);

/// Asks for a pool::server_life and whether evidence can be had, in one row.
std::string_view life_query() noexcept;
/// The same, and what became of transaction `xid`, and whether commits wait for standbys.
std::string outcome_query(std::string_view xid);
/// Asks for the number of the transaction that is open, for a place in the WAL behind its first record, and
/// for what the record that ends there says last. Writes nothing where there is no number.
std::string_view evidence_query() noexcept;

using outcome_row = std::vector<std::optional<std::string>>;
/// Of a row of life_query; false where it says that evidence cannot be had. `missing`: functions that may
/// not be called, as in protection_facts.
bool take_life(const outcome_row& row, pool::server_life& life, std::string& missing);
/// Of the functions that are asked about: whether evidence needs it.
bool is_evidence(std::string_view function) noexcept;
/// Of a row of outcome_query; false where it is not one.
bool take_outcome(const outcome_row& row, outcome_facts& facts, bool& waits_for_standbys);

}  // namespace pgmend::proxy
