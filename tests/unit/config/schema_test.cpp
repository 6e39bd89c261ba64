#include "config/schema.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "config/settings.hpp"

using namespace pgmend::config;

TEST_CASE("schema: what every setting may be is known", "[config]") {
    const settings defaults;
    for (const setting_base* each : defaults.all()) {
        INFO(each->key() << ": " << each->allowed());
        CHECK(!schema_of(*each).empty());
    }
}

TEST_CASE("reference: the committed schema is current", "[config]") {
    const std::string path = std::string(PGMEND_SOURCE_DIR) + "/deploy/pgmend.schema.json";
    if (std::getenv("PGMEND_UPDATE_GENERATED") != nullptr)
        std::ofstream(path, std::ios::binary) << print_schema();
    std::ifstream file(path, std::ios::binary);
    const std::string committed{std::istreambuf_iterator<char>(file), {}};
    INFO("PGMEND_UPDATE_GENERATED=1 unit_config \"reference*\" renews it");
    CHECK((committed == print_schema()));
}

TEST_CASE("schema: numbers have their bounds, words their list", "[config]") {
    const settings defaults;
    const auto of = [&defaults](std::string_view key) { return schema_of(*defaults.find(key)); };
    CHECK(of("pool.size").find("\"minimum\": 1, \"maximum\": 100000") != std::string::npos);
    CHECK(of("pool.mode") == R"({"enum": ["transaction", "session"]})");
    CHECK(of("upstream.tls.sni").find("true, false") != std::string::npos);
    CHECK(of("workers").find("{\"const\": \"auto\"}") != std::string::npos);
}
