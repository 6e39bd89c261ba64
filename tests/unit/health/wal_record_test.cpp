#include "health/wal_record.hpp"

#include <catch2/catch.hpp>
#include <cstring>

using namespace pgmend::health;

namespace {

constexpr wal_layout layout{8192, 16777216};
const std::string token = "0123456789abcdef0123456789abcdef0123";

/// WAL as a server writes it, from `start` on.
class written_wal {
public:
    explicit written_wal(std::uint64_t start) : start_(start) {}

    void add(std::string_view bytes) {
        for (const char byte : bytes) {
            if (end() % layout.page == 0) header();
            wal += byte;
        }
    }
    /// With what stands in front of a message of ours, and zeros behind it.
    void record(std::string_view says) {
        add(std::string(57, 'r'));
        add(says);
        while (end() % 8 != 0)
            wal += '\0';
    }
    std::uint64_t end() const { return start_ + wal.size(); }
    std::string wal;

private:
    void header() {
        const std::uint64_t here = end();
        std::string head(here % layout.segment == 0 ? 40 : 24, 'h');
        std::memcpy(head.data() + 8, &here, sizeof here);
        wal += head;
    }
    std::uint64_t start_;
};

wal_question about(const written_wal& wal) { return {"7000", 1, 1, wal.end(), token}; }

}  // namespace

TEST_CASE("wal record: it is found at its end, wherever a page begins in it") {
    for (const std::uint64_t boundary : {std::uint64_t{0x20000}, std::uint64_t{0x3000000}}) {
        for (std::uint64_t before = 0; before < 400; before += 8) {
            CAPTURE(boundary, before);
            written_wal wal{boundary - before - 200};
            wal.add(std::string(200, 'x'));
            wal.record(token);
            const std::uint64_t start = wal.end() - wal_window;
            const std::string_view window = std::string_view{wal.wal}.substr(wal.wal.size() - wal_window);
            CHECK(find_record(window, start, about(wal), layout) == wal_finding::there);
            // What the server has written behind it is not looked at.
            CHECK(find_record(std::string{window} + token, start, about(wal), layout) == wal_finding::there);
            wal_question other = about(wal);
            other.token.back() = 'X';
            CHECK(find_record(window, start, other, layout) == wal_finding::gone);
        }
    }
}

TEST_CASE("wal record: nothing is said of what was not seen whole, or is not as expected") {
    written_wal wal{0x20000 - 400};
    wal.add(std::string(300, 'x'));
    wal.record(token);
    const std::string bytes = wal.wal;
    const std::uint64_t start = wal.end() - bytes.size();
    const wal_question asked = about(wal);
    REQUIRE(find_record(bytes, start, asked, layout) == wal_finding::there);
    CHECK(find_record(bytes.substr(0, bytes.size() - 1), start, asked, layout) == wal_finding::not_known);
    CHECK(find_record({}, start, asked, layout) == wal_finding::not_known);
    // Too little in front of the end to say that it is not there.
    wal_question other = asked;
    other.token.back() = 'X';
    const std::string_view tail = std::string_view{bytes}.substr(bytes.size() - 60);
    CHECK(find_record(tail, asked.end - 60, other, layout) == wal_finding::not_known);
    // It stands there, but not where it was written.
    wal_question later = asked;
    later.end += 16;
    CHECK(find_record(bytes + std::string(16, 'y'), start, later, layout) == wal_finding::not_known);
    CHECK(find_record(bytes + std::string(16, '\0'), start, later, layout) == wal_finding::not_known);
    wal_question unknown = asked;
    unknown.token.clear();
    CHECK(find_record(bytes, start, unknown, layout) == wal_finding::not_known);
    // Pages of another size than is said: their headers are not where they should be.
    CHECK(find_record(bytes, start, other, {16384, 16777216}) == wal_finding::gone);
    written_wal crossing{0x20000 - 200};
    crossing.add(std::string(300, 'x'));
    CHECK(
        find_record(crossing.wal, 0x20000 - 200, {"7000", 1, 1, crossing.end(), token}, {128, 16777216}) ==
        wal_finding::not_known
    );
    CHECK(find_record(bytes, start, asked, {0, 16777216}) == wal_finding::not_known);
}

TEST_CASE("wal record: a timeline's end is read from the history of one that came of it") {
    const std::string history =
        "1\t0/1AE8298\tno recovery target specified\n\n# a note\n2\t1/F0\tbefore 2000-01-01\n";
    CHECK(end_of_timeline(history, 1).at == 0x1AE8298U);
    CHECK(end_of_timeline(history, 2).at == 0x1000000F0U);
    CHECK(end_of_timeline(history, 3).well_formed);
    CHECK_FALSE(end_of_timeline(history, 3).at);
    CHECK_FALSE(end_of_timeline("", 1).well_formed);
    CHECK_FALSE(end_of_timeline("# nothing\n", 1).well_formed);
    CHECK_FALSE(end_of_timeline("1\n", 1).well_formed);
    CHECK_FALSE(end_of_timeline("1\tx/y\tz\n", 1).well_formed);
    CHECK_FALSE(end_of_timeline("one\t0/10\n", 1).well_formed);
    CHECK_FALSE(end_of_timeline(history + "3", 1).well_formed);
}

TEST_CASE("wal record: places and sizes as PostgreSQL prints them") {
    CHECK(read_lsn("0/15E5A28") == 0x15E5A28U);
    CHECK(read_lsn("A/FFFFFFFF") == 0xAFFFFFFFFU);
    CHECK(print_lsn(0xAFFFFFFFFU) == "A/FFFFFFFF");
    CHECK(print_lsn(0x15E5A28U) == "0/15E5A28");
    for (const char* wrong : {"", "/", "0/", "/1", "15E5A28", "0/15E5A28 ", "0/1G", "100000000/0", "-1/0"}) {
        CAPTURE(wrong);
        CHECK_FALSE(read_lsn(wrong));
    }
    CHECK(read_size("8192") == 8192U);
    CHECK(read_size("16MB") == 16777216U);
    CHECK(read_size("1GB") == 1073741824U);
    CHECK(read_size("64kB") == 65536U);
    for (const char* wrong : {"", "MB", "16TB", "0", "99999999999999999999", "16 MB"}) {
        CAPTURE(wrong);
        CHECK_FALSE(read_size(wrong));
    }
}
