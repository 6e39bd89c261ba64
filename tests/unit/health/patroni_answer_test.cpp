#include "health/patroni_answer.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace pgmend::health;
namespace config = pgmend::config;

namespace {

std::string member(const std::string& more, const std::string& role = "replica") {
    return R"({"name": "n", "state": "running", "role": ")" + role + "\"" +
           (more.empty() ? "" : ", " + more) + "}";
}
std::string cluster(const std::vector<std::string>& members) {
    std::string text;
    for (const std::string& each : members)
        text += (text.empty() ? "" : ", ") + each;
    return "{\"members\": [" + text + "]}";
}
std::string at(const std::string& host, int port = 5432, const std::string& more = "") {
    return "\"host\": \"" + host + "\", \"port\": " + std::to_string(port) +
           (more.empty() ? "" : ", " + more);
}
/// `host:port` of each, with its marks.
std::string shown(const patroni_answer& answer) {
    if (!answer.problem.empty()) return answer.problem;
    std::string text;
    for (const named_server& one : answer.servers) {
        text += (text.empty() ? "" : " ") + config::print_server(one.address);
        if (one.leader) text += '*';
        if (one.behind) text += '-';
    }
    return text;
}

}  // namespace

TEST_CASE("patroni answer: what Patroni 3 and 4 answer is read, the leader first", "[health]") {
    const patroni_answer three = read_patroni_answer(
        R"({"members": [{"name": "a", "role": "replica", "state": "running", "api_url": "http://10.0.0.1:8008/patroni",
            "host": "10.0.0.1", "port": 5432, "timeline": 3, "tags": {"clonefrom": true}, "lag": 0},
            {"name": "b", "role": "leader", "state": "running", "api_url": "http://10.0.0.2:8008/patroni",
            "host": "10.0.0.2", "port": 5433, "timeline": 3},
            {"name": "c", "role": "sync_standby", "state": "running", "host": "fd00::3", "port": 5432, "lag": 16}],
            "pause": true, "scheduled_switchover": {"at": "2026-01-01T00:00:00+00:00"}})",
        0
    );
    CHECK(shown(three) == "10.0.0.2:5433* [fd00::3]:5432 10.0.0.1:5432");
    CHECK(three.servers[0].said == "leader, running");
    CHECK(three.servers[1].said == "sync_standby, running");
    const patroni_answer four = read_patroni_answer(
        R"({"members": [{"name": "a", "role": "quorum_standby", "state": "streaming", "host": "a.db", "port": 5432,
            "timeline": 1, "receive_lag": 0, "replay_lag": 0, "lsn": "0/1"},
            {"name": "b", "role": "leader", "state": "running", "host": "b.db", "port": 5432, "timeline": 1}],
            "scope": "batman"})",
        0
    );
    CHECK(shown(four) == "b.db:5432* a.db:5432");
    // The leader of a standby cluster is no primary.
    CHECK(shown(read_patroni_answer(cluster({member(at("a"), "standby_leader")}), 0)) == "a:5432");
    // One that has no address yet is not there, and PostgreSQL's port is meant where none is told.
    CHECK(shown(read_patroni_answer(cluster({member(""), member("\"host\": \"b\"")}), 0)) == "b:5432");
}

TEST_CASE("patroni answer: what /replica?lag= would refuse is behind", "[health]") {
    const auto read = [](const std::string& more, std::uint64_t most, const std::string& role = "replica") {
        return shown(read_patroni_answer(cluster({member(at("a", 1, more), role)}), most));
    };
    CHECK(read("\"lag\": 100", 0) == "a:1");
    CHECK(read("\"lag\": 100", 100) == "a:1");
    CHECK(read("\"lag\": 101", 100) == "a:1-");
    CHECK(read("\"lag\": \"unknown\"", 100) == "a:1-");
    CHECK(read("\"replay_lag\": 101", 100) == "a:1-");
    CHECK(read("", 100) == "a:1-");
    CHECK(read("\"lag\": 0, \"tags\": {\"noloadbalance\": true}", 100) == "a:1-");
    CHECK(read("\"lag\": 0, \"tags\": {\"noloadbalance\": false}", 100) == "a:1");
    CHECK(read("", 100, "leader") == "a:1*");
}

TEST_CASE("patroni answer: what cannot be taken is refused with its reason", "[health]") {
    const std::string good = member(at("good"));
    const struct {
        std::string text;
        const char* problem;
    } examples[]{
        {"", "is no JSON"},
        {"<html>502 Bad Gateway</html>", "is no JSON"},
        {"{\"members\": [", "is no JSON"},
        {std::string(5000, '['), "is no JSON"},
        {"[]", "has no members"},
        {"{}", "has no members"},
        {"{\"members\": {}}", "has no members"},
        {cluster({}), "has no member with an address"},
        {cluster({member("")}), "has no member with an address"},
        {cluster({good, "7"}), "has a member that is no object"},
        {cluster({good, "{}"}), "has a member without a role"},
        {cluster({good, member(at("x"), std::string(41, 'r'))}), "has a member without a role"},
        {cluster({good, member(at("x"), "a\\u0007b")}), "has a member without a role"},
        {cluster({good, member("\"host\": 7")}), "has a member whose host is none"},
        {cluster({good, member(at(""))}), "has a member whose host is none"},
        {cluster({good, member(at("/tmp"))}), "has a member whose host is none"},
        {cluster({good, member(at("a b"))}), "has a member whose host is none"},
        {cluster({good, member(at(std::string(254, 'a')))}), "has a member whose host is none"},
        {cluster({good, member(at("x", 0))}), "has a member whose port is none"},
        {cluster({good, member(at("x", 65536))}), "has a member whose port is none"},
        {cluster({good, member(at("x", -1))}), "has a member whose port is none"},
        {cluster({good, member("\"host\": \"x\", \"port\": \"5432\"")}), "has a member whose port is none"},
        {cluster({good, good}), "has two members at one address"},
        {cluster({member(at("a"), "leader"), member(at("b"), "leader")}), "has two leaders"},
        {cluster(std::vector<std::string>(65, good)), "has more than 64 members"},
        {std::string(longest_patroni_answer + 1, ' '), "is too long"},
    };
    for (const auto& example : examples) {
        INFO(example.text.substr(0, 200));
        CHECK(shown(read_patroni_answer(example.text, 0)) == example.problem);
    }
}
