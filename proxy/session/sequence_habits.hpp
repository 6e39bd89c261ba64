#pragma once
// Which applications ask for currval or lastval behind which statement (HEALING section 4): from that
// statement on their clients keep the server that holds the answer. Learned from what was asked for in vain.
// Bounded; one worker thread.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_set>

namespace pgmend::proxy {

class sequence_habits {
public:
    /// What a statement is for this purpose: its beginning, which names the table or the sequence.
    static std::uint64_t shape(std::string_view text) noexcept {
        constexpr std::size_t looked_at = 64;
        std::uint64_t hash = 0xcbf29ce484222325;
        for (const char c : text.substr(0, looked_at)) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        }
        return hash;
    }
    bool knows(std::uint64_t shape, std::string_view application) const noexcept {
        return !known_.empty() && known_.contains(together(shape, application));
    }
    void learn(std::uint64_t shape, std::string_view application) {
        if (known_.size() < most) known_.insert(together(shape, application));
    }

private:
    static constexpr std::size_t most = 1000;
    static std::uint64_t together(std::uint64_t statement, std::string_view application) noexcept {
        return statement * 31 + shape(application);
    }
    std::unordered_set<std::uint64_t> known_;
};

}  // namespace pgmend::proxy
