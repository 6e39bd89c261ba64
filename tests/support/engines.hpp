#pragma once
// The event loop with each of the engines that this machine has: one behaviour, one suite.

#include <cstddef>
#include <vector>

#include "pool/event_loop.hpp"
#include "pool/relay_engine.hpp"

namespace pgmend::test {

enum class engine { epoll, io_uring };

inline const std::vector<engine>& engines() {
    static const std::vector<engine> here = [] {
        std::vector<engine> all{engine::epoll};
        if (pool::choose_engine(config::relay_engine::automatic, 1 << 20).ring)
            all.push_back(engine::io_uring);
        return all;
    }();
    return here;
}

/// Before there are sockets.
inline void use(pool::event_loop& loop, engine which, std::size_t ring_bytes = 1 << 20) {
    if (which == engine::io_uring) REQUIRE(loop.use_ring(ring_bytes).empty());
}

}  // namespace pgmend::test
