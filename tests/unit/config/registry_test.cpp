#include "config/registry.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <type_traits>

#include "config/settings.hpp"

using namespace pgmend::config;

static_assert(!std::is_copy_constructible_v<settings> && !std::is_move_constructible_v<settings>);
static_assert(std::is_same_v<decltype(settings().pool.size()), std::uint32_t>);
static_assert(std::is_same_v<decltype(settings().pool.wait_timeout()), milliseconds>);
static_assert(std::is_same_v<decltype(settings().upstream.servers()), const server_list&>);

namespace {

problems read(setting_base& setting, std::string text) {
    problems found;
    setting.read(
        document_node{node_kind::scalar, {3, 7}, std::move(text), {}, {}}, value_source::file, found
    );
    return found;
}

}  // namespace

TEST_CASE("registry: every setting has a key, a variable and a sentence of its own", "[config]") {
    const settings all;
    std::set<std::string> names;
    for (const setting_base* each : all.all()) {
        INFO(each->key());
        CHECK(each->doc().size() > 20);
        CHECK(each->doc().back() == '.');
        CHECK(names.insert(each->environment_name()).second);
        CHECK(all.find(each->key()) == each);
        CHECK(each->source() == value_source::built_in);
        CHECK(each->shown() == each->shown_default());
        CHECK_FALSE(each->allowed().empty());
    }
    CHECK(names.size() > 40);
    CHECK(names.contains("PGMEND_POOL_WAIT_TIMEOUT"));
    CHECK(names.contains("PGMEND_LISTEN_TLS_MODE"));
    CHECK(names.contains("PGMEND_WORKERS"));
}

TEST_CASE("registry: every default but an empty one is a value that may be written", "[config]") {
    settings all;
    for (setting_base* each : all.all()) {
        INFO(each->key());
        const std::string before = each->shown_default();
        if (before.empty()) continue;
        CHECK(read(*each, before).empty());
        CHECK(each->shown() == before);
        CHECK(each->source() == value_source::file);
    }
}

TEST_CASE("registry: secrets are the settings that may hold one", "[config]") {
    const settings all;
    std::set<std::string_view> secrets;
    for (const setting_base* each : all.all())
        if (each->secret()) secrets.insert(each->key());
    CHECK(
        secrets ==
        std::set<std::string_view>{
            "upstream.url", "upstream.password", "users", "auth.query.password", "health.password"}
    );
}

TEST_CASE("registry: sections are known by their settings", "[config]") {
    const settings all;
    CHECK(all.is_section("pool"));
    CHECK(all.is_section("listen.tls"));
    CHECK_FALSE(all.is_section("poo"));
    CHECK_FALSE(all.is_section("pool.size"));
    CHECK_FALSE(all.is_section("workers"));
    CHECK(all.find("pool") == nullptr);
    CHECK(all.find("") == nullptr);
}

TEST_CASE("registry: a misspelt key finds its neighbour, nonsense finds none", "[config]") {
    const settings all;
    CHECK(all.nearest("pool.sze") == "pool.size");
    CHECK(all.nearest("pool.mdoe") == "pool.mode");
    CHECK(all.nearest("pool.wait_timout") == "pool.wait_timeout");
    CHECK(all.nearest("poool") == "pool");
    CHECK(all.nearest("worker") == "workers");
    CHECK(all.nearest("tls.mode") == "listen.tls.mode");
    CHECK(all.nearest("drain_timeout") == "shutdown.drain_timeout");
    CHECK(all.nearest("max_client_connections").empty());
    CHECK(all.nearest("zzzzzzzz").empty());
    CHECK(all.nearest(std::string(100'000, 'p')).empty());
}

TEST_CASE("registry: a value out of range is refused and the old one stays", "[config]") {
    settings all;
    REQUIRE(read(all.workers, "64").empty());
    const problems high = read(all.workers, "65");
    REQUIRE(high.size() == 1);
    CHECK(high[0].key == "workers");
    CHECK(high[0].text == "'65' is out of range; allowed: auto, or a whole number 1..64");
    CHECK(high[0].at.line == 3);
    CHECK(high[0].at.column == 7);
    CHECK(read(all.workers, "0")[0].text == "'0' is out of range; allowed: auto, or a whole number 1..64");
    // More than the type of the setting holds must not wrap around into the range.
    CHECK(
        read(all.workers, "4294967297")[0].text ==
        "'4294967297' is out of range; allowed: auto, or a whole number 1..64"
    );
    CHECK(
        read(all.listen.port, "65536")[0].text == "'65536' is out of range; allowed: a whole number 0..65535"
    );
    CHECK(all.workers().threads == 64);
    CHECK(
        read(all.limits.held_message, "1KiB")[0].text == "'1KiB' is out of range; allowed: a size 16KiB..1GiB"
    );
    CHECK(read(all.pool.wait_timeout, "0")[0].text == "'0' is out of range; allowed: a duration 1ms..1d");
}

TEST_CASE("registry: a secret is neither shown nor quoted", "[config]") {
    settings all;
    CHECK(all.upstream.password.shown().empty());
    CHECK(read(all.upstream.password, "hunter2").empty());
    CHECK(all.upstream.password() == "hunter2");
    CHECK(all.upstream.password.shown() == "***");
    const problems found = read(all.upstream.password, std::string("hun\0ter2", 8));
    REQUIRE(found.size() == 1);
    CHECK(found[0].text == "*** contains a NUL character; allowed: text");
    all.users.set({{"app", "hunter2"}, {"guest", ""}});
    CHECK(all.users.shown() == "app:***, guest");
    all.upstream.url.set({"postgres://app:hunter2@h/d"});
    CHECK(all.upstream.url.shown() == "postgres://app:***@h:5432/d");
}
