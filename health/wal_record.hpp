#pragma once
// Whether WAL still has a record of ours: what a server streams of the bytes in front of a place that was
// told when the record was written, and its timeline's history. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgmend::health {

/// What is to be found out of one record.
struct wal_question {
    std::string system;          ///< identifier of the cluster
    std::uint32_t timeline = 0;  ///< that the record was written to
    std::uint32_t present = 0;   ///< that the server which is asked writes to
    std::uint64_t end = 0;       ///< where the record ends
    std::string token;           ///< its last bytes, of nobody else's record
    bool operator==(const wal_question&) const = default;
};

enum class wal_finding : std::uint8_t {
    not_known,
    there,
    gone,  ///< another record stands there, or the timeline was left before it
};

/// How many bytes in front of its end hold a record with a token, whatever else is in it, and headers of
/// pages between.
inline constexpr std::uint64_t wal_window = 256;

struct wal_layout {
    std::uint32_t page = 8192;
    std::uint64_t segment = 16777216;
};

/// By `bytes` of WAL that begin at `start` and reach at least to the end of the record.
wal_finding find_record(
    std::string_view bytes, std::uint64_t start, const wal_question& asked, const wal_layout& layout
);

/// Where `timeline` was left, by a history file of one that came of it; nothing where it is none of its
/// ancestors, or the file is not one (`well_formed`).
struct timeline_end {
    bool well_formed = false;
    std::optional<std::uint64_t> at;
};
timeline_end end_of_timeline(std::string_view history, std::uint32_t timeline);

/// PostgreSQL's `0/15E5A28`, in bytes; nothing where it is none.
std::optional<std::uint64_t> read_lsn(std::string_view text) noexcept;
std::string print_lsn(std::uint64_t place);
/// Of SHOW: `8192`, `16MB`, `1GB`; nothing where it is none.
std::optional<std::uint64_t> read_size(std::string_view text) noexcept;

}  // namespace pgmend::health
