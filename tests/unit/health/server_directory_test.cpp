#include "health/server_directory.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "health/topology.hpp"

using namespace pgmend::health;
using namespace std::chrono_literals;
namespace config = pgmend::config;

namespace {

const config::time_point start{1h};

config::server_list servers(std::initializer_list<std::string_view> names) {
    config::server_list made;
    for (const auto name : names)
        made.push_back(*config::parse_server(name).value);
    return made;
}

named_list named(const config::server_list& servers) {
    named_list made;
    for (const auto& address : servers)
        made.push_back({address, "", false, false});
    return made;
}

/// Each place as `host:port`, with a mark when it is leaving (-) or gone (x).
std::string shown(const server_directory& directory) {
    std::string text;
    for (const known_server& one : *directory.roster()) {
        if (!text.empty()) text += ' ';
        text += one.here == presence::leaving ? "-" : one.here == presence::gone ? "x" : "";
        text += one.address.host;
    }
    return text;
}

topology picture(std::size_t nodes, std::optional<std::size_t> primary) {
    topology made;
    made.nodes.resize(nodes);
    for (node_view& node : made.nodes)
        node.condition = node_condition::up;
    made.memory.primary = primary;
    return made;
}

}  // namespace

TEST_CASE("server directory: places are those of the configuration until a list is heard", "[health]") {
    server_directory directory{servers({"a", "b"})};
    CHECK(shown(directory) == "a b");
    CHECK((*directory.roster())[1].source == server_source::configured);
    CHECK(directory.heard(server_source::srv, named(servers({"c", "b"})), start));
    CHECK(shown(directory) == "-a b c");
    CHECK((*directory.roster())[1].source == server_source::srv);
    CHECK((*directory.roster())[2].rank == 0);
    CHECK((*directory.roster())[1].rank == 1);
    const roster_snapshot before = directory.roster();
    CHECK_FALSE(directory.heard(server_source::srv, named(servers({"c", "b"})), start + 1s));
    CHECK(directory.roster() == before);
}

TEST_CASE("server directory: who left is looked at for a while, and comes back to its place", "[health]") {
    server_directory directory{servers({"a", "b"})};
    directory.heard(server_source::srv, named(servers({"b"})), start);
    CHECK_FALSE(directory.settle(picture(2, 1), start + 59s));
    CHECK(shown(directory) == "-a b");
    CHECK(directory.settle(picture(2, 1), start + 60s));
    CHECK(shown(directory) == "xa b");
    CHECK(directory.heard(server_source::srv, named(servers({"b", "a"})), start + 61s));
    CHECK(shown(directory) == "a b");
}

TEST_CASE(
    "server directory: a primary that works stays until it is down or another one is elected", "[health]"
) {
    server_directory directory{servers({"a", "b"})};
    directory.heard(server_source::srv, named(servers({"b"})), start);
    for (auto at = start; at < start + 1h; at += 1s)
        directory.settle(picture(2, 0), at);
    CHECK(shown(directory) == "-a b");
    SECTION("another one") { directory.settle(picture(2, 1), start + 1h); }
    SECTION("it is down") {
        topology down = picture(2, 0);
        down.nodes[0].condition = node_condition::down;
        directory.settle(down, start + 1h);
    }
    CHECK(shown(directory) == "-a b");
    CHECK(directory.settle(picture(2, 1), start + 1h + 60s));
    CHECK(shown(directory) == "xa b");
}

TEST_CASE(
    "server directory: the same server twice is one, and more than there is room for are refused", "[health]"
) {
    server_directory directory{{}};
    CHECK(directory.roster()->empty());
    directory.heard(server_source::srv, named(servers({"a", "b", "a"})), start);
    CHECK(shown(directory) == "a b");
    CHECK(directory.refused() == 0);
    config::server_list many;
    for (std::size_t i = 0; i < server_directory::most_listed + 5; ++i)
        many.push_back(*config::parse_server("h" + std::to_string(i)).value);
    directory.heard(server_source::srv, named(many), start);
    CHECK(directory.refused() == 5);
    CHECK(directory.roster()->size() == 2 + server_directory::most_listed);
}

TEST_CASE("server directory: places are given away only long after their server is gone", "[health]") {
    // Pods that come back with another address each time, for ever.
    server_directory directory{{}};
    config::time_point now = start;
    std::size_t turned_away = 0;
    for (std::size_t i = 0; i < 1000; ++i) {
        const std::string name = "pod" + std::to_string(i);
        now += 30s;
        directory.settle(picture(directory.roster()->size(), std::nullopt), now);
        directory.heard(server_source::srv, named(servers({name})), now);
        turned_away += directory.refused();
        std::size_t listed = 0;
        for (const known_server& one : *directory.roster())
            listed += one.here == presence::listed ? 1 : 0;
        REQUIRE(listed == 1);
    }
    CHECK(turned_away == 0);
    CHECK(directory.roster()->size() == server_directory::most_places);
    // As many at once find no place, as nobody's may be taken yet.
    server_directory full{{}};
    for (std::size_t i = 0; i < server_directory::most_places; ++i)
        full.heard(server_source::srv, named(servers({"pod" + std::to_string(i)})), start);
    full.heard(server_source::srv, named(servers({"one-more", "pod1"})), start + 1s);
    CHECK(full.refused() == 1);
    CHECK((*full.roster())[1].here == presence::listed);
    full.settle(picture(full.roster()->size(), std::nullopt), start + 2min);
    full.heard(server_source::srv, named(servers({"one-more", "pod1"})), start + 3min);
    CHECK(full.refused() == 1);
    full.heard(server_source::srv, named(servers({"one-more", "pod1"})), start + 13min);
    CHECK(full.refused() == 0);
    CHECK((*full.roster())[0].address.host == "one-more");
}

TEST_CASE("server directory: what a list says beside the address is told, and goes with it", "[health]") {
    server_directory directory{servers({"a", "b"})};
    named_list said = named(servers({"a", "b"}));
    said[0].said = "leader, running";
    said[0].leader = true;
    said[1].behind = true;
    CHECK(directory.heard(server_source::patroni, said, start));
    CHECK((*directory.roster())[0].said == "leader, running");
    CHECK((*directory.roster())[0].leader);
    CHECK((*directory.roster())[1].behind);
    CHECK_FALSE(directory.heard(server_source::patroni, said, start));
    said.erase(said.begin());
    CHECK(directory.heard(server_source::patroni, said, start));
    CHECK((*directory.roster())[0].said.empty());
    CHECK_FALSE((*directory.roster())[0].leader);
}
