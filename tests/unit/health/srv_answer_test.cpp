#include "health/srv_answer.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <string>

using namespace pgmend::health;
namespace config = pgmend::config;

namespace {

void put(std::string& to, std::uint32_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        to += static_cast<char>(value >> shift);
}

std::string name(std::string_view dotted) {
    std::string made;
    while (!dotted.empty()) {
        const std::string_view label = dotted.substr(0, dotted.find('.'));
        made += static_cast<char>(label.size());
        made += label;
        dotted.remove_prefix(std::min(dotted.size(), label.size() + 1));
    }
    return made + '\0';
}

struct record {
    std::uint32_t ttl;
    std::uint16_t priority, weight, port;
    std::string target;
    std::uint16_t type = 33;
    int shorter = 0;  ///< the length that is told is as much too small
};

std::string message(const std::vector<record>& records, int rcode = 0, int told = -1) {
    std::string made;
    put(made, 77, 2);
    put(made, 0x8180U | static_cast<unsigned>(rcode), 2);
    put(made, 1, 2);
    put(made, static_cast<std::uint32_t>(told < 0 ? static_cast<int>(records.size()) : told), 2);
    put(made, 0, 4);
    made += name("_postgresql._tcp.db.example");
    put(made, 33, 2);
    put(made, 1, 2);
    for (const record& one : records) {
        put(made, 0xc00c, 2);  // the name that was asked for
        put(made, one.type, 2);
        put(made, 1, 2);
        put(made, one.ttl, 4);
        std::string data;
        if (one.type == 33) {
            put(data, one.priority, 2);
            put(data, one.weight, 2);
            put(data, one.port, 2);
        }
        data += name(one.target);
        put(made, static_cast<std::uint32_t>(static_cast<int>(data.size()) - one.shorter), 2);
        made += data;
    }
    return made;
}

srv_answer read(const std::string& text) { return read_srv_answer(std::as_bytes(std::span{text})); }

std::string order(const std::vector<srv_record>& records, std::uint64_t seed) {
    std::string text;
    for (const named_server& one : servers_in_order(records, seed))
        text += (text.empty() ? "" : ", ") + config::print_server(one.address);
    return text;
}

}  // namespace

TEST_CASE("srv answer: what is read of a good one", "[health]") {
    const srv_answer answer =
        read(message({{300, 1, 5, 5432, "db1.example"}, {60, 2, 0, 5433, "db2.example"}}));
    CHECK(answer.problem.empty());
    CHECK(answer.ttl == 60);
    CHECK(
        answer.records == std::vector<srv_record>{{"db1.example", 5432, 1, 5}, {"db2.example", 5433, 2, 0}}
    );
    // Names that lead there on the way are no servers.
    const srv_answer led = read(message({{30, 0, 0, 0, "other.example", 5}, {60, 1, 1, 1, "db1.example"}}));
    CHECK(led.problem.empty());
    CHECK(led.records.size() == 1);
    CHECK(led.ttl == 30);
}

TEST_CASE("srv answer: what cannot be taken is refused with its reason", "[health]") {
    const record good{60, 1, 1, 5432, "db1.example"};
    record zero = good;
    zero.port = 0;
    record root = good;
    root.target = "";
    record strange = good;
    strange.target = "db 1;rm.example";
    record cut = good;
    cut.shorter = 3;
    record stub = good;
    stub.shorter = 13;
    const std::string whole = message({good, good});
    const struct {
        const char* what;
        std::string text;
        const char* problem;
    } examples[]{
        {"nothing", "", "is no answer of DNS"},
        {"half a header", whole.substr(0, 7), "is no answer of DNS"},
        {"cut within a record", whole.substr(0, whole.size() - 4), "is no answer of DNS"},
        {"fewer records than told", message({good}, 0, 2), "is no answer of DNS"},
        {"an error", message({good}, 2), "is an error"},
        {"no record at all", message({}), "has no SRV record"},
        {"no SRV record", message({{30, 0, 0, 0, "other.example", 5}}), "has no SRV record"},
        {"there is no service", message({root}), "says that there is no such service"},
        {"no host", message({good, strange}), "has a target that is no host"},
        {"no port", message({good, zero}), "has port 0"},
        {"a target that goes on behind its record", message({cut, good}), nullptr},
        {"a record without a target", message({stub}), nullptr},
        {"too many", message(std::vector<record>(most_srv_records + 1, good)), "has more than 64 records"},
    };
    for (const auto& example : examples) {
        INFO(example.what);
        const srv_answer answer = read(example.text);
        CHECK_FALSE(answer.problem.empty());
        if (example.problem != nullptr) CHECK(answer.problem == example.problem);
    }
    for (std::size_t size = 0; size < whole.size(); ++size)
        CHECK_FALSE(read(whole.substr(0, size)).problem.empty());
}

TEST_CASE("srv answer: priority first, and weights as a proportion", "[health]") {
    const std::vector<srv_record> records{
        {"spare", 5432, 20, 100}, {"rare", 5432, 10, 10}, {"often", 5432, 10, 90}, {"last", 5432, 10, 0}};
    std::map<std::string, int> first;
    for (std::uint64_t seed = 0; seed < 2000; ++seed) {
        const named_list list = servers_in_order(records, seed);
        REQUIRE(list.size() == 4);
        CHECK(list[3].address.host == "spare");
        CHECK(list[2].address.host == "last");
        ++first[list[0].address.host];
    }
    CHECK(first["often"] > 1700);
    CHECK(first["often"] < 1900);
    CHECK(first["rare"] == 2000 - first["often"]);
    // One seed, one order, whatever order they come in.
    CHECK(order(records, 5) == order({records[2], records[3], records[0], records[1]}, 5));
    CHECK(order({records[0], records[0]}, 1) == "spare:5432");
}
