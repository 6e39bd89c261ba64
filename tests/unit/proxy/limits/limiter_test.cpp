#include "proxy/limits/limiter.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "config/document.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace config = pgmend::config;
using config::time_point;

namespace {

constexpr time_point start{std::chrono::hours{1}};

std::unique_ptr<config::settings> policy(std::string_view rules = "[]") {
    auto settings = std::make_unique<config::settings>();
    config::problems found;
    config::limit_rule_list list;
    REQUIRE(config::read_limit_rules(config::parse_document(rules, found), "limits.rules", list, found));
    settings->limits.rules.set(std::move(list));
    return settings;
}

client_identity who(
    std::string_view user, std::string_view database = "app", std::string_view address = "10.0.0.1",
    std::string_view application = "web"
) {
    client_identity result;
    result.user = user;
    result.database = database;
    result.address = address;
    result.application_name = application;
    return result;
}

std::string refusal(limiter& book, const client_identity& who, client_limits& into) {
    const auto refused = book.enter(who, into, start);
    return refused ? refused->message + "; " + refused->detail : std::string();
}

}  // namespace

TEST_CASE("limiter: each user, database, address and application has its own count", "[limits]") {
    auto settings = policy();
    settings->limits.user_clients.set(1);
    limiter book{*settings};
    client_limits first;
    client_limits second;
    client_limits third;
    CHECK(refusal(book, who("a"), first).empty());
    CHECK(refusal(book, who("b"), second).empty());
    CHECK(
        refusal(book, who("a"), third) ==
        "too many connections for role \"a\"; The limit is 1 (limits.user_clients), 1 are connected, 0 "
        "remain."
    );
    CHECK(third.empty());
    book.leave(first);
    CHECK(refusal(book, who("a"), third).empty());
    book.leave(second);
    book.leave(third);
    CHECK(book.accounts() == 0);

    struct one {
        config::setting<std::uint32_t> config::limit_settings::*setting;
        client_identity other;
        std::string_view words;
    };
    for (const one& each :
         {one{&config::limit_settings::database_clients, who("a", "other"),
              "too many connections for database \"app\""},
          one{&config::limit_settings::address_clients, who("a", "app", "10.0.0.2"),
              "too many connections from address \"10.0.0.1\""},
          one{&config::limit_settings::application_clients, who("a", "app", "10.0.0.1", "batch"),
              "too many connections for application \"web\""}}) {
        auto other = policy();
        (other->limits.*each.setting).set(1);
        book.adopt(*other);
        CHECK(refusal(book, who("a"), first).empty());
        CHECK(refusal(book, each.other, second).empty());
        CHECK(refusal(book, who("b"), third).starts_with(each.words));
        book.leave(first);
        book.leave(second);
    }
}

TEST_CASE(
    "limiter: the first rule that fits and speaks of a limit decides it, for each kind and scope", "[limits]"
) {
    auto settings = policy(
        "[{user: admin, clients: 0, requests: none}, {user: batch, clients: 2}, "
        "{database: app, user: batch, per: together, clients: 1}, {address: 10.0.0.0/8, per: address, "
        "clients: 3}, "
        "{address: local, per: together, clients: 1}]"
    );
    settings->limits.user_clients.set(1);
    settings->limits.user_requests.set({1, 60s, 1});
    limiter book{*settings};
    std::array<client_limits, 8> clients;
    // No limit is no limit, also where the defaults have one.
    CHECK(refusal(book, who("admin", "app", "::1"), clients[0]).empty());
    CHECK(refusal(book, who("admin", "app", "::1"), clients[1]).empty());
    CHECK(clients[0].empty());
    // A rule without a rate leaves that to the defaults.
    CHECK(refusal(book, who("batch", "other"), clients[2]).empty());
    CHECK(clients[2].rates());
    CHECK(refusal(book, who("batch"), clients[3]).empty());
    CHECK(
        refusal(book, who("batch", "other"), clients[4]) ==
        "too many connections for role \"batch\"; The limit is 2 (limits.rules[1]), 2 are connected, 0 "
        "remain."
    );
    book.leave(clients[2]);
    CHECK(
        refusal(book, who("batch"), clients[4]) ==
        "too many connections for limits.rules[2]; The limit is 1 (limits.rules[2]), 1 are connected, 0 "
        "remain."
    );
    CHECK(refusal(book, who("x", "other"), clients[4]).empty());
    CHECK(refusal(book, who("y", "other"), clients[5]).empty());
    CHECK(refusal(book, who("z", "other"), clients[6]).starts_with("too many connections from address"));
    CHECK(refusal(book, who("z", "other", "local"), clients[6]).empty());
    CHECK(refusal(book, who("u", "other", "local"), clients[7])
              .starts_with("too many connections for limits.rules[4]"));
    // Who was refused counts nowhere.
    for (auto& each : clients)
        book.leave(each);
    CHECK(book.facts(start, 100).empty());
}

