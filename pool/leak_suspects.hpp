#pragma once
// Which statements may leave something in a server's session that nobody knew of (HEALING section 4, "leak
// sentinel"). A server in which something was found accuses what ran on it lately; an accused statement is
// asked after each time it has run, until it was innocent often enough or is convicted. Pure; one worker
// thread.

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace pgmend::pool {

/// Shapes of the last statements that ran on one connection, constants elided; 0 stands for none.
class recent_shapes {
public:
    void add(std::uint64_t shape) noexcept {
        if (shape == shapes_[at_] || shape == 0) return;
        at_ = (at_ + 1) % shapes_.size();
        shapes_[at_] = shape;
    }
    void clear() noexcept {
        shapes_.fill(0);
        suspect_ = 0;
        several_ = false;
    }
    const std::array<std::uint64_t, 16>& all() const noexcept { return shapes_; }
    /// It is a suspect, and the server will be asked when its request is over.
    void suspect(std::uint64_t shape) noexcept {
        several_ = several_ || (suspect_ != 0 && suspect_ != shape);
        suspect_ = shape;
    }
    /// The only suspect of the request; 0: there was none, or several that nothing tells apart. Told once.
    std::uint64_t take_suspect() noexcept {
        const std::uint64_t suspect = std::exchange(suspect_, 0);
        return std::exchange(several_, false) ? 0 : suspect;
    }

private:
    std::array<std::uint64_t, 16> shapes_{};
    std::size_t at_ = 0;
    std::uint64_t suspect_ = 0;
    bool several_ = false;
};

class leak_suspects {
public:
    bool empty() const noexcept { return suspects_.empty(); }
    bool suspected(std::uint64_t shape) const noexcept { return suspects_.contains(shape); }
    bool convicted(std::uint64_t shape) const noexcept {
        const auto it = suspects_.find(shape);
        return it != suspects_.end() && it->second == guilty;
    }
    void accuse(const recent_shapes& shapes) {
        for (const std::uint64_t shape : shapes.all()) {
            if (shape == 0 || (suspects_.size() >= most && !suspected(shape))) continue;
            unsigned& innocent = suspects_[shape];
            if (innocent != guilty) innocent = 0;
        }
    }
    /// It ran as the only suspect of a request, and the server was asked whether anything was left.
    void judge(std::uint64_t shape, bool left) {
        const auto it = suspects_.find(shape);
        if (it == suspects_.end() || it->second == guilty) return;
        if (left) {
            it->second = guilty;
        } else if (++it->second == enough) {
            suspects_.erase(it);
        }
    }

private:
    static constexpr unsigned guilty = static_cast<unsigned>(-1);
    static constexpr unsigned enough = 50;    // times innocent in a row
    static constexpr std::size_t most = 256;  // suspects at one time

    /// How often it was innocent since it was accused last.
    std::unordered_map<std::uint64_t, unsigned> suspects_;
};

}  // namespace pgmend::pool
