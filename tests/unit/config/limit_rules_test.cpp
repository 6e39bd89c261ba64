#include "config/limit_rules.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::config;

namespace {

struct reading {
    limit_rule_list rules;
    problems found;
    bool good = false;
};

reading read(std::string_view yaml) {
    reading result;
    const document_node node = parse_document(yaml, result.found);
    result.good = read_limit_rules(node, "limits.rules", result.rules, result.found);
    return result;
}

}  // namespace

TEST_CASE("limit rules: rates are presets, or a number by a unit, with a burst", "[config]") {
    const auto rate = [](std::string_view text) {
        const auto read = parse_request_rate(text);
        REQUIRE(read.value);
        return *read.value;
    };
    CHECK_FALSE(rate("none").limited());
    CHECK(rate("strict") == request_rate{10, std::chrono::minutes{1}, 10});
    CHECK(rate("normal") == request_rate{100, std::chrono::minutes{1}, 100});
    CHECK(rate("loose") == request_rate{1000, std::chrono::minutes{1}, 1000});
    CHECK(rate("hourly") == request_rate{1000, std::chrono::hours{1}, 1000});
    CHECK(rate("50/s") == request_rate{50, std::chrono::seconds{1}, 50});
    CHECK(rate("600/min burst 5") == request_rate{600, std::chrono::minutes{1}, 5});
    CHECK(rate("strict burst 2") == request_rate{10, std::chrono::minutes{1}, 2});
    for (const std::string_view text : {"none", "strict", "hourly", "7/s", "5000/h", "600/min burst 5"})
        CHECK(print_request_rate(rate(text)) == text);
    CHECK(print_request_rate(rate("10/min")) == "strict");
    for (const std::string_view text :
         {"", "fast", "10", "0/s", "10/d", "10/", "/s", "-1/s", "1.5/s", "10/s burst", "10/s burst 0",
          "10/s burst x", "none burst 5", "1000001/s", "10/s  burst 5"}) {
        INFO(text);
        CHECK_FALSE(parse_request_rate(text).value);
    }
}

TEST_CASE("limit rules: a rule counts by the one name that it gives, or as it says", "[config]") {
    const auto result = read(
        "[{user: batch, clients: 10, requests: strict}, {per: address, requests: 50/s burst 100}, "
        "{database: app, user: web, per: together, clients: 0}, {address: 10.0.0.0/8, clients: 3}, "
        "{application_name: report, requests: none}, {user: batch, database: app, waiting: 5}]"
    );
    REQUIRE(result.good);
    REQUIRE(result.rules.size() == 6);
    CHECK(result.rules[0].per == limit_scope::user);
    CHECK(result.rules[1].per == limit_scope::address);
    CHECK(result.rules[2].per == limit_scope::together);
    CHECK(result.rules[3].per == limit_scope::address);
    CHECK(result.rules[4].per == limit_scope::application_name);
    CHECK(
        print_limit_rules(result.rules) ==
        "user=batch per=user clients=10 requests=strict, per=address requests=50/s burst 100, "
        "user=web database=app per=together clients=0, address=10.0.0.0/8 per=address clients=3, "
        "application_name=report per=application_name requests=none, user=batch database=app waiting=5"
    );
    CHECK(waiting_limit_for(result.rules, "app", "batch") == 5U);
    CHECK(waiting_limit_for(result.rules, "app", "web") == std::nullopt);
    CHECK(client_limit_for(result.rules, limit_scope::user, "batch", 7) == 10);
    CHECK(client_limit_for(result.rules, limit_scope::user, "web", 7) == 7);
    CHECK(client_limit_for(result.rules, limit_scope::database, "app", 0) == 0);
}

TEST_CASE("limit rules: what is wrong is said with its place", "[config]") {
    const auto complaint = [](std::string_view yaml) {
        const auto result = read(yaml);
        CHECK_FALSE(result.good);
        REQUIRE(result.found.size() == 1);
        return result.found[0].key + " " + result.found[0].text;
    };
    CHECK(complaint("strict") == "limits.rules must be a list of rules");
    CHECK(
        complaint("[strict]") ==
        "limits.rules[0] must be a mapping of user, database, address, application_name, per, clients, "
        "requests, waiting, query_timeout, idle_transaction_timeout, transaction_timeout, result_size"
    );
    CHECK(
        complaint("[{user: a}]") ==
        "limits.rules[0] limits nothing: give clients, requests, waiting, a timeout or result_size"
    );
    CHECK(
        complaint("[{user: a, query_timeout: 5}]") ==
        "limits.rules[0].query_timeout must be a duration such as 500ms or 30s, up to 24h"
    );
    CHECK(
        complaint("[{user: a, transaction_timeout: 25h}]") ==
        "limits.rules[0].transaction_timeout must be a duration such as 500ms or 30s, up to 24h"
    );
    CHECK(
        complaint("[{user: a, result_size: much}]") ==
        "limits.rules[0].result_size must be a size such as 64MiB, up to 1024GiB"
    );
    CHECK(
        complaint("[{clients: 1}]") == "limits.rules[0].per is missing: the rule does not give one name alone"
    );
    CHECK(
        complaint("[{user: a, database: b, clients: 1}]") ==
        "limits.rules[0].per is missing: the rule does not give one name alone"
    );
    CHECK(
        complaint("[{user: a, clients: 1}, {address: somewhere, clients: 1}]") ==
        "limits.rules[1].address must be an address, a network or local"
    );
    CHECK(
        complaint("[{address: 10.0.0.0/33, clients: 1}]") ==
        "limits.rules[0].address must be an address, a network or local"
    );
    CHECK(
        complaint("[{address: local, waiting: 1}]") ==
        "limits.rules[0].waiting is of a pool, which is a user's and a database's"
    );
    CHECK(
        complaint("[{user: a, clients: many}]") ==
        "limits.rules[0].clients must be a whole number up to 1000000"
    );
    CHECK(
        complaint("[{user: a, requests: often}]") ==
        "limits.rules[0].requests is no rate such as strict, 50/s, 600/min or 5000/h, up to 1000000"
    );
    CHECK(
        complaint("[{user: a, per: day, clients: 1}]") ==
        "limits.rules[0].per must be one of user, database, address, application_name, together"
    );
    CHECK(
        complaint("[{users: a, clients: 1}]") ==
        "limits.rules[0].users unknown; known are user, database, address, application_name, per, clients, "
        "requests, waiting, query_timeout, idle_transaction_timeout, transaction_timeout, result_size"
    );
}

TEST_CASE(
    "limit rules: times and sizes hold for each client, so a rule need not say what it counts", "[config]"
) {
    const auto result = read(
        "[{user: a, database: b, query_timeout: 5s, result_size: 0}, "
        "{idle_transaction_timeout: 1min, transaction_timeout: 500ms, result_size: 64MiB}]"
    );
    REQUIRE(result.good);
    CHECK(result.rules[0].per == limit_scope::together);
    CHECK(result.rules[0].bound(request_limit::query_timeout) == 5000U);
    CHECK(result.rules[0].bound(request_limit::result_size) == 0U);
    CHECK(result.rules[0].bound(request_limit::transaction_timeout) == std::nullopt);
    CHECK(result.rules[1].bound(request_limit::result_size) == 64U << 20);
    CHECK(
        print_limit_rules(result.rules) ==
        "user=a database=b query_timeout=5s result_size=0, idle_transaction_timeout=1min "
        "transaction_timeout=500ms result_size=64MiB"
    );
}
