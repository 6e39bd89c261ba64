#include "proxy/limits/request_gate.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/frame.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t header_bytes = protocol::frame_header_size;
/// Parse, Bind, Describe, Execute, Close. A Flush begins nothing: nobody answers it.
constexpr std::string_view extended = "PBDEC";

bool stands_alone(char type) noexcept { return type == 'Q' || type == 'F'; }

bool begins(std::byte type) noexcept {
    const char letter = static_cast<char>(type);
    return stands_alone(letter) || extended.find(letter) != extended.npos;
}

/// What is no message is for the relay to complain about.
bool is_message(request_gate::bytes data) noexcept {
    return data.size() >= header_bytes && protocol::load_u32(data.data() + 1) >= 4;
}

}  // namespace

request_gate::stretch request_gate::walk(bytes data, place& from, bool to_sync) noexcept {
    for (std::size_t at = 0;;) {
        const std::size_t step = std::min(from.left, data.size() - at);
        at += step;
        from.left -= step;
        if (from.left != 0) return {at, false};
        if (std::exchange(from.ends, ending::no) != ending::no) return {at, true};
        if (!is_message(data.subspan(at))) return {at, false};
        const char type = static_cast<char>(data[at]);
        from.left = protocol::load_u32(data.data() + at + 1) + std::size_t{1};
        if (type == 'S') {
            from.ends = ending::sync;
            from.open = false;
        } else if (stands_alone(type) && !to_sync) {
            from.ends = ending::alone;
            from.open = false;
        } else if (extended.find(type) != extended.npos) {
            from.open = true;
        }
    }
}

bool request_gate::at_beginning(bytes data) const noexcept {
    if (again_ != 0 || place_.left != 0 || place_.open || inside_ || !is_message(data)) return false;
    return begins(data[0]);
}

std::size_t request_gate::reach(bytes data) const noexcept {
    place from = place_;
    // What belongs to no request, as the data of a COPY, goes on as it is, but only up to the next request.
    if (!inside_ && !from.open && from.ends == ending::no) {
        std::size_t at = std::min(from.left, data.size());
        from.left -= at;
        while (from.left == 0 && is_message(data.subspan(at)) && !begins(data[at])) {
            const std::size_t size = protocol::load_u32(data.data() + at + 1) + std::size_t{1};
            if (size >= data.size() - at) return data.size();
            at += size;
        }
        if (at != 0) return at == data.size() || is_message(data.subspan(at)) ? at : data.size();
    }
    const stretch first = walk(data, from, false);
    return first.over ? first.length : data.size();
}

void request_gate::passed(bytes data) noexcept {
    if (!started_) return;
    again_ -= std::min(again_, data.size());
    while (!data.empty()) {
        const stretch first = walk(data, place_, false);
        inside_ = !first.over && (inside_ || place_.open || place_.ends != ending::no);
        if (first.length == 0) return;
        data = data.subspan(first.length);
    }
}

void request_gate::again(std::size_t count) noexcept {
    if (!started_) return;
    start();
    again_ = count;
}

bool request_gate::refuse(bytes data) noexcept {
    dropping_ = true;
    return stands_alone(static_cast<char>(data[0]));
}

request_gate::dropped request_gate::drop(bytes data) noexcept {
    // In a group that has failed, PostgreSQL skips everything up to its Sync.
    const ending before = place_.ends;
    const bool alone = before == ending::alone || (before == ending::no && !place_.open && is_message(data) &&
                                                   stands_alone(static_cast<char>(data[0])));
    const stretch first = walk(data, place_, !alone);
    if (!first.over) return {first.length, false};
    dropping_ = inside_ = false;
    return {first.length, !alone};
}

}  // namespace pgmend::proxy
