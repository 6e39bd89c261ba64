// What comes back where Patroni's REST API is asked: it is refused with a reason, or names servers that could
// have been configured, each once, with short words beside them.

#include <algorithm>

#include "health/patroni_answer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

void patroni(byte_view input) {
    const std::string_view text{reinterpret_cast<const char*>(input.data()), input.size()};
    const health::patroni_answer answer = health::read_patroni_answer(text, 1000);
    if (!answer.problem.empty()) {
        require(answer.servers.empty(), "nothing is taken of what is refused");
        return;
    }
    require(
        !answer.servers.empty() && answer.servers.size() <= health::most_patroni_members, "some, and not many"
    );
    for (const health::named_server& one : answer.servers) {
        const auto again = config::parse_server(config::print_server(one.address));
        require(again.value && *again.value == one.address, "an address that could be configured");
        require(!one.address.is_socket() && one.said.size() <= 82, "no file, and short words");
        require(!(one.leader && one.behind), "the leader is not behind itself");
        const auto same = [&one](const health::named_server& other) { return other.address == one.address; };
        require(std::ranges::count_if(answer.servers, same) == 1, "each once");
    }
    require(std::ranges::count_if(answer.servers, &health::named_server::leader) <= 1, "one leader at most");
}

}  // namespace pgmend::fuzz
