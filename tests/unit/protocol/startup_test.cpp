#include "protocol/startup.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "protocol/bytes.hpp"

using namespace pgmend::protocol;

namespace {

using bytes = std::vector<std::byte>;

/// A packet with a right length: `code` and then `body`.
bytes packet(std::uint32_t code, std::string_view body) {
    bytes out(8);
    store_u32(out.data(), static_cast<std::uint32_t>(8 + body.size()));
    store_u32(out.data() + 4, code);
    const byte_view tail = as_bytes(body);
    out.insert(out.end(), tail.begin(), tail.end());
    return out;
}

constexpr std::uint32_t v3_0 = 3U << 16;
constexpr std::uint32_t ssl_code = 80877103;
constexpr std::uint32_t gssenc_code = 80877104;
constexpr std::uint32_t cancel_code = 80877102;

/// A literal with its zeros, closed by one more.
template <std::size_t Size>
std::string zeros(const char (&text)[Size]) {
    return {text, Size};
}

void check_violation(const bytes& given, std::string_view code, std::string_view message) {
    const startup_packet result = parse_startup(given);
    CHECK(result.kind == startup_kind::violation);
    CHECK(result.error.sqlstate == code);
    CHECK(result.error.message == message);
}

constexpr auto layout = "invalid startup packet layout: expected terminator as last byte";
constexpr auto length = "invalid length of startup packet";

}  // namespace

TEST_CASE("startup: what libpq sends is read as it is", "[protocol]") {
    const bytes given =
        packet(v3_0, zeros("user\0app\0database\0shop\0application_name\0psql\0client_encoding\0UTF8\0"));
    const startup_packet result = parse_startup(given);
    REQUIRE(result.kind == startup_kind::startup);
    CHECK(result.size == given.size());
    CHECK(result.startup.minor == 0);
    CHECK_FALSE(result.startup.needs_negotiation());
    CHECK(result.startup.user == "app");
    CHECK(result.startup.database == "shop");
    CHECK(result.startup.replication == replication_mode::none);
    REQUIRE(result.startup.parameters.size() == 4);
    CHECK(result.startup.parameters[3] == startup_parameter{"client_encoding", "UTF8"});
}

TEST_CASE("startup: every split asks for more and then gives the same", "[protocol]") {
    const bytes given = packet(v3_0, zeros("user\0app\0options\0-c geqo=off\0"));
    for (std::size_t have = 0; have < given.size(); ++have) {
        const startup_packet partial = parse_startup(byte_view(given).first(have));
        CHECK(partial.kind == startup_kind::need_more);
        CHECK(partial.size == (have < 4 ? 4 : given.size()));
    }
    // Bytes behind the packet belong to whatever comes next.
    bytes more = given;
    more.resize(given.size() + 5);
    CHECK(parse_startup(more).kind == startup_kind::startup);
    CHECK(parse_startup(more).size == given.size());
}

TEST_CASE("startup: the database is the user's name unless given", "[protocol]") {
    CHECK(parse_startup(packet(v3_0, zeros("user\0app\0"))).startup.database == "app");
    CHECK(parse_startup(packet(v3_0, zeros("user\0app\0database\0\0"))).startup.database == "app");
    CHECK(parse_startup(packet(v3_0, zeros("user\0a\0user\0b\0"))).startup.user == "b");
}

TEST_CASE("startup: without a user nobody comes in", "[protocol]") {
    constexpr auto message = "no PostgreSQL user name specified in startup packet";
    check_violation(packet(v3_0, zeros("")), "28000", message);
    check_violation(packet(v3_0, zeros("database\0shop\0")), "28000", message);
    check_violation(packet(v3_0, zeros("user\0\0")), "28000", message);
}

