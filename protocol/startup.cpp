#include "protocol/startup.hpp"

#include <algorithm>
#include <map>

namespace pgmend::protocol {

namespace {

constexpr std::uint32_t cancel_code = (1234U << 16) | 5678U;
constexpr std::uint32_t ssl_code = (1234U << 16) | 5679U;
constexpr std::uint32_t gssenc_code = (1234U << 16) | 5680U;
constexpr std::uint16_t major_version = 3;
/// Options of the protocol rather than of the session begin with this (reserved since protocol 3.2's time).
constexpr std::string_view option_prefix = "_pq_.";

startup_packet refused(auth_error error) {
    startup_packet packet;
    packet.kind = startup_kind::violation;
    packet.error = std::move(error);
    return packet;
}

startup_packet invalid_length() {
    return refused({sqlstate::protocol_violation, "invalid length of startup packet"});
}

/// SSLRequest and GSSENCRequest: nothing but the code, and nothing behind it.
startup_packet encryption_request(startup_kind kind, std::size_t size, std::size_t available) {
    if (size != startup_packet_min) return invalid_length();
    if (available > size) {
        auth_error error{
            sqlstate::protocol_violation, kind == startup_kind::ssl_request
                                              ? "received unencrypted data after SSL request"
                                              : "received unencrypted data after GSSAPI encryption request"};
        error.detail =
            "This could be either a client-software bug or evidence of an attempted man-in-the-middle "
            "attack.";
        return refused(std::move(error));
    }
    startup_packet packet;
    packet.kind = kind;
    packet.size = size;
    return packet;
}

startup_packet cancellation(byte_view body) {
    byte_reader reader(body);
    startup_packet packet;
    packet.kind = startup_kind::cancel_request;
    packet.size = body.size() + startup_packet_min;
    packet.cancel.pid = reader.u32();
    packet.cancel.key = reader.rest();
    const std::size_t length = packet.cancel.key.size();
    if (reader.failed() || length < cancel_key_min || length > cancel_key_max) return invalid_length();
    return packet;
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(), [](char c) { return lower(c); });
    return result;
}

/// PostgreSQL's parse_bool: words may be shortened as long as they are not ambiguous. Negative when it is
/// neither.
int parse_bool(std::string_view text) {
    const std::string word = lower(text);
    const auto shortens = [&word](std::string_view whole, std::size_t shortest) {
        return word.size() >= shortest && whole.starts_with(word);
    };
    if (word == "1" || shortens("true", 1) || shortens("yes", 1) || word == "on") return 1;
    if (word == "0" || shortens("false", 1) || shortens("no", 1) || shortens("off", 2)) return 0;
    return -1;
}

bool parse_replication(std::string_view value, replication_mode& mode) {
    if (value == "database") {
        mode = replication_mode::logical;
        return true;
    }
    const int yes = parse_bool(value);
    if (yes < 0) return false;
    mode = yes == 1 ? replication_mode::physical : replication_mode::none;
    return true;
}

/// Names and values in turn, closed by an empty name that is the last byte. False when the layout is another.
bool read_parameters(byte_reader& reader, std::size_t max_parameters, startup_message& into, bool& too_many) {
    while (true) {
        const std::string_view name = reader.cstring();
        if (reader.failed()) return false;
        if (name.empty()) return reader.done();
        const std::string_view value = reader.cstring();
        if (reader.failed()) return false;
        if (into.parameters.size() + into.protocol_options.size() == max_parameters) {
            too_many = true;
            return false;
        }
        if (name.starts_with(option_prefix)) {
            into.protocol_options.push_back(name);
        } else {
            into.parameters.push_back({name, value});
        }
    }
}

startup_packet start(std::uint32_t version, byte_view body, std::size_t max_parameters) {
    if (version >> 16 != major_version) {
        return refused(
            {sqlstate::feature_not_supported,
             "unsupported frontend protocol " + std::to_string(version >> 16) + '.' +
                 std::to_string(version & 0xffffU) + ": server supports 3.0 to 3." +
                 std::to_string(newest_minor_version)}
        );
    }
    startup_packet packet;
    packet.kind = startup_kind::startup;
    packet.size = body.size() + startup_packet_min;
    startup_message& startup = packet.startup;
    startup.minor = static_cast<std::uint16_t>(version & 0xffffU);
    byte_reader reader(body);
    bool too_many = false;
    if (!read_parameters(reader, max_parameters, startup, too_many)) {
        if (too_many) return refused({sqlstate::protocol_violation, "too many parameters in startup packet"});
        return refused(
            {sqlstate::protocol_violation, "invalid startup packet layout: expected terminator as last byte"}
        );
    }
    startup.user = startup.find("user");
    if (startup.user.empty()) {
        return refused(
            {sqlstate::invalid_authorization, "no PostgreSQL user name specified in startup packet"}
        );
    }
    startup.database = startup.find("database");
    if (startup.database.empty()) startup.database = startup.user;
    for (const startup_parameter& parameter : startup.parameters) {
        if (parameter.name != "replication") continue;
        if (!parse_replication(parameter.value, startup.replication)) {
            return refused(
                {sqlstate::invalid_parameter_value,
                 "invalid value for parameter \"replication\": \"" + std::string(parameter.value) + '"'}
            );
        }
    }
    return packet;
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
    const byte_view bytes = as_bytes(text.substr(0, text.find('\0')));
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.push_back(std::byte{0});
}

void append_u32(std::vector<std::byte>& out, std::uint32_t value) {
    std::byte bytes[4];
    store_u32(bytes, value);
    out.insert(out.end(), bytes, bytes + sizeof bytes);
}

}  // namespace

