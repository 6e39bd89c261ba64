#include "pool/share_book.hpp"

#include <algorithm>

namespace pgmend::pool {

std::ptrdiff_t share_book::moved(const pool_name& pool) const noexcept {
    const auto found = parts_.find(pool);
    return found == parts_.end() ? 0 : found->second.moved;
}

std::size_t share_book::size(const pool_name& pool, std::size_t given) const noexcept {
    return static_cast<std::size_t>(
        std::max<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(given) + moved(pool), 1)
    );
}

share_answer share_book::answer(const share_request& request, const share_facts& facts) {
    if (request.settings != settings_) return {};
    const std::size_t size = this->size(request.pool, facts.given);
    // Who has none could serve nobody.
    if (size <= 1) return {};
    const std::size_t closed = size > facts.open ? size - facts.open : 0;
    // Who waits here comes first: a connection is being opened for them, or will be.
    const std::size_t spare = closed + facts.unused;
    const std::size_t left = spare > facts.waiting ? spare - facts.waiting : 0;
    const std::size_t parts = std::min({request.wanted, left, size - 1});
    if (parts != 0) {
        parts_[request.pool].moved -= static_cast<std::ptrdiff_t>(parts);
        return {parts, false, share_reason::unused};
    }
    if (!request.below || moved(request.pool) <= 0) return {};
    part& mine = parts_[request.pool];
    --mine.moved;
    mine.owed.push_back(request.asker);
    return {0, true, share_reason::given_back};
}

bool share_book::gained(const pool_name& pool, std::uint64_t settings, std::size_t parts) {
    if (settings != settings_) return false;
    parts_[pool].moved += static_cast<std::ptrdiff_t>(parts);
    return true;
}

bool share_book::owes(const pool_name& pool) const noexcept {
    const auto found = parts_.find(pool);
    return found != parts_.end() && !found->second.owed.empty();
}

std::vector<unsigned> share_book::due(const pool_name& pool, std::size_t given, std::size_t open) {
    const auto found = parts_.find(pool);
    if (found == parts_.end() || found->second.owed.empty()) return {};
    // What is promised is no more in the size: so many connections too many keep as many promises back.
    const std::size_t size = this->size(pool, given);
    const std::size_t kept_back = open > size ? open - size : 0;
    auto& owed = found->second.owed;
    if (owed.size() <= kept_back) return {};
    const auto until = owed.begin() + static_cast<std::ptrdiff_t>(owed.size() - kept_back);
    std::vector<unsigned> now(owed.begin(), until);
    owed.erase(owed.begin(), until);
    return now;
}

void share_book::begin_anew() noexcept {
    ++settings_;
    parts_.clear();
}

}  // namespace pgmend::pool
