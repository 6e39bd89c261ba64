// Bodies that are read: error fields, first SASL answers, and what the reader does at the end of a body; and
// frames we write, whatever a text contains.

#include <vector>

#include "protocol/error_response.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/scram.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

void read_anyhow(dice& from) {
    const exact_copy body(from.text(64));
    byte_reader reader(body.bytes());
    bool had_failed = false;
    while (!from.done()) {
        const std::size_t before = reader.rest().size();
        switch (from.below(6)) {
            case 0:
                reader.u8();
                break;
            case 1:
                reader.u16();
                break;
            case 2:
                reader.i32();
                break;
            case 3:
                reader.cstring();
                break;
            case 4:
                reader.bytes(from.u8());
                break;
            default:
                reader.bytes(static_cast<std::size_t>(reader.u32()));
                break;
        }
        require(reader.rest().size() <= before, "a reader only moves on");
        require(!had_failed || reader.failed(), "a failed reader stays so");
        require(!reader.failed() || reader.rest().empty(), "a failed reader has nothing left");
        had_failed = reader.failed();
    }
}

/// The bytes are whole frames; how many.
std::size_t count_frames(byte_view bytes) {
    std::size_t count = 0;
    while (!bytes.empty()) {
        require(bytes.size() >= frame_header_size && valid_length(bytes.data()), "what we write are frames");
        const std::size_t size = decode_header(bytes.data()).size();
        require(size <= bytes.size(), "a frame has the length it says");
        bytes = bytes.subspan(size);
        ++count;
    }
    return count;
}

void write_anything(dice& from) {
    const std::string_view one = from.short_text();
    const std::string_view two = from.short_text();
    const std::string_view three = from.rest_text();
    std::vector<std::byte> out;
    message_writer writer(out);
    writer.error({.sqlstate = "XX000", .message = one, .detail = two, .hint = three});
    if ((std::string(one) += two).append(three).find('\0') == std::string::npos) {
        const error_view read = read_error(byte_view(out).subspan(frame_header_size));
        require(read.message == one && read.detail == two, "an error is read as it was written");
        require(read.sqlstate == "XX000" && read.severity == "ERROR", "whatever its texts are");
    }
    writer.parameter_status(one, two);
    writer.query(three);
    writer.parse(one, two, as_bytes(three));
    writer.close_statement(one);
    writer.copy_fail(two);
    writer.command_complete(three);
    writer.sasl_initial_response(one, two);
    const std::string_view options[] = {one, two};
    writer.negotiate_protocol_version(2, options);
    require(count_frames(out) == 9, "each call writes one frame");
}

}  // namespace

void messages(byte_view input) {
    dice from(input);
    switch (from.below(4)) {
        case 0:
            return read_anyhow(from);
        case 1:
            return write_anything(from);
        case 2: {
            const exact_copy body(from.rest_text());
            const error_view error = read_error(body.bytes());
            require(
                error.message.size() + error.detail.size() <= body.text().size(), "fields lie in the body"
            );
            return;
        }
        default: {
            const exact_copy body(from.rest_text());
            const auto first = parse_sasl_initial_response(body.bytes());
            if (!first) return;
            require(
                first->mechanism.size() + first->data.value_or("").size() <= body.text().size(),
                "parts lie in the body"
            );
        }
    }
}

}  // namespace pgmend::fuzz
