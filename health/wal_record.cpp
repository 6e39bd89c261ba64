#include "health/wal_record.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace pgmend::health {

namespace {

// Of PostgreSQL's access/xlog_internal.h: XLogPageHeaderData, and what the first page of a segment has more.
constexpr std::size_t page_header = 24;
constexpr std::size_t long_page_header = 40;
constexpr std::size_t address_in_header = 8;
/// A record ends at a multiple of this, filled up with zeros.
constexpr std::size_t alignment = 8;

template <class Number>
std::optional<Number> read_number(std::string_view text, int base) noexcept {
    Number value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
    return value;
}

/// Without the headers of pages; nothing where one is not what it should be.
std::optional<std::string> without_headers(
    std::string_view bytes, std::uint64_t start, const wal_layout& layout
) {
    std::string records;
    while (!bytes.empty()) {
        const std::uint64_t into = start % layout.page;
        const std::size_t header = start % layout.segment < layout.page ? long_page_header : page_header;
        if (into == 0) {
            std::uint64_t address = 0;
            if (bytes.size() < address_in_header + sizeof address) return records;
            std::memcpy(&address, bytes.data() + address_in_header, sizeof address);
            if (address != start) return std::nullopt;
        }
        const std::size_t left = layout.page - static_cast<std::size_t>(into);
        const std::string_view page = bytes.substr(0, left);
        const std::size_t skipped = into < header ? header - static_cast<std::size_t>(into) : 0;
        if (skipped < page.size()) records += page.substr(skipped);
        bytes.remove_prefix(page.size());
        start += page.size();
    }
    return records;
}

}  // namespace

wal_finding find_record(
    std::string_view bytes, std::uint64_t start, const wal_question& asked, const wal_layout& layout
) {
    const bool sane = !asked.token.empty() && layout.page != 0 && layout.segment % layout.page == 0;
    if (!sane || asked.end < start || bytes.size() < asked.end - start) return wal_finding::not_known;
    const auto records = without_headers(bytes.substr(0, asked.end - start), start, layout);
    // Only what is long enough to have held the record can say that it is not there.
    if (!records || records->size() < asked.token.size() + alignment) return wal_finding::not_known;
    const auto found = records->rfind(asked.token);
    if (found == std::string::npos) {
        const bool whole = records->size() + long_page_header >= wal_window;
        return whole ? wal_finding::gone : wal_finding::not_known;
    }
    const std::string_view behind = std::string_view{*records}.substr(found + asked.token.size());
    const bool last = behind.size() < alignment && behind.find_first_not_of('\0') == std::string_view::npos;
    return last ? wal_finding::there : wal_finding::not_known;
}

timeline_end end_of_timeline(std::string_view history, std::uint32_t timeline) {
    timeline_end found;
    while (!history.empty()) {
        const auto line = history.substr(0, history.find('\n'));
        history.remove_prefix(std::min(history.size(), line.size() + 1));
        const auto begin = line.find_first_not_of(" \t\r");
        if (begin == std::string_view::npos || line[begin] == '#') continue;
        const auto rest = line.substr(begin);
        const auto number = read_number<std::uint32_t>(rest.substr(0, rest.find_first_of(" \t")), 10);
        const auto at = rest.find_first_of("\t ");
        if (!number || at == std::string_view::npos) return {};
        const auto from = rest.find_first_not_of(" \t", at);
        if (from == std::string_view::npos) return {};
        const auto place = read_lsn(rest.substr(from, rest.find_first_of(" \t\r", from) - from));
        if (!place) return {};
        if (*number == timeline) found.at = place;
        found.well_formed = true;
    }
    return found;
}

std::optional<std::uint64_t> read_lsn(std::string_view text) noexcept {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto high = read_number<std::uint32_t>(text.substr(0, slash), 16);
    const auto low = read_number<std::uint32_t>(text.substr(slash + 1), 16);
    if (!high || !low) return std::nullopt;
    return (std::uint64_t{*high} << 32) | *low;
}

std::string print_lsn(std::uint64_t place) {
    std::array<char, 32> text{};
    const int length = std::snprintf(
        text.data(), text.size(), "%X/%X", static_cast<unsigned>(place >> 32),
        static_cast<unsigned>(place & 0xffffffffU)
    );
    return {text.data(), static_cast<std::size_t>(length)};
}

std::optional<std::uint64_t> read_size(std::string_view text) noexcept {
    const auto unit_at = text.find_first_not_of("0123456789");
    const auto number = read_number<std::uint64_t>(text.substr(0, unit_at), 10);
    if (!number || *number == 0 || *number > (std::uint64_t{1} << 40)) return std::nullopt;
    const std::string_view unit = unit_at == std::string_view::npos ? "" : text.substr(unit_at);
    if (unit.empty() || unit == "B") return number;
    if (unit == "kB") return *number << 10;
    if (unit == "MB") return *number << 20;
    if (unit == "GB") return *number << 30;
    return std::nullopt;
}

}  // namespace pgmend::health
