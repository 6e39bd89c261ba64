// Connection URLs and keyword strings: parsed, taken apart and redacted, whatever they contain; a password
// is in no complaint and in no redacted form.

#include "config/connection_text.hpp"
#include "config/connection_url.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

constexpr std::string_view secret = "Zq9secretZq9";

void check_text(std::string_view text, bool has_secret) {
    const exact_copy copy(text);
    const auto target = config::parse_connection_url(copy.text(), [](const std::string&) {
        return std::optional<std::string>();
    });
    require(!target.problems.empty() || !target.servers.empty(), "servers, or a reason why there are none");
    // Once as the password; who writes it elsewhere as well has told it himself.
    has_secret = has_secret && text.find(secret) == text.rfind(secret);
    const std::string redacted = config::redact_connection_url(copy.text());
    if (has_secret) {
        require(redacted.find(secret) == redacted.npos, "a redacted string has no password");
        for (const auto& lines : {target.problems, target.warnings}) {
            for (const std::string& each : lines)
                require(each.find(secret) == each.npos, "no complaint repeats a password");
        }
    }
    const auto parts = config::split_connection_text(copy.text());
    if (!parts.value) return;
    const std::string joined = config::join_connection_text(*parts.value);
    const auto again = config::split_connection_text(joined);
    require(again.value.has_value(), "what is joined can be split");
    // A blank at the end belongs to nobody.
    if (joined.find_first_of(" \t\r\n\f\v") == joined.npos)
        require(config::join_connection_text(*again.value) == joined, "and is joined to the same");
}

}  // namespace

void url(byte_view input) {
    dice from(input);
    switch (from.below(4)) {
        case 0:
            return check_text(from.rest_text(), false);
        case 1: {
            const std::string user(from.short_text());
            if (user.find_first_of(":@/?#[]%\0") != user.npos) return;
            return check_text(
                "postgres://" + user + ":" + std::string(secret) + "@" + std::string(from.rest_text()), true
            );
        }
        case 2: {
            const std::string host(from.short_text());
            if (host.find_first_of("?#") != host.npos) return;
            return check_text(
                "postgresql://" + host + "?password=" + std::string(secret) + "&" +
                    std::string(from.rest_text()),
                true
            );
        }
        default:
            return check_text("password=" + std::string(secret) + " " + std::string(from.rest_text()), true);
    }
}

}  // namespace pgmend::fuzz
