// The configuration: a YAML file and the environment become settings or complaints, never both, and no
// complaint repeats a secret.

#include <sys/mman.h>
#include <unistd.h>

#include "config/loader.hpp"
#include "config/reference.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

constexpr std::string_view secret = "Zq9secretZq9";

/// A file without a disk, made once.
class memory_file {
public:
    memory_file() : descriptor_(memfd_create("policy", 0)) {
        require(descriptor_ >= 0, "a file in memory can be made");
        path_ = "/proc/self/fd/" + std::to_string(descriptor_);
    }
    const std::string& holding(std::string_view text) {
        require(ftruncate(descriptor_, 0) == 0, "it can be emptied");
        require(
            pwrite(descriptor_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()),
            "and filled"
        );
        return path_;
    }

private:
    int descriptor_;
    std::string path_;
};

void no_secret_in(const std::vector<std::string>& lines) {
    for (const std::string& each : lines)
        require(each.find(secret) == each.npos, "no complaint repeats a password");
}

/// Where a password stands, with something wrong around it.
void wrong_around_a_secret(std::string_view wrong) {
    const std::string what(wrong);
    const std::pair<const char*, std::string> places[] = {
        {"PGMEND_UPSTREAM_PASSWORD", std::string(secret) + what},
        {"PGMEND_USERS", "[{name: a, password: " + std::string(secret) + "}" + what},
        {"PGMEND_USERS", "[{name: a, password: " + std::string(secret) + "}," + what + "]"},
        {"DATABASE_URL", "postgres://a:" + std::string(secret) + "@" + what},
    };
    for (const auto& [name, value] : places) {
        config::load_sources sources;
        sources.os_user = "app";
        sources.environment[name] = value;
        const auto loaded = config::load(sources);
        no_secret_in(loaded.errors);
        no_secret_in(loaded.warnings);
        if (loaded.value) no_secret_in({config::print_config(*loaded.value)});
    }
}

}  // namespace

/// `YAML \0 NAME=value \0 NAME=value …`, or what stands around a password.
void policy(byte_view input) {
    static memory_file file;
    std::string_view rest = protocol::as_text(input);
    if (rest.starts_with("PW")) return wrong_around_a_secret(rest.substr(2, 80));
    const auto next = [&rest] {
        const std::size_t end = std::min(rest.find('\0'), rest.size());
        const std::string_view part = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        return part;
    };
    config::load_sources sources;
    sources.os_user = "app";
    const std::string_view yaml = next();
    if (!yaml.empty()) sources.file = file.holding(yaml);
    while (!rest.empty()) {
        const std::string_view each = next();
        const std::size_t equals = each.find('=');
        if (equals == each.npos) continue;
        sources.environment.insert_or_assign(
            std::string(each.substr(0, equals)), std::string(each.substr(equals + 1))
        );
    }

    const auto loaded = config::load(sources);
    require((loaded.value != nullptr) == loaded.errors.empty(), "settings or complaints");
    if (input.size() % 8 != 0) return;
    const auto again = config::load(sources);
    require(again.errors == loaded.errors && again.warnings == loaded.warnings, "twice the same");
    if (!loaded.value) return;
    const std::string printed = config::print_config(*loaded.value);
    require(printed == config::print_config(*again.value), "twice the same settings");
}

}  // namespace pgmend::fuzz
