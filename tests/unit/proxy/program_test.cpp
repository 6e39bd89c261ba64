// The command line, as far as it goes without serving.
#include "proxy/program.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

using namespace pgmend::proxy;

namespace {

struct run_result {
    int status = 0;
    std::string out;
    std::string error;
};

/// Standard output or error, in a file for as long as this lives.
class captured {
public:
    captured(int descriptor, const std::filesystem::path& file)
        : descriptor_(descriptor), saved_(::dup(descriptor)) {
        std::fflush(nullptr);
        const int to = ::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
        ::dup2(to, descriptor_);
        ::close(to);
    }
    ~captured() {
        std::fflush(nullptr);
        ::dup2(saved_, descriptor_);
        ::close(saved_);
    }

private:
    int descriptor_;
    int saved_;
};

class folder {
public:
    folder() {
        std::string name = (std::filesystem::temp_directory_path() / "pgmend-program-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~folder() { std::filesystem::remove_all(path); }
    std::filesystem::path path;
    std::string write(const std::string& name, std::string_view text) const {
        std::ofstream(path / name) << text;
        return path / name;
    }
    std::string read(const std::string& name) const {
        std::ostringstream all;
        all << std::ifstream(path / name).rdbuf();
        return all.str();
    }
};

run_result run(std::vector<std::string> arguments) {
    std::vector<char*> words;
    for (auto& argument : arguments) {
        words.push_back(argument.data());
    }
    const folder files;
    run_result result;
    {
        const captured out{1, files.path / "out"};
        const captured error{2, files.path / "error"};
        result.status = run_program(words);
    }
    result.out = files.read("out");
    result.error = files.read("error");
    return result;
}

}  // namespace

TEST_CASE("program: it says what it is and how it is used") {
    const run_result version = run({"--version"});
    CHECK(version.status == 0);
    CHECK(version.out.starts_with("pgmend "));
    CHECK(run({"-V"}).out == version.out);
    const run_result help = run({"--help"});
    CHECK(help.status == 0);
    CHECK(help.out.starts_with("Usage: pgmend"));
    CHECK(help.error.empty());
    const run_result reference = run({"--print-reference"});
    CHECK(reference.status == 0);
    CHECK(reference.out.find("pool.size") != std::string::npos);
}

TEST_CASE("program: an argument it does not know is refused, with the usage and status 2") {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"--frobnicate"},
          {"file.yaml"},
          {"--config"},
          {"--check", "-c"},
          {""},
          {"--within", "3"},
          {"--health-check", "--within"},
          {"--health-check", "--within", "soon"},
          {"--health-check", "--within", "-1"},
          {"--health-check", "--within", "86401"}}) {
        const run_result refused = run(arguments);
        CHECK(refused.status == 2);
        CHECK(refused.out.empty());
        CHECK(refused.error.starts_with("pgmend: "));
        CHECK(refused.error.find("Usage: pgmend") != std::string::npos);
    }
}

TEST_CASE("program: settings are checked and said, without their secrets") {
    const folder files;
    const std::string good =
        files.write("good.yaml", "upstream:\n  servers: 'h:1'\n  user: u\n  password: verysecret\n");
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"--config", good, "--check"},
          {"-c", good, "--check"},
          {"--check", "--config=" + good}}) {
        const run_result checked = run(arguments);
        CHECK(checked.status == 0);
        CHECK(checked.out == "the settings are good\n");
    }
    const run_result printed = run({"--config", good, "--print-config"});
    CHECK(printed.status == 0);
    CHECK(printed.out.find("pool.size") != std::string::npos);
    CHECK(printed.out.find("verysecret") == std::string::npos);
}

TEST_CASE("program: wrong settings are complained about with status 1, whatever was asked") {
    const folder files;
    const std::string bad =
        files.write("bad.yaml", "upstream:\n  servers: 'h:1'\n  password: pw\npool:\n  size: many\n");
    const std::string tls = files.write(
        "tls.yaml",
        "upstream:\n  servers: 'h:1'\n  password: pw\nlisten:\n  tls: {mode: require, cert: /no/such/cert, "
        "key: /no/such/key}\n"
    );
    for (const std::string action : {"--check", "--print-config"}) {
        const run_result refused = run({"--config", bad, action});
        CHECK(refused.status == 1);
        CHECK(refused.out.empty());
        CHECK(refused.error.find("pool.size") != std::string::npos);
    }
    CHECK(run({"--config", "/no/such/file", "--check"}).status == 1);
    const run_result certificate = run({"--config", tls, "--check"});
    CHECK(certificate.status == 1);
    CHECK(certificate.out.empty());
    CHECK_FALSE(certificate.error.empty());
}
