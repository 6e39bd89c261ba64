#include "config/api_urls.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "config/loader.hpp"

using namespace pgmend::config;

namespace {

std::string shown(std::string_view text) {
    const auto url = parse_api_url(text);
    return url.value ? print_api_url(*url.value) : url.problem;
}

/// What is wrong with a policy that says this under `upstream`.
std::vector<std::string> errors_of(const std::string& name, const std::string& value) {
    return load({{}, {{"PGMEND_UPSTREAM_" + name, value}, {"PGMEND_UPSTREAM_PASSWORD", "pw"}}, "os_user"})
        .errors;
}

}  // namespace

TEST_CASE("api urls: what is read is printed whole", "[config]") {
    CHECK(shown("http://10.0.0.1:8008") == "http://10.0.0.1:8008");
    CHECK(shown("http://db.example") == "http://db.example:8008");
    CHECK(shown("https://db.example/") == "https://db.example:8008");
    CHECK(shown("https://[fd00::1]") == "https://[fd00::1]:8008");
    CHECK(shown("https://[fd00::1]:443/patroni/main/") == "https://[fd00::1]:443/patroni/main");
    const auto url = parse_api_url("https://[fd00::1]:443/a");
    REQUIRE(url.value);
    CHECK(
        (url.value->tls && url.value->host == "fd00::1" && url.value->port == 443 && url.value->path == "/a")
    );
}

TEST_CASE("api urls: what cannot be asked is refused", "[config]") {
    for (const char* text :
         {"", "db:8008", "ftp://db", "HTTP://db", "http://", "http:///x", "http://db:0", "http://db:65536",
          "http://user:secret@db", "http://db/a?b", "http://db/a#b", "http://db/a b", "http://d b",
          "http://fd00::1", "http:///tmp", "http://@x", "http://db\r\nHost: x"}) {
        INFO(text);
        CHECK_FALSE(parse_api_url(text).value);
    }
}

TEST_CASE("api urls: complaints name the place, and no password", "[config]") {
    CHECK(errors_of("PATRONI_URLS", "http://a:8008,https://b").empty());
    CHECK(
        errors_of("PATRONI_URLS", "http://a:8008,b:1") ==
        std::vector<std::string>{
            "environment: PGMEND_UPSTREAM_PATRONI_URLS: 'b:1' begins neither with http:// nor with https://; "
            "allowed: http://host:port or https://host:port"}
    );
    const auto secret = errors_of("PATRONI_URLS", "http://me:hunter2@a:8008");
    REQUIRE(secret.size() == 1);
    CHECK(secret[0].find("hunter2") == std::string::npos);
    api_url_list urls;
    problems found;
    const document_node list = parse_document("[\"http://a\", \"x\", {b: c}]", found);
    CHECK_FALSE(read_api_urls(list, "upstream.patroni.urls", urls, found));
    REQUIRE(found.size() == 2);
    CHECK(found[0].key == "upstream.patroni.urls[1]");
    CHECK(found[0].at.column == 14);
    CHECK(found[1].key == "upstream.patroni.urls[2]");
}

TEST_CASE("srv: a name that nobody could ask for is refused, and two who name servers as well", "[config]") {
    CHECK(errors_of("SRV", "_postgresql._tcp.db.example.com").empty());
    CHECK(errors_of("SRV", "_postgresql._tcp.db.example.com.").empty());
    for (const std::string& bad : std::vector<std::string>{
             "db.example.com", "_postgresql._tcp", "_postgresql._tcp.", "_postgresql.tcp.db",
             "_postgresql._tcp..db", "_postgresql._tcp.d b", "_postgresql._tcp.db:5432",
             "_postgresql._tcp." + std::string(64, 'a'), "_postgresql._tcp." + std::string(300, 'a')}) {
        INFO(bad);
        CHECK(errors_of("SRV", bad).size() == 1);
    }
    const auto both = load(
        {{},
         {{"PGMEND_UPSTREAM_SRV", "_postgresql._tcp.db"},
          {"PGMEND_UPSTREAM_PATRONI_URLS", "http://a"},
          {"PGMEND_UPSTREAM_PASSWORD", "pw"}},
         "os_user"}
    );
    REQUIRE(both.errors.size() == 1);
    CHECK(both.errors[0].find("only one can name the servers") != std::string::npos);
}
