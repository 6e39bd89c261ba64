// Runs files through a fuzz target without libFuzzer, so that every build repeats what was once found:
//   replay TARGET [FILE or FOLDER]...    (default: the corpus of the target)
// Each input is named before it runs; the last one named is the one that crashed.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.hpp"

namespace {

namespace fs = std::filesystem;
using target_function = void (*)(pgmend::fuzz::byte_view);

struct named_target {
    std::string_view name;
    target_function run;
};

constexpr named_target targets[] = {
#define PGMEND_FUZZ_ENTRY(name) {#name, pgmend::fuzz::name},
    PGMEND_FUZZ_TARGETS(PGMEND_FUZZ_ENTRY)
#undef PGMEND_FUZZ_ENTRY
};

std::vector<fs::path> files_of(const fs::path& place) {
    if (!fs::is_directory(place)) return {place};
    std::vector<fs::path> found;
    for (const auto& each : fs::directory_iterator(place))
        found.push_back(each.path());
    std::sort(found.begin(), found.end());
    return found;
}

bool run_file(target_function run, const fs::path& file) {
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (!in.is_open()) return false;
    const pgmend::fuzz::exact_copy copy(bytes);
    try {
        run(copy.bytes());
        return true;
    } catch (const std::exception& thrown) {
        std::printf("threw: %s\n", thrown.what());
        return false;
    }
}

}  // namespace

int main(int count, char** words) {
    const auto* const found = std::find_if(std::begin(targets), std::end(targets), [&](const auto& each) {
        return count > 1 && each.name == words[1];
    });
    if (found == std::end(targets)) {
        std::fprintf(stderr, "usage: replay TARGET [FILE or FOLDER]...\n");
        return 2;
    }
    std::vector<fs::path> places(words + 2, words + count);
    if (places.empty()) places.emplace_back(fs::path(PGMEND_SOURCE_DIR) / "tests/fuzz/corpus" / found->name);
    std::size_t passed = 0;
    std::size_t failed = 0;
    for (const auto& place : places) {
        for (const auto& file : files_of(place))
            ++(run_file(found->run, file) ? passed : failed);
    }
    std::printf("%zu passed, %zu failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
