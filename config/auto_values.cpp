#include "config/auto_values.hpp"

namespace pgmend::config {

namespace {

constexpr std::uint64_t most_workers = 64;
constexpr std::uint64_t least_memory = 16ULL << 20;

}  // namespace

parsed<worker_count> parse_worker_count(std::string_view text) {
    using result = parsed<worker_count>;
    if (text == "auto") return result::of(worker_count{0});
    const auto number = parse_count(text);
    if (!number.value) return result::failure(number.problem);
    if (*number.value < 1 || *number.value > most_workers) return result::failure("is out of range");
    return result::of(worker_count{static_cast<std::uint32_t>(*number.value)});
}

std::string print_worker_count(worker_count value) {
    return value.automatic() ? "auto" : std::to_string(value.threads);
}

parsed<memory_limit> parse_memory_limit(std::string_view text) {
    using result = parsed<memory_limit>;
    if (text == "auto") return result::of(memory_limit{true, 0});
    if (text == "none") return result::of(memory_limit{false, 0});
    const auto size = parse_size(text);
    if (!size.value) return result::failure(size.problem);
    if (size.value->bytes < least_memory) return result::failure("is out of range");
    return result::of(memory_limit{false, size.value->bytes});
}

std::string print_memory_limit(memory_limit value) {
    if (value.automatic) return "auto";
    return value.bytes == 0 ? "none" : print_size(byte_size{value.bytes});
}

}  // namespace pgmend::config