std::string_view startup_message::find(std::string_view name) const noexcept {
    for (auto at = parameters.rbegin(); at != parameters.rend(); ++at) {
        if (at->name == name) return at->value;
    }
    return {};
}

startup_packet parse_startup(byte_view bytes, std::size_t max_parameters) {
    if (bytes.size() < 4) return {};
    const std::size_t size = load_u32(bytes.data());
    if (size < startup_packet_min || size > startup_packet_max) return invalid_length();
    if (bytes.size() < size) {
        startup_packet packet;
        packet.size = size;
        return packet;
    }
    const std::uint32_t code = load_u32(bytes.data() + 4);
    const byte_view body = bytes.subspan(startup_packet_min, size - startup_packet_min);
    switch (code) {
        case ssl_code:
            return encryption_request(startup_kind::ssl_request, size, bytes.size());
        case gssenc_code:
            return encryption_request(startup_kind::gssenc_request, size, bytes.size());
        case cancel_code:
            return cancellation(body);
        default:
            return start(code, body, max_parameters);
    }
}

std::string startup_partition_key(const startup_message& startup) {
    std::map<std::string, std::string_view> sorted;
    for (const startup_parameter& parameter : startup.parameters) {
        std::string name = lower(parameter.name);
        if (name == "user" || name == "database" || name == "application_name" || name == "replication")
            continue;
        sorted.insert_or_assign(std::move(name), parameter.value);
    }
    std::string key;
    for (const auto& [name, value] : sorted) {
        key.append(name).push_back('\0');
        key.append(value).push_back('\0');
    }
    return key;
}

void append_startup(
    std::vector<std::byte>& out, std::uint16_t minor, std::span<const startup_parameter> parameters
) {
    const std::size_t begin = out.size();
    append_u32(out, 0);
    append_u32(out, (std::uint32_t{major_version} << 16) | minor);
    for (const startup_parameter& parameter : parameters) {
        append_text(out, parameter.name);
        append_text(out, parameter.value);
    }
    out.push_back(std::byte{0});
    store_u32(out.data() + begin, static_cast<std::uint32_t>(out.size() - begin));
}

void append_ssl_request(std::vector<std::byte>& out) {
    append_u32(out, startup_packet_min);
    append_u32(out, ssl_code);
}

void append_cancel_request(std::vector<std::byte>& out, std::uint32_t pid, byte_view key) {
    append_u32(out, static_cast<std::uint32_t>(startup_packet_min + 4 + key.size()));
    append_u32(out, cancel_code);
    append_u32(out, pid);
    out.insert(out.end(), key.begin(), key.end());
}

std::string kept_application_name(std::string_view given) {
    constexpr std::size_t longest = 63;
    std::string kept{given.substr(0, longest)};
    for (char& byte : kept) {
        if (byte < ' ' || byte > '~') byte = '?';
    }
    return kept;
}

}  // namespace pgmend::protocol
