// An answer of DNS for SRV records, from whoever answers: it is refused with a reason, or names hosts that
// can be asked for, in an order that does not depend on the order in which they came.

#include <algorithm>

#include "health/srv_answer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

void srv(byte_view input) {
    const health::srv_answer answer = health::read_srv_answer(input);
    if (!answer.problem.empty()) {
        require(answer.records.empty(), "nothing is taken of what is refused");
        return;
    }
    require(
        !answer.records.empty() && answer.records.size() <= health::most_srv_records, "some, and not many"
    );
    for (const health::srv_record& one : answer.records) {
        require(one.port != 0 && !one.host.empty() && one.host.size() < 1025, "a host and a port");
        const auto server = config::parse_server(one.host + ":" + std::to_string(one.port));
        require(server.value.has_value() && !server.value->is_socket(), "a name that could be configured");
    }
    auto records = answer.records;
    const health::named_list once = health::servers_in_order(records, 7);
    std::ranges::reverse(records);
    require(health::servers_in_order(records, 7) == once, "one order");
    require(!once.empty() && once.size() <= records.size(), "each server once");
}

}  // namespace pgmend::fuzz
