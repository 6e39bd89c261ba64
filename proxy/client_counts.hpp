#pragma once
// How many clients each worker has. A socket that several workers listen on wakes mostly the one that waited
// last, so that one would get nearly all: who accepts a client gives it to the worker with the fewest. Any
// thread; no locks.

#include <atomic>
#include <cstddef>
#include <vector>

namespace pgmend::proxy {

class client_counts {
public:
    explicit client_counts(unsigned workers) : counts_(workers) {}

    /// Whose the client is that `worker` has accepted: its own, unless another has two fewer. Counted there.
    unsigned place(unsigned worker) noexcept {
        unsigned whose = worker;
        std::size_t fewest = of(worker);
        if (fewest != 0) --fewest;  // to hand a client over has its price
        for (unsigned other = 0; other < counts_.size(); ++other) {
            if (of(other) >= fewest) continue;
            fewest = of(other);
            whose = other;
        }
        counts_[whose].number.fetch_add(1, std::memory_order_relaxed);
        return whose;
    }
    /// A client of `worker` has gone.
    void gone(unsigned worker) noexcept { counts_[worker].number.fetch_sub(1, std::memory_order_relaxed); }
    std::size_t of(unsigned worker) const noexcept {
        return counts_[worker].number.load(std::memory_order_relaxed);
    }

private:
    struct alignas(64) count {
        std::atomic<std::size_t> number{0};
    };
    std::vector<count> counts_;
};

}  // namespace pgmend::proxy
