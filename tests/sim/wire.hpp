#pragma once
// Protocol messages as strings, both directions: what the simulated clients and the simulated PostgreSQL say.
// Written apart from protocol/ on purpose, so that a mistake there is not made twice. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/message_type.hpp"

namespace pgmend::sim {

using text_or_null = std::optional<std::string>;
using name_value = std::pair<std::string, std::string>;

/// Appends one message to a string: header first, the length filled in by `end`.
class message_builder {
public:
    message_builder(std::string& out, char type) : out_(out) {
        out_ += type;
        start_ = out_.size();
        out_.append(4, '\0');
    }
    message_builder(std::string& out, protocol::backend_message type)
        : message_builder(out, static_cast<char>(type)) {}
    message_builder(std::string& out, protocol::frontend_message type)
        : message_builder(out, static_cast<char>(type)) {}

    message_builder& u8(unsigned value) {
        out_ += static_cast<char>(value);
        return *this;
    }
    message_builder& u16(unsigned value) { return u8(value >> 8 & 0xff).u8(value & 0xff); }
    message_builder& u32(std::uint32_t value) { return u16(value >> 16).u16(value & 0xffff); }
    message_builder& string(std::string_view text) {
        out_ += text;
        out_ += '\0';
        return *this;
    }
    message_builder& raw(const std::string& bytes) {
        out_ += bytes;
        return *this;
    }
    /// A length and the bytes; -1 for null.
    message_builder& value(const text_or_null& text);
    void end();

private:
    std::string& out_;
    std::size_t start_;
};

/// One whole message, as it was cut out of a byte stream.
struct message {
    char type = 0;
    std::string body;
    bool operator==(const message&) const = default;
};

/// Cuts the first whole message off `bytes`, starting at `at`, which is moved behind it. Nothing when more
/// bytes are needed. A length field below 4 gives a message of type 0: the stream is broken.
std::optional<message> next_message(std::string_view bytes, std::size_t& at);

/// Fields of an ErrorResponse or NoticeResponse that matter to the oracles.
struct error_fields {
    std::string severity;
    std::string code;
    std::string text;
};
error_fields read_error(std::string_view body);

/// One line for a person: type, and the readable part of the body.
std::string describe(const message& what);

namespace frontend {

std::string startup(const std::vector<name_value>& parameters, std::uint32_t version = 196608);
std::string ssl_request();
std::string cancel_request(std::uint32_t pid, std::string_view key);
std::string query(std::string_view sql);
std::string parse(std::string_view name, std::string_view sql, const std::vector<std::uint32_t>& types = {});
std::string bind(
    std::string_view portal, std::string_view statement, const std::vector<text_or_null>& values = {}
);
/// `what` is 'S' for a statement, 'P' for a portal; so for `close`.
std::string describe(char what, std::string_view name);
std::string close(char what, std::string_view name);
std::string execute(std::string_view portal, std::uint32_t row_limit = 0);
std::string sync();
std::string flush();
std::string terminate();
std::string copy_data(std::string_view data);
std::string copy_done();
std::string copy_fail(std::string_view reason);
std::string function_call(std::uint32_t function, const std::vector<text_or_null>& arguments);

}  // namespace frontend
}  // namespace pgmend::sim