TEST_CASE("limiter: a request takes a token of each account, or of none", "[limits]") {
    auto settings = policy();
    settings->limits.user_requests.set({10, 60s, 3});
    settings->limits.database_requests.set({10, 60s, 2});
    limiter book{*settings};
    client_limits first;
    client_limits second;
    REQUIRE(refusal(book, who("a"), first).empty());
    REQUIRE(refusal(book, who("b"), second).empty());
    CHECK(first.admit(start).account == nullptr);
    CHECK(second.admit(start).account == nullptr);
    const auto over = first.admit(start + 1s);
    REQUIRE(over.account != nullptr);
    const auto told = book.request_refused(over);
    CHECK(told.scope == limit_scope::database);
    CHECK(told.message == "too many requests of database \"app\"");
    CHECK(
        told.detail == "The limit is 10 requests per minute, 2 at once (limits.database_requests), 0 remain."
    );
    CHECK(told.hint == "Retry after 5 s.");
    // What the refused one took of its user's was given back: two are left.
    const auto& user = *first.rated[static_cast<std::size_t>(limit_scope::user)];
    CHECK(user.bucket.remaining(user.rate, start + 1s) == 2);
    const auto rows = book.facts(start + 1s, 1);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].subject == "database \"app\"");
    CHECK(rows[0].current == 2);
    CHECK(rows[0].refused == 1);
}

TEST_CASE("limiter: who comes back finds the tokens it has left", "[limits]") {
    auto settings = policy();
    settings->limits.user_requests.set({1, 60s, 1});
    limiter book{*settings};
    client_limits limits;
    REQUIRE(refusal(book, who("a"), limits).empty());
    CHECK(limits.admit(start).account == nullptr);
    book.leave(limits);
    REQUIRE(refusal(book, who("a"), limits).empty());
    CHECK(limits.admit(start).account != nullptr);
}

TEST_CASE("limiter: the table is bounded, and those beyond it are one", "[limits]") {
    auto settings = policy();
    settings->limits.table_size.set(16);
    settings->limits.address_requests.set({1, 60s, 1});
    settings->limits.address_clients.set(2);
    limiter book{*settings};
    std::vector<std::unique_ptr<client_limits>> clients;
    const auto enter = [&](int number, time_point now) {
        clients.push_back(std::make_unique<client_limits>());
        const std::string address = "10.0.0." + std::to_string(number);
        return book.enter(who("a", "app", address), *clients.back(), now);
    };
    // Two accounts each: one for the clients, one for the requests.
    for (int i = 0; i < 8; ++i)
        REQUIRE_FALSE(enter(i, start));
    CHECK(book.accounts() == 16);
    REQUIRE_FALSE(enter(100, start));
    REQUIRE_FALSE(enter(101, start));
    CHECK(book.accounts() == 18);
    CHECK(clients[8]->admit(start).account == nullptr);
    CHECK(clients[9]->admit(start).account != nullptr);
    const auto refused = enter(102, start);
    REQUIRE(refused);
    CHECK(refused->message == "too many connections from several addresses that count as one");
    CHECK(book.accounts() == 18);
    // Those that nobody uses any more make room, but not while their tokens still count.
    CHECK(clients[0]->admit(start).account == nullptr);
    book.leave(*clients[0]);
    book.leave(*clients[1]);
    REQUIRE_FALSE(enter(103, start + 2s));
    CHECK_FALSE(clients.back()->rated[static_cast<std::size_t>(limit_scope::address)]->shared);
    REQUIRE_FALSE(enter(0, start + 4s));
    CHECK(clients.back()->admit(start + 4s).account != nullptr);
    for (auto& each : clients)
        book.leave(*each);
    enter(1, start + 300s);
    CHECK(book.accounts() <= 16);
}

TEST_CASE(
    "limiter: a rule that has not changed keeps its counts and tokens, also in another place", "[limits]"
) {
    limiter book{*policy("[{user: a, clients: 2, requests: strict burst 1}]")};
    client_limits first;
    client_limits second;
    REQUIRE(refusal(book, who("a"), first).empty());
    CHECK(first.admit(start).account == nullptr);
    book.adopt(*policy("[{user: b, clients: 5}, {user: a, clients: 2, requests: strict burst 1}]"));
    book.resettle(who("a"), first, start);
    CHECK(first.admit(start).account != nullptr);
    REQUIRE(refusal(book, who("a"), second).empty());
    client_limits third;
    CHECK(
        refusal(book, who("a"), third) ==
        "too many connections for role \"a\"; The limit is 2 (limits.rules[1]), 2 are connected, 0 remain."
    );
    // A smaller one keeps out who comes, not who is in.
    book.adopt(*policy("[{user: a, clients: 1}]"));
    book.resettle(who("a"), first, start);
    book.resettle(who("a"), second, start);
    CHECK_FALSE(first.rates());
    CHECK(refusal(book, who("a"), third)
              .ends_with("The limit is 1 (limits.rules[0]), 2 are connected, 0 remain."));
    book.adopt(*policy());
    book.resettle(who("a"), first, start);
    book.resettle(who("a"), second, start);
    CHECK(first.empty());
    CHECK(book.accounts() == 0);
}

