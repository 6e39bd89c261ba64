#pragma once
// Reading ErrorResponse and NoticeResponse: the fields pgmend acts on. A missing field is an empty view, as a
// server may leave out any of them. Pure; views into the body.

#include <string_view>

#include "protocol/bytes.hpp"

namespace pgmend::protocol {

struct error_view {
    std::string_view severity;  ///< not localised where the server says so (field V), else field S
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail;
    std::string_view routine;  ///< of the server's source; never translated
    bool fatal() const noexcept { return severity == "FATAL" || severity == "PANIC"; }
};

inline error_view read_error(byte_view body) noexcept {
    error_view error;
    byte_reader reader{body};
    bool has_untranslated = false;
    for (;;) {
        const char code = static_cast<char>(reader.u8());
        if (reader.failed() || code == 0) return error;
        const std::string_view text = reader.cstring();
        if (reader.failed()) return error;
        switch (code) {
            case 'V':
                error.severity = text;
                has_untranslated = true;
                break;
            case 'S':
                if (!has_untranslated) error.severity = text;
                break;
            case 'C':
                error.sqlstate = text;
                break;
            case 'M':
                error.message = text;
                break;
            case 'D':
                error.detail = text;
                break;
            case 'R':
                error.routine = text;
                break;
            default:
                break;
        }
    }
}

}  // namespace pgmend::protocol
