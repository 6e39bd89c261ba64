#include "pool/server_state.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace pgmend::pool;

TEST_CASE("server state: the moves that are legal, and no others") {
    constexpr server_state all[]{
        server_state::connecting, server_state::idle, server_state::active, server_state::cleaning,
        server_state::closed};
    // Rows: from; columns: to, in the order above.
    const std::string legal[]{".xx.x", "..x.x", ".xxxx", ".xx.x", "....."};
    for (std::size_t from = 0; from < 5; ++from) {
        for (std::size_t to = 0; to < 5; ++to) {
            CAPTURE(from, to);
            CHECK(may_become(all[from], all[to]) == (legal[from][to] == 'x'));
        }
    }
}