TEST_CASE("limiter: whoever comes and goes, no limit is passed and none is used up", "[limits]") {
    std::mt19937 random{3};
    limiter book{
        *policy("[{user: u0, clients: 2}, {per: user, clients: 3}, {per: database, clients: 5}, "
                "{address: 10.0.0.0/31, per: together, clients: 4}]")};
    struct client {
        std::string user;
        std::string database;
        std::string address;
        client_limits limits;
    };
    std::vector<std::unique_ptr<client>> in;
    for (int step = 0; step < 5000; ++step) {
        if (random() % 2 == 0 && !in.empty()) {
            const std::size_t place = random() % in.size();
            book.leave(in[place]->limits);
            in.erase(in.begin() + static_cast<std::ptrdiff_t>(place));
            continue;
        }
        auto next = std::make_unique<client>();
        next->user = "u" + std::to_string(random() % 4);
        next->database = "d" + std::to_string(random() % 2);
        next->address = "10.0.0." + std::to_string(random() % 4);
        const auto count = [&in](auto condition) { return std::count_if(in.begin(), in.end(), condition); };
        const auto users = count([&](const auto& each) { return each->user == next->user; });
        const auto databases = count([&](const auto& each) { return each->database == next->database; });
        const auto low = [](const std::string& address) {
            return address == "10.0.0.0" || address == "10.0.0.1";
        };
        const auto lows = count([&](const auto& each) { return low(each->address); });
        const bool expected =
            users < (next->user == "u0" ? 2 : 3) && databases < 5 && (!low(next->address) || lows < 4);
        const bool entered = !book.enter(who(next->user, next->database, next->address), next->limits, start);
        REQUIRE(entered == expected);
        if (entered) in.push_back(std::move(next));
    }
    for (auto& each : in)
        book.leave(each->limits);
    CHECK(book.accounts() == 0);
}

TEST_CASE("limiter: times and sizes are of each client, by the first rule that speaks of them", "[limits]") {
    using config::request_limit;
    auto settings = policy(
        "[{application_name: report, query_timeout: 0, result_size: 1KiB}, "
        "{user: a, query_timeout: 5s, clients: 9}]"
    );
    settings->limits.query_timeout.set(1s);
    settings->limits.idle_transaction_timeout.set(2s);
    limiter book{*settings};
    client_limits report;
    client_limits own;
    client_limits other;
    REQUIRE_FALSE(book.enter(who("a", "app", "10.0.0.1", "report"), report, start));
    REQUIRE_FALSE(book.enter(who("a"), own, start));
    REQUIRE_FALSE(book.enter(who("b"), other, start));
    CHECK(report.bounds.query == 0s);
    CHECK(report.bounds.result_bytes == 1024);
    CHECK(report.bounds.idle_transaction == 2s);
    CHECK(own.bounds.query == 5s);
    CHECK(own.bounds.result_bytes == 0);
    CHECK(other.bounds.query == 1s);
    CHECK(other.bounds.transaction == 0s);

    const auto words = book.ended(own, request_limit::query_timeout, false);
    REQUIRE(words);
    CHECK(words->message == "canceling statement due to query timeout");
    CHECK(words->detail == "The limit is 5s (limits.rules[1]).");
    CHECK_FALSE(book.ended(own, request_limit::result_size, false));
    const auto late = book.ended(other, request_limit::query_timeout, true);
    REQUIRE(late);
    CHECK(
        late->detail ==
        "The limit is 1s (limits.query_timeout). The statement before was over it; its cancel came when this "
        "one "
        "ran."
    );
    std::vector<std::string> rows;
    for (const limit_facts& each : book.facts(start, 100))
        rows.push_back(
            std::string(each.kind) + " " + each.subject + " " + std::to_string(each.current) + " of " +
            std::to_string(each.most) + ", " + std::to_string(each.refused)
        );
    std::sort(rows.begin(), rows.end());
    CHECK(
        rows ==
        std::vector<std::string>{
            "clients role \"a\" 2 of 9, 0",
            "idle_transaction_timeout_ms limits.idle_transaction_timeout 3 of 2000, 0",
            "query_timeout_ms limits.query_timeout 1 of 1000, 1", "query_timeout_ms role \"a\" 1 of 5000, 1",
            "result_size_bytes limits.rules[0] 1 of 1024, 0"}
    );
    // What was ended is still known when nobody is left, as long as the policy says the same.
    for (client_limits* each : {&report, &own, &other})
        book.leave(*each);
    REQUIRE(book.facts(start, 100).size() == 1);
    CHECK(book.facts(start, 100).front().refused == 1);
    auto without = policy();
    book.adopt(*without);
    CHECK(book.accounts() == 0);
}
