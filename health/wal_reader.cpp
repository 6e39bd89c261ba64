#include "health/wal_reader.hpp"

#include <libpq-fe.h>

#include <charconv>

namespace pgmend::health {

namespace asio = boost::asio;

namespace {

/// Of a message of the stream: its kind, where it begins, how far the server is, and when.
constexpr std::size_t piece_header = 1 + 8 + 8 + 8;

std::string_view field(const pg_result* row, int column) {
    if (PQresultStatus(row) != PGRES_TUPLES_OK || PQntuples(row) < 1 || PQnfields(row) <= column) return {};
    return {PQgetvalue(row, 0, column), static_cast<std::size_t>(PQgetlength(row, 0, column))};
}

wal_reading not_known(const libpq_link& link, const pg_result* said) {
    wal_reading reading;
    const char* code = said != nullptr ? PQresultErrorField(said, PG_DIAG_SQLSTATE) : nullptr;
    reading.why = link.timed_out() ? "no answer in time" : link.failure(code != nullptr ? code : "").message;
    return reading;
}

bool same_number(std::string_view text, std::uint32_t wanted) {
    std::uint32_t value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    return read.ec == std::errc{} && read.ptr == text.data() + text.size() && value == wanted;
}

asio::awaitable<std::optional<wal_reading>> log_in(libpq_link& link) {
    link.drop();
    const observation came = co_await link.connect();
    if (came.result == probe_result::ok) co_return std::nullopt;
    wal_reading reading;
    reading.why = came.message;
    reading.refused = came.result == probe_result::rejected;
    co_return reading;
}

asio::awaitable<std::optional<wal_layout>> layout_of(libpq_link& link) {
    const auto page = co_await link.ask("SHOW wal_block_size");
    if (page == nullptr) co_return std::nullopt;
    const auto segment = co_await link.ask("SHOW wal_segment_size");
    if (segment == nullptr) co_return std::nullopt;
    const auto page_size = read_size(field(page.get(), 0));
    const auto segment_size = read_size(field(segment.get(), 0));
    if (!page_size || !segment_size || *page_size > 65536) co_return std::nullopt;
    co_return wal_layout{static_cast<std::uint32_t>(*page_size), *segment_size};
}

asio::awaitable<wal_reading> read_logged_in(libpq_link& link, const wal_question& asked) {
    wal_reading reading;
    const auto self = co_await link.ask("IDENTIFY_SYSTEM");
    if (field(self.get(), 0).empty()) co_return not_known(link, self.get());
    // Another server may answer at this address by now.
    if (field(self.get(), 0) != asked.system || !same_number(field(self.get(), 1), asked.present)) {
        reading.why = "another server, or another timeline, answers there";
        co_return reading;
    }
    if (asked.present != asked.timeline) {
        const std::string text = "TIMELINE_HISTORY " + std::to_string(asked.present);
        const auto history = co_await link.ask(text.c_str());
        const timeline_end left = end_of_timeline(field(history.get(), 1), asked.timeline);
        if (!left.well_formed) co_return not_known(link, history.get());
        if (!left.at || *left.at < asked.end) {
            reading.what = wal_finding::gone;
            co_return reading;
        }
    }
    const auto layout = co_await layout_of(link);
    if (!layout) co_return not_known(link, nullptr);
    // The server streams from any place that it still has.
    const std::uint64_t start = asked.end - std::min(asked.end, wal_window);
    const std::string text =
        "START_REPLICATION PHYSICAL " + print_lsn(start) + " TIMELINE " + std::to_string(asked.timeline);
    const auto stream = co_await link.ask(text.c_str());
    if (PQresultStatus(stream.get()) != PGRES_COPY_BOTH) co_return not_known(link, stream.get());
    std::string bytes;
    while (bytes.size() < asked.end - start) {
        const auto piece = co_await link.copied();
        if (!piece) co_return not_known(link, nullptr);
        if (!piece->empty() && piece->front() == 'w' && piece->size() > piece_header)
            bytes.append(*piece, piece_header);
    }
    reading.what = find_record(bytes, start, asked, *layout);
    if (reading.what == wal_finding::not_known) reading.why = "the WAL is not laid out as expected";
    co_return reading;
}

}  // namespace

asio::awaitable<wal_reading> read_wal(libpq_link& link, const wal_question& asked, config::duration timeout) {
    link.limit(timeout);
    auto refused = co_await log_in(link);
    wal_reading reading;
    if (refused) {
        reading = *refused;
    } else {
        reading = co_await read_logged_in(link, asked);
    }
    link.unlimit();
    link.drop();
    co_return reading;
}

asio::awaitable<wal_reading> may_read_wal(libpq_link& link, config::duration timeout) {
    link.limit(timeout);
    wal_reading reading;
    if (auto refused = co_await log_in(link)) {
        reading = *refused;
    } else {
        const auto self = co_await link.ask("IDENTIFY_SYSTEM");
        if (field(self.get(), 0).empty()) reading = not_known(link, self.get());
    }
    link.unlimit();
    link.drop();
    co_return reading;
}

}  // namespace pgmend::health
