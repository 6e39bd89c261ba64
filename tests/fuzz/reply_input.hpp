#pragma once
// Server messages out of fuzz bytes: what a good server would say, and what none would.

#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/messages.hpp"

namespace pgmend::fuzz {

inline std::string good_greeting() {
    using namespace test;
    return message('R', u32(0)) + parameter_status("server_version", "15.0") +
           parameter_status("TimeZone", "UTC") + message('K', u32(42) + u32(4711)) + ready('I');
}

/// What may stand in place of it: questions for passwords, errors, anything.
inline std::string drawn_greeting(dice& from) {
    using namespace test;
    switch (from.below(8)) {
        case 0:
            return message('R', u32(3));
        case 1:
            return message('R', u32(5) + "salt");
        case 2:
            return message('R', u32(10) + z("SCRAM-SHA-256") + '\0');
        case 3:
            return message('R', u32(11) + std::string(from.short_text()));
        case 4: {
            const std::string code = u32(from.u8() % 14U);
            return message('R', code + std::string(from.short_text()));
        }
        case 5:
            return from.coin() ? fatal("28P01") : fatal("57P03");
        case 6: {
            const std::string count = u32(from.u8());
            return message('v', u32(0) + count + std::string(from.short_text()));
        }
        default:
            return std::string(from.short_text());
    }
}

/// The least that answers a message.
inline std::string good_reply(char type) {
    using namespace test;
    switch (type) {
        case 'P':
            return parse_complete();
        case 'B':
            return bind_complete();
        case 'D':
            return parameter_description() + no_data();
        case 'E':
            return complete("SELECT 0");
        case 'C':
            return close_complete();
        case 'S':
            return ready('I');
        case 'Q':
            return complete("SELECT 0") + ready('I');
        case 'F':
            return message('V', u32(0xffffffff)) + ready('I');
        default:
            return {};
    }
}

inline std::string drawn_reply(dice& from) {
    using namespace test;
    static constexpr std::string_view types = "123CDEGHIKNRSTVWZcdntsAv";
    switch (from.below(12)) {
        case 0:
            return parse_complete();
        case 1:
            return bind_complete();
        case 2:
            return ready("ITEIx"[from.below(5)]);
        case 3:
            return complete(from.coin() ? "SELECT 1" : "COPY 3");
        case 4:
            return error(from.coin() ? "42601" : "57P01");
        case 5: {
            const char* name = from.coin() ? "TimeZone" : "application_name";
            return parameter_status(name, from.coin() ? "same" : "other");
        }
        case 6:
            return row({from.short_text()});
        case 7:
            return row_description() + parameter_description();
        case 8:
            return copy_in_response();
        case 9:
            return std::string(from.short_text());
        default: {
            const char type = types[from.below(types.size())];
            return message(type, from.short_text());
        }
    }
}

}  // namespace pgmend::fuzz
