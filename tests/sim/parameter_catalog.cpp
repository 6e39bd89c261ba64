#include "tests/sim/parameter_catalog.hpp"

#include <cctype>
#include <map>

namespace pgmend::sim {

namespace {

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& byte : out)
        byte = byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
    return out;
}

bool is_amount(std::string_view value) {
    return !value.empty() && (std::isdigit(static_cast<unsigned char>(value[0])) != 0 || value[0] == '-');
}

}  // namespace

const std::vector<known_parameter>& known_parameters() {
    static const std::vector<known_parameter> all = {
        {"application_name", "", true, true},
        {"client_encoding", "UTF8", true, true},
        {"DateStyle", "ISO, MDY", true, true},
        {"default_transaction_read_only", "off", true, true},
        {"in_hot_standby", "off", true, false},
        {"integer_datetimes", "on", true, false},
        {"IntervalStyle", "postgres", true, true},
        {"is_superuser", "off", true, false},
        {"server_encoding", "UTF8", true, false},
        {"server_version", "15.8 (simulated)", true, false},
        {"session_authorization", "app", true, true},
        {"standard_conforming_strings", "on", true, true},
        {"TimeZone", "Etc/UTC", true, true},
        {"bytea_output", "hex", false, true},
        {"client_min_messages", "notice", false, true},
        {"enable_seqscan", "on", false, true},
        {"extra_float_digits", "1", false, true},
        {"geqo", "on", false, true},
        {"idle_in_transaction_session_timeout", "0", false, true},
        {"lock_timeout", "0", false, true},
        {"role", "none", false, true},
        {"search_path", "\"$user\", public", false, true},
        {"statement_timeout", "0", false, true},
        {"work_mem", "4MB", false, true},
    };
    return all;
}

const known_parameter* find_parameter(std::string_view name) {
    static const auto by_name = [] {
        std::map<std::string, const known_parameter*> made;
        for (const auto& known : known_parameters())
            made.emplace(lower(known.name), &known);
        return made;
    }();
    const auto found = by_name.find(lower(name));
    return found == by_name.end() ? nullptr : found->second;
}

std::optional<std::string> canonical_parameter(std::string_view name) {
    if (const auto* known = find_parameter(name)) return std::string(known->name);
    if (is_custom(name)) return lower(name);
    return std::nullopt;
}

std::optional<std::string> canonical_value(std::string_view canonical_name, std::string_view value) {
    if (canonical_name == "client_encoding") {
        std::string plain;
        for (const char byte : lower(value)) {
            if (std::isalnum(static_cast<unsigned char>(byte)) != 0) plain += byte;
        }
        if (plain == "utf8" || plain == "unicode") return "UTF8";
        if (plain == "latin1") return "LATIN1";
        if (plain == "sqlascii") return "SQL_ASCII";
        return std::nullopt;
    }
    if (canonical_name == "DateStyle") {
        const std::string style = lower(value);
        if (style == "german") return "German, DMY";
        if (style.starts_with("iso")) return style.find("dmy") == std::string::npos ? "ISO, MDY" : "ISO, DMY";
        return std::nullopt;
    }
    if (canonical_name == "work_mem" && !is_amount(value)) return std::nullopt;
    if (canonical_name == "standard_conforming_strings" ||
        canonical_name == "default_transaction_read_only" || canonical_name == "enable_seqscan" ||
        canonical_name == "geqo") {
        const std::string word = lower(value);
        if (word == "on" || word == "true" || word == "1" || word == "yes") return "on";
        if (word == "off" || word == "false" || word == "0" || word == "no") return "off";
        return std::nullopt;
    }
    return std::string(value);
}

}  // namespace pgmend::sim
