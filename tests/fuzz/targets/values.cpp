// Values of the configuration with their units, both ways; and the names of servers.

#include "config/units.hpp"
#include "config/upstreams.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

/// What was read is printed so that it is read back as the same; what was not read has a reason.
template <class Parse, class Print>
void both_ways(std::string_view text, Parse parse, Print print) {
    const auto read = parse(text);
    require(read.value.has_value() == read.problem.empty(), "a value or a problem, not both");
    if (!read.value) return;
    const auto again = parse(print(*read.value));
    require(again.value && *again.value == *read.value, "a value is read back as it is printed");
}

}  // namespace

void values(byte_view input) {
    using namespace config;
    const exact_copy copy(protocol::as_text(input));
    both_ways(copy.text(), parse_duration, print_duration);
    both_ways(copy.text(), parse_size, print_size);
    both_ways(copy.text(), parse_mode, print_mode);
    both_ways(copy.text(), parse_server, print_server);
    const auto count = parse_count(copy.text());
    if (count.value) require(std::to_string(*count.value) == copy.text(), "a count has one spelling");
}

}  // namespace pgmend::fuzz
