#include "config/libpq_files.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "config/auth_requirement.hpp"

using namespace pgmend::config;

namespace {

constexpr std::string_view passwords =
    "# host:port:db:user:password\n"
    "h1:5432:app:bob:one\n"
    "*:*:app:bob:any host\n"
    "h2:*:*:*:with\\:colon and \\\\ backslash\r\n"
    "::1:5432:x:y:never\n"
    "h\\:3:1:d:u:three\n"
    "short:1:2\n";

}  // namespace

TEST_CASE("password file: the first line that fits counts, as in libpq", "[config]") {
    CHECK(find_password(passwords, "h1", 5432, "app", "bob") == "one");
    CHECK(find_password(passwords, "h1", 5433, "app", "bob") == "any host");
    CHECK(find_password(passwords, "h2", 1, "d", "u") == "with:colon and \\ backslash");
    CHECK(find_password(passwords, "h:3", 1, "d", "u") == "three");
    CHECK(find_password(passwords, "h4", 1, "d", "u") == std::nullopt);
    CHECK(find_password(passwords, "short", 1, "2", "") == std::nullopt);
    CHECK(find_password("", "h", 1, "d", "u") == std::nullopt);
}

TEST_CASE("small files: only regular ones that are not too long are read", "[config]") {
    std::string folder = (std::filesystem::temp_directory_path() / "pgmend-files-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    const std::string file = folder + "/f";
    std::ofstream(file) << "12345";
    CHECK(read_small_file(file, 5).value == "12345");
    CHECK(read_small_file(file, 4).problem == "is longer than 4B");
    CHECK(read_small_file(folder).problem == "is not a regular file");
    CHECK(read_small_file(file + "x").problem == "cannot be read: No such file or directory");
    REQUIRE(mkfifo((folder + "/pipe").c_str(), 0600) == 0);
    CHECK(read_small_file(folder + "/pipe").problem == "is not a regular file");
    chmod(file.c_str(), 0600);
    CHECK_FALSE(is_open_to_others(file));
    chmod(file.c_str(), 0640);
    CHECK(is_open_to_others(file));
    CHECK(is_open_to_others(file + "x"));
    std::filesystem::remove_all(folder);
}

TEST_CASE("require_auth: methods are listed, or all but those listed are meant", "[config]") {
    const auto allows = [](std::string_view text, auth_kind kind) {
        const auto parsed = parse_auth_requirement(text);
        REQUIRE(parsed.value);
        return parsed.value->allows(kind);
    };
    CHECK(allows("", auth_kind::none));
    CHECK(allows("scram-sha-256", auth_kind::scram_sha_256));
    CHECK_FALSE(allows("scram-sha-256", auth_kind::none));
    CHECK_FALSE(allows("scram-sha-256,md5", auth_kind::password));
    CHECK(allows("none,md5", auth_kind::none));
    CHECK_FALSE(allows("!none,!password", auth_kind::password));
    CHECK(allows("!none,!password", auth_kind::scram_sha_256));
    CHECK_FALSE(parse_auth_requirement("md5,!none").value);
    CHECK_FALSE(parse_auth_requirement("!none,md5").value);
    CHECK_FALSE(parse_auth_requirement("md5,md5").value);
    CHECK_FALSE(parse_auth_requirement("kerberos").value);
    CHECK_FALSE(parse_auth_requirement("md5,").value);
    CHECK_FALSE(parse_auth_requirement("!").value);
}
