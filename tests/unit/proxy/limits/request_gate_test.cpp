#include "proxy/limits/request_gate.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace pgmend::proxy;

namespace {

std::string message(char type, std::size_t body = 3) {
    const std::size_t length = body + 4;
    std::string text{type};
    for (const int shift : {24, 16, 8, 0})
        text += static_cast<char>(length >> shift & 0xFF);
    return text + std::string(body, 'x');
}
std::string messages(std::string_view types) {
    std::string all;
    for (const char type : types)
        all += message(type);
    return all;
}
request_gate::bytes bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
request_gate started() {
    request_gate gate;
    gate.start();
    return gate;
}

}  // namespace

TEST_CASE("request gate: a request is a Query, or everything up to a Sync", "[limits]") {
    const auto first = [](std::string_view types) {
        return started().reach(bytes_of(messages(types))) / message('Q').size();
    };
    CHECK(first("QQ") == 1);
    CHECK(first("PBDESQ") == 5);
    CHECK(first("FQ") == 1);
    CHECK(first("PBQQ") == 3);
    CHECK(first("SQ") == 1);
    CHECK(first("PBE") == 3);
    CHECK(first("dcQ") == 2);
    CHECK(first("dcPBS") == 2);
}

TEST_CASE("request gate: only what asks for something is a beginning, once", "[limits]") {
    for (const char type : std::string("QFPBDEC"))
        CHECK(started().at_beginning(bytes_of(message(type))));
    for (const char type : std::string("SHXdcfp"))
        CHECK_FALSE(started().at_beginning(bytes_of(message(type))));
    CHECK_FALSE(started().at_beginning(bytes_of(message('Q').substr(0, 4))));
    CHECK_FALSE(started().at_beginning(bytes_of(std::string("Q\0\0\0\3xxxx", 9))));

    request_gate gate = started();
    const std::string group = messages("PBES");
    gate.let_in();
    CHECK_FALSE(gate.at_beginning(bytes_of(group)));
    gate.passed(bytes_of(messages("P")));
    CHECK_FALSE(gate.at_beginning(bytes_of(messages("BES"))));
    gate.passed(bytes_of(messages("BES")));
    CHECK(gate.at_beginning(bytes_of(group)));
}

TEST_CASE("request gate: what comes once more was let in before", "[limits]") {
    request_gate gate = started();
    gate.let_in();
    gate.passed(bytes_of(messages("QP")));
    gate.again(messages("QP").size());
    CHECK_FALSE(gate.at_beginning(bytes_of(messages("QPBES"))));
    gate.passed(bytes_of(messages("Q")));
    CHECK_FALSE(gate.at_beginning(bytes_of(messages("PBES"))));
    gate.passed(bytes_of(messages("PBES")));
    CHECK(gate.at_beginning(bytes_of(messages("Q"))));
}

TEST_CASE("request gate: a refused request is thrown away to its end, however it comes", "[limits]") {
    request_gate gate = started();
    const std::string query = message('Q', 100) + messages("Q");
    CHECK(gate.refuse(bytes_of(query)));
    auto gone = gate.drop(bytes_of(query).first(50));
    CHECK(gone.count == 50);
    CHECK(gate.dropping());
    gone = gate.drop(bytes_of(query).subspan(50));
    CHECK(gone.count == 55);
    CHECK_FALSE(gone.ready);
    CHECK_FALSE(gate.dropping());
    CHECK(gate.at_beginning(bytes_of(messages("Q"))));

    // PostgreSQL skips a Query as well in a group that has failed.
    const std::string group = messages("PBQESQ");
    CHECK_FALSE(gate.refuse(bytes_of(group)));
    gone = gate.drop(bytes_of(group));
    CHECK(gone.count == messages("PBQES").size());
    CHECK(gone.ready);
    CHECK_FALSE(gate.dropping());
}

TEST_CASE("request gate: cut anywhere, the same requests are seen, refused or not", "[limits]") {
    std::mt19937 random{11};
    for (int round = 0; round < 500; ++round) {
        std::string stream;
        std::vector<std::size_t> begins;
        std::size_t requests = 0;
        bool open = false;
        for (int i = 0; i < 60; ++i) {
            const char type = std::string_view("QPBEDHSSFd")[random() % 10];
            begins.push_back(stream.size());
            stream += message(type, random() % 20);
            if (type == 'd' || type == 'H') continue;
            if (type != 'S' && !open) ++requests;
            open = type != 'Q' && type != 'F' && type != 'S';
        }
        request_gate gate = started();
        std::size_t seen = 0;
        std::size_t begin = 0;
        std::size_t end = 0;
        while (begin < stream.size()) {
            end = std::min(stream.size(), end + 1 + random() % 30);
            const auto here = bytes_of(stream).subspan(begin, end - begin);
            if (gate.dropping()) {
                begin += gate.drop(here).count;
                continue;
            }
            const bool alone = !here.empty() && (here[0] == std::byte{'Q'} || here[0] == std::byte{'F'});
            if (gate.at_beginning(here)) {
                ++seen;
                if (alone && random() % 2 == 0) {
                    REQUIRE(gate.refuse(here));
                    continue;
                }
                gate.let_in();
            }
            // As the relay does: it reads no message without its whole header.
            std::size_t take = gate.reach(here);
            for (const std::size_t each : begins)
                if (each >= begin && each < end && each + 5 > end) take = std::min(take, each - begin);
            gate.passed(here.first(take));
            begin += take;
        }
        REQUIRE(seen == requests);
    }
}
