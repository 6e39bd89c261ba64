#pragma once
// A worker's parts of the pools. Together the workers' parts of a pool are what was configured; who is short
// asks the others, and a part moves from one that leaves it unused, or has more than it was given while the
// other has less. A part is given up before the other hears of it, so that at no moment there are more
// connections than configured. Pure: messages are values, the shell carries them. One worker thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/server_labels.hpp"

namespace pgmend::pool {

using config::metrics::share_reason;

/// Database and user.
using pool_name = std::pair<std::string, std::string>;

/// What a worker says to the others when clients wait for a pool whose connections all work.
struct share_request {
    pool_name pool;
    unsigned asker = 0;          ///< the worker
    std::uint64_t settings = 0;  ///< by which it counts
    std::size_t wanted = 0;      ///< connections
    bool below = false;          ///< it has less than it was given
};

/// What the worker that is asked has of the pool.
struct share_facts {
    std::size_t given = 1;    ///< by the settings; at least 1
    std::size_t open = 0;     ///< connections, those that log in too
    std::size_t waiting = 0;  ///< clients
    std::size_t unused = 0;   ///< of the open ones: idle for longer than a moment
};

struct share_answer {
    std::size_t parts = 0;                 ///< that are the asker's at once
    bool promised = false;                 ///< one more is, when a connection that works has been closed
    std::optional<share_reason> why = {};  ///< nothing moves without one
};

class share_book {
public:
    /// How many connections this worker may have; at least 1.
    std::size_t size(const pool_name& pool, std::size_t given) const noexcept;
    bool below(const pool_name& pool) const noexcept { return moved(pool) < 0; }
    /// Another worker asks. What is answered has been given up.
    share_answer answer(const share_request& request, const share_facts& facts);
    /// A part was given up for this worker. False: by other settings than hold now, it is void.
    bool gained(const pool_name& pool, std::uint64_t settings, std::size_t parts);
    /// Whether anybody was promised a part of it.
    bool owes(const pool_name& pool) const noexcept;
    /// So many connections are open: to which workers a part that they were promised goes now.
    std::vector<unsigned> due(const pool_name& pool, std::size_t given, std::size_t open);
    /// Pools have other sizes from now on: each worker has what it is given. All workers hear of the same
    /// settings in the same order.
    void begin_anew() noexcept;
    std::uint64_t settings() const noexcept { return settings_; }

private:
    struct part {
        std::ptrdiff_t moved = 0;    ///< more than was given
        std::vector<unsigned> owed;  ///< workers, one connection each
    };
    std::ptrdiff_t moved(const pool_name& pool) const noexcept;

    std::map<pool_name, part> parts_;
    std::uint64_t settings_ = 0;
};

}  // namespace pgmend::pool
