#pragma once
// The simulator's dice: splitmix64 to spread a seed, xoshiro256** to draw. Our own, because the standard
// distributions give different numbers under different libraries, and a seed must mean the same run for
// years. Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators". Pure; one owner.

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pgmend::sim {

inline std::uint64_t splitmix64(std::uint64_t& state) noexcept {
    std::uint64_t mixed = (state += 0x9e3779b97f4a7c15ULL);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31);
}

class prng {
public:
    explicit prng(std::uint64_t seed) noexcept {
        for (auto& word : state_)
            word = splitmix64(seed);
    }

    std::uint64_t next() noexcept {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }
    /// 0 … bound-1; 0 for a bound of 0. The bias of the modulo is below 2^-40 for the bounds used here.
    std::uint64_t below(std::uint64_t bound) noexcept { return bound == 0 ? 0 : next() % bound; }
    std::int64_t between(std::int64_t first, std::int64_t last) noexcept {
        return first + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(last - first) + 1));
    }
    std::size_t size_between(std::size_t first, std::size_t last) noexcept {
        return first + below(last - first + 1);
    }
    /// True in `times` of `of` cases. Ratios instead of floating point, so that every machine agrees.
    bool chance(std::uint64_t times, std::uint64_t of) noexcept { return below(of) < times; }
    template <class T>
    const T& pick(const std::vector<T>& from) noexcept {
        return from[below(from.size())];
    }
    std::chrono::microseconds microseconds(std::int64_t first, std::int64_t last) noexcept {
        return std::chrono::microseconds(between(first, last));
    }

private:
    std::uint64_t state_[4];
};

}  // namespace pgmend::sim
