#include "config/webhook_address.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::config;

TEST_CASE("webhook address: a host, perhaps a port, perhaps a path", "[config]") {
    const auto read = [](std::string_view text) {
        const auto made = parse_webhook(text);
        return made ? made->host + " " + made->port + " " + made->target + " " + made->authority() : "none";
    };
    CHECK(read("http://alerts") == "alerts 80 / alerts");
    CHECK(read("http://10.0.0.1:9093/api/v2?x=1") == "10.0.0.1 9093 /api/v2?x=1 10.0.0.1:9093");
    CHECK(read("http://[::1]:81/hook") == "::1 81 /hook [::1]:81");
    CHECK(read("http://[::1]") == "::1 80 / [::1]");
    CHECK(read("http://alerts?token=a:b") == "alerts 80 /?token=a:b alerts");
    for (const auto* bad :
         {"", "alerts", "https://alerts", "http://", "http://:80", "http://a:", "http://a:0",
          "http://a:65536", "http://a:b", "http://user:word@a/", "http://a b/", "http://a/\r\nX: y",
          "http://::1/", "http://[::1", "http://[::1]x", "http://a/#part"}) {
        INFO(bad);
        CHECK(read(bad) == "none");
    }
}