TEST_CASE("startup: lengths outside PostgreSQL's limits are refused before anything is read", "[protocol]") {
    for (const std::uint32_t size : {0U, 1U, 4U, 7U, 10005U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
        bytes given(4);
        store_u32(given.data(), size);
        check_violation(given, "08P01", length);
    }
    bytes smallest(4);
    store_u32(smallest.data(), 8);
    CHECK(parse_startup(smallest).kind == startup_kind::need_more);
    bytes largest(4);
    store_u32(largest.data(), startup_packet_max);
    CHECK(parse_startup(largest).kind == startup_kind::need_more);
}

TEST_CASE("startup: a layout that does not end where it says is refused", "[protocol]") {
    check_violation(packet(v3_0, ""), "08P01", layout);
    check_violation(packet(v3_0, "user"), "08P01", layout);
    check_violation(packet(v3_0, std::string_view("user\0", 5)), "08P01", layout);
    check_violation(packet(v3_0, std::string_view("user\0app", 8)), "08P01", layout);
    check_violation(packet(v3_0, std::string_view("user\0app\0", 9)), "08P01", layout);
    check_violation(packet(v3_0, std::string_view("user\0app\0\0x", 11)), "08P01", layout);
    const bytes whole = packet(v3_0, zeros("user\0app\0database\0shop\0"));
    for (std::size_t size = 8; size < whole.size(); ++size) {
        bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        store_u32(cut.data(), static_cast<std::uint32_t>(size));
        check_violation(cut, "08P01", layout);
    }
}

TEST_CASE("startup: no flipped bit makes it read past its packet", "[protocol]") {
    const bytes whole = packet(v3_0, zeros("user\0app\0_pq_.x\0y\0replication\0database\0"));
    for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
        // An exact copy on the heap, so that the sanitizer sees one byte too far.
        bytes flipped(whole);
        flipped.shrink_to_fit();
        flipped[bit / 8] ^= std::byte{1} << (bit % 8);
        const startup_packet result = parse_startup(flipped);
        if (result.kind == startup_kind::startup) {
            CHECK(result.size <= flipped.size());
            CHECK_FALSE(result.startup.user.empty());
        }
    }
}

TEST_CASE("startup: the number of parameters is bounded", "[protocol]") {
    std::string body = zeros("user\0app");
    for (int i = 1; i < 256; ++i) {
        body += std::string("a\0b\0", 4);
    }
    CHECK(parse_startup(packet(v3_0, body + '\0')).kind == startup_kind::startup);
    body += std::string("a\0b\0", 4);
    check_violation(packet(v3_0, body + '\0'), "08P01", "too many parameters in startup packet");
}

TEST_CASE("startup: other major versions are refused in PostgreSQL's words", "[protocol]") {
    const std::string body = zeros("user\0app\0");
    check_violation(
        packet(2U << 16, body), "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"
    );
    check_violation(
        packet((4U << 16) | 7U, body), "0A000",
        "unsupported frontend protocol 4.7: server supports 3.0 to 3.2"
    );
    check_violation(
        packet(0, body), "0A000", "unsupported frontend protocol 0.0: server supports 3.0 to 3.2"
    );
}

TEST_CASE("startup: newer minors and protocol options are negotiated", "[protocol]") {
    const std::string body = zeros("user\0app\0");
    const auto minor = [&body](std::uint32_t asked) {
        const bytes given = packet(v3_0 | asked, body);
        const startup_packet result = parse_startup(given);
        REQUIRE(result.kind == startup_kind::startup);
        return std::pair{result.startup.spoken_minor(), result.startup.needs_negotiation()};
    };
    CHECK(minor(0) == std::pair{std::uint16_t{0}, false});
    CHECK(minor(2) == std::pair{std::uint16_t{2}, false});
    CHECK(minor(3) == std::pair{std::uint16_t{2}, true});
    CHECK(minor(9999) == std::pair{std::uint16_t{2}, true});
    const bytes given = packet(v3_0, zeros("user\0app\0_pq_.compression\0on\0"));
    const startup_packet result = parse_startup(given);
    REQUIRE(result.kind == startup_kind::startup);
    CHECK(result.startup.needs_negotiation());
    CHECK(result.startup.parameters.size() == 1);
    CHECK(result.startup.protocol_options == std::vector<std::string_view>{"_pq_.compression"});
}

TEST_CASE("startup: replication is read as PostgreSQL reads it", "[protocol]") {
    const auto mode = [](std::string_view value) {
        std::string body = zeros("user\0app\0replication");
        body.append(value).append(2, '\0');
        return parse_startup(packet(v3_0, body)).startup.replication;
    };
    for (const auto value : {"true", "t", "TRUE", "on", "yes", "y", "1"}) {
        CHECK(mode(value) == replication_mode::physical);
    }
    for (const auto value : {"false", "f", "off", "of", "no", "n", "0"}) {
        CHECK(mode(value) == replication_mode::none);
    }
    CHECK(mode("database") == replication_mode::logical);
    for (const auto value : {"o", "", "2", "truely", "DATABASE"}) {
        std::string body = zeros("user\0app\0replication");
        body.append(value).append(2, '\0');
        check_violation(
            packet(v3_0, body), "22023",
            "invalid value for parameter \"replication\": \"" + std::string(value) + '"'
        );
    }
}

