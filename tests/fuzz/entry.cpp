// libFuzzer's entry to one target, whose name the build gives as PGMEND_FUZZ_TARGET.
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    pgmend::fuzz::PGMEND_FUZZ_TARGET({reinterpret_cast<const std::byte*>(data), size});
    return 0;
}
