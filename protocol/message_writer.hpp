#pragma once
// Frames pgmend makes itself, built into a caller's buffer. Source: PostgreSQL protocol, "Message Formats".
// Pure.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.hpp"
#include "protocol/message_type.hpp"

namespace pgmend::protocol {

/// What an ErrorResponse or NoticeResponse says. Empty fields are left out; `sqlstate` has five characters.
struct error_fields {
    std::string_view severity = "ERROR";
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail = {};
    std::string_view hint = {};
    std::string_view routine = {};  ///< drivers look at some of them
};

/// Appends whole frames to a growing buffer.
class message_writer {
public:
    explicit message_writer(std::vector<std::byte>& out) noexcept : out_(out) {}

    /// One frame made of a type and a body of pieces.
    void frame(char type, std::initializer_list<byte_view> pieces);
    void empty(char type) { frame(type, {}); }

    // Towards clients.
    void authentication(std::uint32_t code, byte_view data = {});
    void backend_key_data(std::uint32_t pid, byte_view secret);
    void parameter_status(std::string_view name, std::string_view value);
    void ready_for_query(transaction_status status);
    void error(const error_fields& fields) { fields_frame('E', fields); }
    void notice(const error_fields& fields) { fields_frame('N', fields); }
    void command_complete(std::string_view tag);
    void negotiate_protocol_version(
        std::uint32_t newest_minor, std::span<const std::string_view> unknown_options
    );

    // Towards servers.
    void query(std::string_view text);
    /// `types` is the wire form of the parameter types: a count and that many OIDs.
    void parse(std::string_view name, std::string_view text, byte_view types);
    /// The unnamed portal of the unnamed statement with one parameter, as text; all of its rows.
    void bind_text(std::string_view value);
    void execute_all();
    void close_statement(std::string_view name);
    void describe_statement(std::string_view name);
    void copy_fail(std::string_view reason);
    void sync() { empty('S'); }
    void terminate() { empty('X'); }
    void password(std::string_view secret);
    void sasl_initial_response(std::string_view mechanism, std::string_view data);
    void sasl_response(std::string_view data);

private:
    void fields_frame(char type, const error_fields& fields);
    std::vector<std::byte>& out_;
};

}  // namespace pgmend::protocol
