#include "proxy/session/statement_tallies.hpp"

#include <algorithm>
#include <utility>

#include "proxy/session/statement_shape.hpp"

namespace pgmend::proxy {

using protocol::statement_kind;

namespace {

constexpr std::size_t longest_text = 500;
constexpr unsigned patience = 8;  // with a shape that is not seen while its place is wanted

/// Texts that are known without their shape being asked for.
struct plain_text {
    statement_kind kind;
    std::string_view text;
};
constexpr std::array<plain_text, 4> plain_texts{{
    {statement_kind::begin, "BEGIN"},
    {statement_kind::commit, "COMMIT"},
    {statement_kind::rollback, "ROLLBACK"},
    {statement_kind::unknown, "(not understood)"},
}};

}  // namespace

latency_buckets& latency_buckets::operator+=(const latency_buckets& other) noexcept {
    for (std::size_t i = 0; i < count; ++i)
        counts_[i] += other.counts_[i];
    return *this;
}

std::uint64_t latency_buckets::total() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t each : counts_)
        all += each;
    return all;
}

std::uint64_t latency_buckets::bound(std::size_t bucket) noexcept {
    if (bucket < 4) return (bucket + 1) << 10U;
    const std::size_t power = bucket / 4 - 1;
    return (bucket % 4 + 5) << (power + 10U);
}

std::uint64_t latency_buckets::percentile_us(unsigned percent) const noexcept {
    const std::uint64_t all = total();
    if (all == 0) return 0;
    const std::uint64_t wanted = std::max<std::uint64_t>((all * percent + 99) / 100, 1);
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    while ((seen += counts_[bucket]) < wanted)
        ++bucket;
    return bound(bucket) / 1000;
}

void statement_tally::absorb(const statement_tally& other) noexcept {
    calls += other.calls;
    errors += other.errors;
    retries += other.retries;
    pins += other.pins;
    time += other.time;
    latency += other.latency;
    for (std::size_t i = 0; i < hinders.size(); ++i)
        hinders[i] += other.hinders[i];
}

statement_tallies::statement_tallies(std::size_t limit) {
    const std::size_t slots = std::bit_ceil(std::max(limit, ways));
    set_mask_ = slots - ways;
    slot_mask_ = std::bit_ceil(slots + 1 + plain_texts.size()) - 1;
    shapes_.assign(slots, 0);
    entries_.resize(slot_mask_ + 1);
    others_ = slots;
    std::size_t next = slots;
    const auto make = [&](std::string_view text) {
        entries_[next] = std::make_unique<entry>();
        entries_[next]->text = text;
        entries_[next]->where = static_cast<place>(next + slot_mask_ + 1);
        return static_cast<std::uint32_t>(next++);
    };
    make(other_statements);
    std::array<std::uint32_t, plain_texts.size()> plain{};
    for (std::size_t i = 0; i < plain_texts.size(); ++i)
        plain[i] = make(plain_texts[i].text);
    of_kind_.fill(plain.back());
    for (std::size_t i = 0; i < plain_texts.size(); ++i)
        of_kind_[static_cast<std::size_t>(plain_texts[i].kind)] = plain[i];
}

void statement_tallies::clear(entry& one) noexcept {
    std::string text = std::move(one.text);
    // A new place at the same slot: who remembers the old one does not find it.
    const place next = (one.where + static_cast<place>(slot_mask_) + 1) & ~timed;
    one = entry{};
    one.text = std::move(text);
    one.where = next <= slot_mask_ ? next + static_cast<place>(slot_mask_) + 1 : next;
}

statement_tallies::place statement_tallies::admit(
    std::uint64_t shape, std::string_view text, protocol::scan_settings scan, bool& forgot
) {
    forgot = false;
    const std::size_t set = shape & set_mask_;
    std::size_t slot = set;
    while (slot < set + ways && shapes_[slot] != 0)
        ++slot;
    if (slot == set + ways) {
        slot = set + hand_++ % ways;
        entry& owner = *entries_[slot];
        // It stays while it is used: a crowd of shapes that are seen once does not drive out what matters.
        if (std::exchange(owner.calls_seen, owner.calls) != owner.calls) owner.idle = 0;
        if (++owner.idle < patience) return count(others_);
        entries_[others_]->absorb(owner);
        forgot = true;
    }
    if (!entries_[slot]) {
        entries_[slot] = std::make_unique<entry>();
        entries_[slot]->where = static_cast<place>(slot);
    }
    clear(*entries_[slot]);
    entries_[slot]->text = statement_shape(text, scan, longest_text);
    shapes_[slot] = shape;
    return count(slot);
}

statement_tallies::place statement_tallies::place_of(std::uint64_t shape) const noexcept {
    const std::size_t set = shape & set_mask_;
    for (std::size_t slot = set; shape != 0 && slot < set + ways; ++slot) {
        if (shapes_[slot] == shape) return entries_[slot]->where;
    }
    return entries_[others_]->where;
}

std::vector<const statement_tally*> statement_tallies::all() const {
    std::vector<const statement_tally*> found;
    for (const auto& each : entries_) {
        if (each && (each->calls != 0 || each->errors != 0)) found.push_back(each.get());
    }
    return found;
}

void statement_tallies::reset() noexcept {
    std::ranges::fill(shapes_, 0);
    for (const auto& each : entries_) {
        if (each) clear(*each);
    }
}

}  // namespace pgmend::proxy
