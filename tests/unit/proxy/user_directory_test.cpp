#include "proxy/user_directory.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "config/loader.hpp"
#include "protocol/md5_auth.hpp"

using namespace pgmend::proxy;
using namespace pgmend::protocol;
namespace config = pgmend::config;

namespace {

constexpr std::string_view md5_secret = "md5a3556571e93b0d20722ba62be61e8c2d";

std::string verifier_text() {
    const auto salt = as_bytes("0123456789abcdef");
    return derive_scram_verifier("secret", salt, scram_default_iterations).to_string();
}

std::shared_ptr<const config::settings> settings_with(const std::string& users) {
    std::string name = (std::filesystem::temp_directory_path() / "pgmend-users-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    const std::filesystem::path file = std::filesystem::path{name} / "p.yaml";
    std::ofstream(file) << "upstream:\n  servers: 'h:1'\n  user: admin\n  password: adminpw\n" << users;
    const config::load_result loaded = config::load({file, {}, "os_user"});
    std::filesystem::remove_all(name);
    for (const auto& error : loaded.errors) {
        UNSCOPED_INFO(error);
    }
    REQUIRE(loaded.value);
    return loaded.value;
}

}  // namespace

TEST_CASE("user directory: it knows the user of the servers and those of the settings") {
    const auto settings =
        settings_with("users: [{name: app, password: apppw}, {name: admin, password: other}]\n");
    const user_directory users{*settings, "process"};
    REQUIRE(users.secret("app") != nullptr);
    CHECK(*users.secret("app") == "apppw");
    // Said of that user last.
    CHECK(*users.secret("admin") == "other");
    CHECK(users.secret("App") == nullptr);
    CHECK(users.secret("") == nullptr);
    CHECK(users.server_password("app") == "apppw");
    CHECK(users.server_password("nobody").empty());
}

TEST_CASE("user directory: a verifier is derived once, and proves the password it was made from") {
    const auto settings = settings_with("");
    user_directory users{*settings, "process"};
    const scram_verifier first = users.verifier("admin", as_bytes("0123456789abcdef"));
    CHECK_FALSE(first.mock);
    CHECK(first.salt == "0123456789abcdef");
    CHECK(scram_verify_password(first, "adminpw"));
    CHECK_FALSE(scram_verify_password(first, "adminpw "));
    const scram_verifier second = users.verifier("admin", as_bytes("another salt 123"));
    CHECK(second.salt == first.salt);
}

TEST_CASE("user directory: a verifier that was configured is used as it is, and proves nothing to a server") {
    const std::string text = verifier_text();
    const auto settings = settings_with("users: [{name: app, password: '" + text + "'}]\n");
    user_directory users{*settings, "process"};
    const scram_verifier verifier = users.verifier("app", as_bytes("unused salt 1234"));
    CHECK(verifier.to_string() == text);
    CHECK_FALSE(verifier.mock);
    CHECK(users.server_password("app").empty());
}

TEST_CASE("user directory: who cannot log in by SCRAM meets an exchange that looks the same and fails") {
    const auto settings = settings_with(
        "auth: {method: md5}\nusers: [{name: old, password: '" + std::string{md5_secret} + "'}]\n"
    );
    user_directory users{*settings, "process"};
    user_directory other{*settings, "another process"};
    const auto salt = as_bytes("0123456789abcdef");
    for (const std::string user : {"old", "nobody", "nobody2"}) {
        const scram_verifier mock = users.verifier(user, salt);
        CHECK(mock.mock);
        CHECK(mock.iterations == scram_default_iterations);
        CHECK(mock.salt.size() == 16);
        CHECK(mock.salt != "0123456789abcdef");
        // The same on every try, another for every name and every process.
        CHECK(users.verifier(user, as_bytes("another salt 123")).salt == mock.salt);
        CHECK(other.verifier(user, salt).salt != mock.salt);
    }
    CHECK(users.verifier("nobody", salt).salt != users.verifier("nobody2", salt).salt);
    // An md5 hash does prove something to a server that asks for md5.
    CHECK(users.server_password("old") == md5_secret);
}