TEST_CASE("startup: requests for encryption are recognised", "[protocol]") {
    CHECK(parse_startup(packet(ssl_code, "")).kind == startup_kind::ssl_request);
    CHECK(parse_startup(packet(gssenc_code, "")).kind == startup_kind::gssenc_request);
    check_violation(packet(ssl_code, "x"), "08P01", length);
}

TEST_CASE("startup: CVE-2021-23214, clear bytes behind a request for encryption are refused", "[protocol]") {
    bytes given = packet(ssl_code, "");
    given.push_back(std::byte{'Q'});
    check_violation(given, "08P01", "received unencrypted data after SSL request");
    CHECK_FALSE(parse_startup(given).error.detail.empty());
    given = packet(gssenc_code, "");
    given.push_back(std::byte{'Q'});
    check_violation(given, "08P01", "received unencrypted data after GSSAPI encryption request");
}

TEST_CASE("startup: cancel keys have four to 256 bytes", "[protocol]") {
    for (const std::size_t size : {4U, 5U, 32U, 256U}) {
        const bytes given = packet(cancel_code, std::string("\0\0\1\2", 4) + std::string(size, 'k'));
        const startup_packet result = parse_startup(given);
        REQUIRE(result.kind == startup_kind::cancel_request);
        CHECK(result.cancel.pid == 258);
        CHECK(as_text(result.cancel.key) == std::string(size, 'k'));
    }
    for (const std::size_t size : {0U, 3U, 7U, 261U}) {
        check_violation(packet(cancel_code, std::string(size, 'k')), "08P01", length);
    }
}

TEST_CASE("startup: what we send is what we read", "[protocol]") {
    bytes out;
    const startup_parameter parameters[] = {{"user", "app"}, {"database", "shop"}, {"options", "-c a=b"}};
    append_startup(out, 2, parameters);
    const startup_packet result = parse_startup(out);
    REQUIRE(result.kind == startup_kind::startup);
    CHECK(result.size == out.size());
    CHECK(result.startup.minor == 2);
    CHECK(std::ranges::equal(result.startup.parameters, parameters));

    bytes request;
    append_ssl_request(request);
    CHECK(request == packet(ssl_code, ""));

    bytes cancel;
    append_cancel_request(cancel, 7, as_bytes("0123456789"));
    const startup_packet read = parse_startup(cancel);
    REQUIRE(read.kind == startup_kind::cancel_request);
    CHECK(read.cancel.pid == 7);
    CHECK(as_text(read.cancel.key) == "0123456789");
}

TEST_CASE("startup: a zero byte in a value does not smuggle a parameter", "[protocol]") {
    bytes out;
    const startup_parameter parameters[] = {{"user", std::string_view("app\0database\0root", 17)}};
    append_startup(out, 0, parameters);
    const startup_packet result = parse_startup(out);
    REQUIRE(result.kind == startup_kind::startup);
    CHECK(result.startup.user == "app");
    CHECK(result.startup.database == "app");
}

TEST_CASE("startup: the partition key ignores who and orders what", "[protocol]") {
    const auto key = [](const std::string& body) {
        const bytes given = packet(v3_0, body);
        const startup_packet result = parse_startup(given);
        REQUIRE(result.kind == startup_kind::startup);
        return startup_partition_key(result.startup);
    };
    CHECK(key(zeros("user\0a\0database\0b\0application_name\0c\0replication\0off\0")).empty());
    CHECK(
        key(zeros("user\0a\0TimeZone\0UTC\0DateStyle\0ISO\0")) ==
        key(zeros("user\0b\0datestyle\0ISO\0timezone\0UTC\0"))
    );
    CHECK(key(zeros("user\0a\0x\0y\0")) != key(zeros("user\0a\0x\0Y\0")));
    CHECK(key(zeros("user\0a\0x\0y\0x\0z\0")) == key(zeros("user\0a\0X\0z\0")));
}

TEST_CASE("startup: an application_name is kept as PostgreSQL keeps it") {
    CHECK(kept_application_name("psql") == "psql");
    CHECK(kept_application_name("") == "");
    CHECK(kept_application_name(" ~") == " ~");
    CHECK(kept_application_name("caf\xc3\xa9\n\x7f") == "caf????");
    CHECK(kept_application_name(std::string(10'000, 'x')) == std::string(63, 'x'));
}
