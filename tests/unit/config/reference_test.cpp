#include "config/reference.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "config/document.hpp"
#include "config/settings.hpp"

using namespace pgmend::config;

namespace {

/// Compares a document of the tree with what is rendered now, or renews it when PGMEND_UPDATE_GENERATED is
/// set.
void check_document(const std::string& path, const std::string& rendered) {
    const std::string full = std::string(PGMEND_SOURCE_DIR) + "/" + path;
    if (std::getenv("PGMEND_UPDATE_GENERATED") != nullptr) std::ofstream(full, std::ios::binary) << rendered;
    std::ifstream file(full, std::ios::binary);
    const std::string committed{std::istreambuf_iterator<char>(file), {}};
    INFO(path << " is not current: PGMEND_UPDATE_GENERATED=1 unit_config \"reference*\"");
    CHECK((committed == rendered));
}

/// Takes the '#' away from every line that is a setting.
std::string uncommented(const std::string& example) {
    std::istringstream lines(example);
    std::string line;
    std::string text;
    while (std::getline(lines, line)) {
        const std::size_t mark = line.find('#');
        if (mark != std::string::npos && line.compare(mark, 2, "# ") != 0) line.erase(mark, 1);
        text += line + "\n";
    }
    return text;
}

void read_all(
    const document_node& mapping, const std::string& parent, settings& into, problems& found, int& count
) {
    for (const document_member& member : mapping.members) {
        const std::string key = parent + member.key;
        if (setting_base* setting = into.find(key)) {
            setting->read(member.value, value_source::file, found);
            ++count;
        } else {
            INFO(key);
            REQUIRE(into.is_section(key));
            read_all(member.value, key + ".", into, found, count);
        }
    }
}

}  // namespace

TEST_CASE("reference: the committed documents are current", "[config]") {
    check_document("deploy/config.example.yaml", example_yaml());
    check_document("deploy/CONFIGURATION.md", print_reference());
}

TEST_CASE("reference: the example is valid as it stands and with every setting uncommented", "[config]") {
    problems found;
    const document_node quiet = parse_document(example_yaml(), found);
    settings untouched;
    int count = 0;
    read_all(quiet, "", untouched, found, count);
    CHECK(found.empty());
    CHECK(count == 0);

    settings every;
    read_all(parse_document(uncommented(example_yaml()), found), "", every, found, count);
    for (const problem& each : found)
        FAIL_CHECK(each.key << ": " << each.text);
    CHECK(count == static_cast<int>(every.all().size()));
    for (const setting_base* each : every.all()) {
        INFO(each->key());
        const bool sample = each->key() == "upstream.url" || each->key() == "upstream.servers" ||
                            each->key() == "upstream.patroni.urls" || each->key() == "users" ||
                            each->key() == "auth.hba" || each->key() == "pool.rules" ||
                            each->key() == "limits.rules" || each->key() == "listen.tls.certificates";
        CHECK((each->shown() == each->shown_default()) == !sample);
    }
}

TEST_CASE("reference: every setting stands in the Markdown reference", "[config]") {
    const std::string text = print_reference();
    const settings all;
    for (const setting_base* each : all.all()) {
        INFO(each->key());
        CHECK(
            text.find("| `" + std::string(each->key()) + "`<br>`" + each->environment_name() + "` |") !=
            std::string::npos
        );
    }
}

TEST_CASE(
    "reference: the effective configuration names value, default and source, never a secret", "[config]"
) {
    settings all;
    all.pool.size.set(7, value_source::environment);
    all.upstream.password.set("hunter2", value_source::database_url);
    all.upstream.url.set({"postgres://app:hunter2@h/d"}, value_source::database_url);
    all.users.set({{"app", "hunter2"}}, value_source::file);
    const std::string text = print_config(all);
    CHECK(text.find("hunter2") == std::string::npos);
    std::istringstream lines(text);
    std::string line;
    std::string pool_size;
    std::string password;
    while (std::getline(lines, line)) {
        if (line.starts_with("pool.size ")) pool_size = line;
        if (line.starts_with("upstream.password ")) password = line;
    }
    const auto squeezed = [](const std::string& row) {
        std::istringstream words(row);
        std::string word;
        std::string result;
        while (words >> word)
            result += (result.empty() ? "" : " ") + word;
        return result;
    };
    CHECK(squeezed(pool_size) == "pool.size | 7 | 20 | environment | live");
    CHECK(squeezed(password) == "upstream.password | *** | | DATABASE_URL | restart");
}
