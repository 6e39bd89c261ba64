// A stream of frames comes out of `pool::inbound` the same, however it was cut on its way in.

#include <algorithm>
#include <vector>

#include "pool/channel.hpp"
#include "protocol/frame.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

/// Gives what is left of a text, in pieces whose sizes are drawn.
class piecewise final : public pool::stream {
public:
    piecewise(std::string_view bytes, dice sizes) : left_(bytes), sizes_(sizes) {}
    pool::io_result read_some(std::span<std::byte> into) noexcept override {
        if (left_.empty()) return {pool::io_status::eof};
        const std::size_t wanted = std::size_t{sizes_.u8()} * sizes_.u8() + 1;
        const std::size_t count = std::min({into.size(), left_.size(), wanted});
        std::copy_n(left_.data(), count, reinterpret_cast<char*>(into.data()));
        left_.remove_prefix(count);
        return {pool::io_status::ok, count};
    }
    pool::io_result write_some(std::span<const iovec>) noexcept override { return {pool::io_status::error}; }
    void watch(pool::event_sink&, pool::readiness) noexcept override {}
    void arm(pool::interest) noexcept override {}
    pool::io_result connected() noexcept override { return {pool::io_status::ok}; }
    void close() noexcept override {}

private:
    std::string_view left_;
    dice sizes_;
};

using frame_list = std::vector<std::string>;

/// Cuts whole frames off the front of `bytes`; returns what they took. False in `sound` after a length that
/// is none.
std::size_t take_frames(byte_view bytes, frame_list& frames, std::size_t& want, bool& sound) {
    std::size_t at = 0;
    want = 0;
    while (bytes.size() - at >= protocol::frame_header_size) {
        const std::byte* header = bytes.data() + at;
        if (!protocol::valid_length(header)) {
            sound = false;
            return at;
        }
        const std::size_t size = protocol::decode_header(header).size();
        if (bytes.size() - at < size) {
            want = size;
            return at;
        }
        frames.emplace_back(protocol::as_text(bytes.subspan(at, size)));
        at += size;
    }
    return at;
}

}  // namespace

void frames(byte_view input) {
    dice from(input);
    const dice sizes(protocol::as_bytes(from.text(16)));
    const std::string_view all = from.rest_text();

    frame_list expected;
    std::size_t want = 0;
    bool sound = true;
    const std::size_t whole = take_frames(protocol::as_bytes(all), expected, want, sound);
    require(whole <= all.size(), "frames end within their bytes");

    static pool::buffer_pool buffers;
    pool::inbound in(buffers);
    piecewise source(all, sizes);
    frame_list found;
    bool found_sound = true;
    want = 0;
    // As sessions do: a message that would not fit a block is passed on in pieces, not waited for.
    constexpr std::size_t held = 1 << 14;
    while (found_sound && in.fill(source, std::min(want, held)).status == pool::io_status::ok) {
        in.consume(take_frames(in.bytes(), found, want, found_sound));
        in.keep();
    }
    require(found == expected && found_sound == sound, "a stream has the same frames however it is cut");
    require(!sound || in.size() == all.size() - whole, "what is no whole frame stays");
    in.clear();
    require(buffers.leased_blocks() == 0, "no block stays leased");
}

}  // namespace pgmend::fuzz
