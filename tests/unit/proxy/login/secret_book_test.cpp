#include "proxy/login/secret_book.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "config/loader.hpp"

using namespace pgmend::proxy;
namespace config = pgmend::config;

namespace {

struct folder {
    folder() {
        path = (std::filesystem::temp_directory_path() / "pgmend-book-XXXXXX").string();
        REQUIRE(mkdtemp(path.data()) != nullptr);
    }
    ~folder() { std::filesystem::remove_all(path); }
    std::string write(const std::string& name, const std::string& text) const {
        std::ofstream(path + '/' + name) << text;
        return path + '/' + name;
    }
    std::shared_ptr<const config::settings> settings(const std::string& text) const {
        const auto loaded = config::load({write("p.yaml", text), {}, "os_user"});
        for (const auto& error : loaded.errors)
            UNSCOPED_INFO(error);
        REQUIRE(loaded.value);
        return loaded.value;
    }
    std::string path;
};

using list = std::vector<std::string>;

}  // namespace

TEST_CASE("secrets: the first place that knows a user decides who comes in, all are tried on servers") {
    const folder at;
    const auto file = at.write("pw", "from file\r\nolder\n\n");
    const auto users = at.write("userlist.txt", "\"app\" \"listed\"\n\"only\" \"here\"\n\"empty\" \"\"\n");
    const auto settings = at.settings(
        "upstream: {servers: 'h:1', user: app, password_file: '" + file + "', password: plain}\n" +
        "users: [{name: app, password: yaml}]\nauth: {userlist: '" + users + "'}\n"
    );
    const auto book = read_secrets(*settings);
    CHECK(book.problem == "");
    REQUIRE(book.value);
    REQUIRE(book.value->find("app") != nullptr);
    CHECK(book.value->find("app")->accepted == list{"yaml"});
    CHECK(book.value->find("app")->offered == list{"yaml", "listed", "from file", "older", "plain"});
    CHECK(book.value->find("only")->accepted == list{"here"});
    CHECK(book.value->find("empty")->accepted.empty());
    CHECK(book.value->find("nobody") == nullptr);
    CHECK(secret_paths(*settings) == list{users, file});
}

TEST_CASE("secrets: every line of a password file is good, and a file that is not good is named") {
    const folder at;
    const auto file = at.write("pw", "new\nold");
    const auto settings =
        at.settings("upstream: {servers: 'h:1'}\nusers: [{name: app, password_file: '" + file + "'}]\n");
    CHECK(read_secrets(*settings).value->find("app")->accepted == list{"new", "old"});
    at.write("pw", "\n\n");
    CHECK(read_secrets(*settings).problem.find(file) != std::string::npos);
    at.write("pw", std::string(5000, 'x'));
    CHECK(read_secrets(*settings).problem.find("xxxxx") == std::string::npos);
    std::filesystem::remove(file);
    CHECK(
        read_secrets(*settings).problem ==
        "password file '" + file + "' cannot be read: No such file or directory"
    );
}

TEST_CASE("secrets: a userlist is read as PgBouncer reads it") {
    const auto lines = parse_userlist(
        "; comment\n\n\"a\" \"b\"\n  \"with \"\"quotes\"\"\"\t\"se\"\"cret\" ignored\n\"x\" \"\"\r\n"
    );
    REQUIRE(lines.value);
    REQUIRE(lines.value->size() == 3);
    CHECK((*lines.value)[1].user == "with \"quotes\"");
    CHECK((*lines.value)[1].secret == "se\"cret");
    CHECK((*lines.value)[2].secret.empty());
    CHECK(parse_userlist("\n\"a\" secret").problem == R"(line 2 is not "user" "secret")");
    CHECK_FALSE(parse_userlist("\"a\"").value);
    CHECK_FALSE(parse_userlist("\"a\" \"b").value);
    CHECK_FALSE(parse_userlist("\"\" \"b\"").value);
}
