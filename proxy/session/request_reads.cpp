// The part of request_relay that looks at what a client has sent without sending it: whether it is one
// SELECT, or a group of them, that a standby may carry out.

#include "protocol/frame.hpp"
#include "proxy/session/read_route.hpp"
#include "proxy/session/request_relay.hpp"

namespace pgmend::proxy {

using protocol::byte_view;

namespace {

constexpr std::size_t header_bytes = protocol::frame_header_size;

/// The size of the whole message that `data` begins with; zero where it is not here as a whole.
std::size_t whole_message(byte_view data) noexcept {
    if (data.size() < header_bytes) return 0;
    const std::size_t length = protocol::load_u32(data.data() + 1);
    return length < 4 || length >= data.size() ? 0 : length + 1;
}

}  // namespace

std::optional<read_route> request_relay::what_keeps(std::string_view text) const noexcept {
    return proxy::what_keeps_at_primary(classify(text), text);
}

std::optional<read_route> request_relay::what_keeps_at_primary(byte_view data) {
    if (mid_request()) return read_route::not_alone;
    bool runs = false;
    bool parses = false;  // the unnamed statement
    for (std::size_t at = 0;;) {
        const std::size_t size = whole_message(data.subspan(at));
        if (size == 0) return read_route::not_alone;
        protocol::byte_reader reader{data.subspan(at + header_bytes, size - header_bytes)};
        at += size;
        switch (static_cast<char>(data[at - size])) {
            case 'Q': {
                const std::string_view text = reader.cstring();
                if (!reader.done() || at != data.size()) return read_route::not_alone;
                return what_keeps(text);
            }
            case 'P': {
                // A name is prepared where it will be used most; what it looks like is told by the primary.
                const std::string_view name = reader.cstring();
                const std::string_view text = reader.cstring();
                if (reader.failed() || !name.empty()) return read_route::not_alone;
                if (const auto why = what_keeps(text)) return why;
                parses = true;
                break;
            }
            case 'B': {
                const std::string_view portal = reader.cstring();
                const std::string_view name = reader.cstring();
                if (reader.failed() || !portal.empty()) return read_route::not_alone;
                if (name.empty() && parses) break;
                const auto* known = statements_.find(name);
                const auto& statement = known != nullptr ? known->statement : statements_.unnamed;
                if ((known == nullptr && !name.empty()) || !statement) return read_route::not_alone;
                if (const auto why = proxy::what_keeps_at_primary(traits_of(statement), statement->text))
                    return why;
                break;
            }
            case 'D':
                if (reader.u8() != 'P' || !reader.cstring().empty() || !reader.done())
                    return read_route::not_alone;
                break;
            case 'E':
                if (!reader.cstring().empty() || reader.failed()) return read_route::not_alone;
                runs = true;
                break;
            case 'S':
                if (size != header_bytes || !runs || at != data.size()) return read_route::not_alone;
                return std::nullopt;
            default:
                return read_route::not_alone;
        }
    }
}

}  // namespace pgmend::proxy
