// pgmend [--config FILE] [--check] [--print-config] [--print-reference] [--version] [--help]

#include <cstdio>
#include <exception>
#include <optional>
#include <string_view>

#include "proxy/program.hpp"

int main(int argc, char** argv) {
    try {
        return pgmend::proxy::run_program({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pgmend: %s\n", error.what());
        return 1;
    }
}
