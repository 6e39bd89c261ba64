#include "proxy/session/statement_shape.hpp"

#include "protocol/frame.hpp"
#include "protocol/sql_scanner.hpp"

namespace pgmend::proxy {

std::string statement_shape(std::string_view text, protocol::scan_settings settings, std::size_t most) {
    using protocol::sql_token_kind;
    std::string shape;
    if (!settings.standard_conforming_strings || settings.ambiguous_encoding) return shape;
    protocol::sql_scanner scanner{text};
    for (;;) {
        const protocol::sql_token token = scanner.next();
        if (token.kind == sql_token_kind::end) return shape;
        if (token.kind == sql_token_kind::error || shape.size() + token.text.size() > most)
            return shape + " ...";
        if (!shape.empty()) shape += ' ';
        switch (token.kind) {
            case sql_token_kind::string:
            case sql_token_kind::bit_string:
            case sql_token_kind::integer:
            case sql_token_kind::number:
                shape += '?';
                break;
            default:
                shape += token.text;
        }
    }
}

std::string_view first_statement(protocol::byte_view messages) noexcept {
    constexpr std::size_t header = protocol::frame_header_size;
    while (messages.size() >= header) {
        const char type = static_cast<char>(messages[0]);
        const std::size_t size = protocol::load_u32(messages.data() + 1) + std::size_t{1};
        if (size < header || size > messages.size()) return {};
        protocol::byte_reader body{messages.subspan(header, size - header)};
        if (type == 'P') body.cstring();
        if (type == 'P' || type == 'Q') {
            const std::string_view text = body.cstring();
            return body.failed() ? std::string_view{} : text;
        }
        messages = messages.subspan(size);
    }
    return {};
}

}  // namespace pgmend::proxy
