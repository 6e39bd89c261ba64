#include "config/certificates.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::config;

namespace {

struct reading {
    certificate_list list;
    problems found;
    bool good = false;
};

reading read(const std::string& yaml) {
    reading result;
    const document_node node = parse_document(yaml, result.found);
    result.good = read_certificates(node, "listen.tls.certificates", result.list, result.found);
    return result;
}

std::string complaint(const std::string& yaml) {
    const reading result = read(yaml);
    CHECK_FALSE(result.good);
    REQUIRE(result.found.size() == 1);
    return result.found[0].key + " " + result.found[0].text;
}

}  // namespace

TEST_CASE("certificates: pairs of paths, in order") {
    const reading result = read("[{cert: a.crt, key: a.key}, {key: b.key, cert: b.crt}]");
    REQUIRE(result.good);
    CHECK(result.list == certificate_list{{"a.crt", "a.key"}, {"b.crt", "b.key"}});
    CHECK(print_certificates(result.list) == "a.crt, b.crt");
    CHECK(read("[]").good);
}

TEST_CASE("certificates: what is wrong is said with its place") {
    CHECK(complaint("a.crt") == "listen.tls.certificates must be a list of {cert: path, key: path}");
    CHECK(complaint("[a.crt]") == "listen.tls.certificates[0] must be a mapping {cert: path, key: path}");
    CHECK(complaint("[{cert: a.crt}]") == "listen.tls.certificates[0] must say cert and key");
    CHECK(
        complaint("[{cert: a.crt, key: [a]}]") ==
        "listen.tls.certificates[0].key must be the path of a PEM file"
    );
    CHECK(
        complaint("[{cert: a, key: b}, {certs: a}]") ==
        "listen.tls.certificates[1].certs unknown; known are cert, key"
    );
}
