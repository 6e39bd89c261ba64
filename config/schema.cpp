#include "config/schema.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace pgmend::config {

namespace {

constexpr std::string_view head = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "The policy file of pgmend",
  "description": "Generated from the declarations of the settings by pgmend --print-schema.",
)";

constexpr std::string_view text_schema = R"({"type": ["string", "number", "boolean"]})";
constexpr std::string_view duration_schema =
    R"({"anyOf": [{"type": "string", "pattern": "^(0|[0-9]+(ms|s|min|h|d))$"}, {"const": 0}]})";
constexpr std::string_view size_schema =
    R"({"anyOf": [{"type": "string", "pattern": "^(0|[0-9]+(B|KiB|MiB|GiB))$"}, {"const": 0}]})";
constexpr std::string_view mode_schema =
    R"({"anyOf": [{"type": "string", "pattern": "^0?[0-7]{1,4}$"}, {"type": "integer", "minimum": 0}]})";
constexpr std::string_view memory_schema =
    R"({"type": "string", "pattern": "^(auto|none|[0-9]+(B|KiB|MiB|GiB))$"})";
constexpr std::string_view server_schema =
    R"({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})";
constexpr std::string_view user_schema =
    R"({"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["name"], )"
    R"("properties": {"name": {"type": ["string", "number"]}, "password": {"type": ["string", "number"]}, )"
    R"("password_file": {"type": "string"}}}})";
constexpr std::string_view rule_schema =
    R"({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", )"
    R"("additionalProperties": false, "required": ["method"], "properties": {"type": {"$ref": "#/$defs/words"}, )"
    R"("database": {"$ref": "#/$defs/words"}, "user": {"$ref": "#/$defs/words"}, )"
    R"("address": {"$ref": "#/$defs/words"}, "method": {"$ref": "#/$defs/words"}, )"
    R"("map": {"$ref": "#/$defs/words"}, "clientcert": {"$ref": "#/$defs/words"}, )"
    R"("clientname": {"$ref": "#/$defs/words"}}}]}})";
/// A list of pool.rules.
std::string pool_schema() {
    const std::string time(duration_schema);
    return R"({"type": "array", "items": {"type": "object", "additionalProperties": false, )"
           R"("anyOf": [{"required": ["mode"]}, {"required": ["size"]}, {"required": ["min_size"]}, )"
           R"({"required": ["reserve_size"]}, {"required": ["reserve_timeout"]}, {"required": ["wait_timeout"]}, )"
           R"({"required": ["idle_timeout"]}, {"required": ["lifetime"]}, {"required": ["session_state"]}, {"required": ["replay"]}], )"
           R"("properties": {"database": {"type": ["string", "number"]}, "user": {"type": ["string", "number"]}, )"
           R"("mode": {"enum": ["transaction", "session"]}, )"
           R"("size": {"type": "integer", "minimum": 1, "maximum": 100000}, )"
           R"("min_size": {"type": "integer", "minimum": 0, "maximum": 100000}, )"
           R"("reserve_size": {"type": "integer", "minimum": 0, "maximum": 100000}, "reserve_timeout": )" +
           time + R"(, "wait_timeout": )" + time + R"(, "idle_timeout": )" + time + R"(, "lifetime": )" +
           time +
           R"(, "session_state": {"enum": ["virtual", "pin", "off"]}, "replay": {"enum": ["on", "off"]}}}})";
}
constexpr std::string_view certificate_schema =
    R"({"type": "array", "items": {"type": "object", "additionalProperties": false, )"
    R"("required": ["cert", "key"], "properties": {"cert": {"type": "string"}, "key": {"type": "string"}}}})";
constexpr std::string_view count_schema =
    R"({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 1000000}, )"
    R"({"type": "string", "pattern": "^[0-9]+$"}]})";
constexpr std::string_view rate_schema =
    R"({"type": "string", "pattern": "^(none|(strict|normal|loose|hourly|[1-9][0-9]*/(s|min|h))( burst [1-9][0-9]*)?)$"})";

/// A list of limits.rules.
std::string limit_schema() {
    const std::string text = R"({"type": ["string", "number"]})";
    const std::string count(count_schema);
    const std::string time(duration_schema);
    return R"({"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {)"
           R"("user": )" +
           text + R"(, "database": )" + text + R"(, "address": {"type": "string"}, "application_name": )" +
           text +
           R"(, "per": {"enum": ["user", "database", "address", "application_name", "together"]}, "clients": )" +
           count + R"(, "requests": )" + std::string(rate_schema) + R"(, "waiting": )" + count +
           R"(, "query_timeout": )" + time + R"(, "idle_transaction_timeout": )" + time +
           R"(, "transaction_timeout": )" + time + R"(, "result_size": )" + std::string(size_schema) + "}}}";
}

constexpr std::string_view definitions =
    R"(  "$defs": {"words": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}},
)";

/// What begins like this may be that.
struct kind {
    std::string_view words;
    std::string_view schema;
};
constexpr std::array kinds{
    kind{"text", text_schema},
    kind{"a duration ", duration_schema},
    kind{"a size ", size_schema},
    kind{"octal permission bits", mode_schema},
    kind{"auto, none, or a size", memory_schema},
    kind{"a PostgreSQL connection URL", R"({"type": "string"})"},
    kind{"a list of password, md5", R"({"type": "string"})"},
    kind{"a list of host:port", server_schema},
    kind{"a list of http://host:port", server_schema},
    kind{"none, strict", rate_schema},
    kind{"a list of {name: text", user_schema},
    kind{"a list of {cert: path", certificate_schema},
    kind{"a list of lines of pg_hba.conf", rule_schema}};

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char each : text) {
        if (each == '"' || each == '\\') result += '\\';
        result += each;
    }
    return result + '"';
}

/// `1..64` as bounds. A number in quotes is as good to pgmend.
std::string whole_number(std::string_view range) {
    const std::size_t dots = range.find("..");
    return R"({"anyOf": [{"type": "integer", "minimum": )" + std::string(range.substr(0, dots)) +
           R"(, "maximum": )" + std::string(range.substr(dots + 2)) +
           R"(}, {"type": "string", "pattern": "^[0-9]+$"}]})";
}

/// The words of an enumeration. Other readers of YAML make truth values of some of them.
std::string one_of(std::string_view words) {
    std::string list;
    bool truth = false;
    while (!words.empty()) {
        const std::string_view each = words.substr(0, words.find(", "));
        list += (list.empty() ? "" : ", ") + quoted(each);
        truth = truth || each == "true" || each == "false";
        words.remove_prefix(std::min(words.size(), each.size() + 2));
    }
    return "{\"enum\": [" + list + (truth ? ", true, false" : "") + "]}";
}

std::optional<std::string_view> after(std::string_view text, std::string_view begin) {
    if (!text.starts_with(begin)) return std::nullopt;
    return text.substr(begin.size());
}

/// The members of the section `prefix` (empty, or ending with a dot).
std::string properties(const settings& defaults, std::string_view prefix, const std::string& indent) {
    std::string members;
    std::vector<std::string_view> done;
    for (const setting_base* each : defaults.all()) {
        if (!each->key().starts_with(prefix)) continue;
        const std::string_view rest = each->key().substr(prefix.size());
        const std::string_view name = rest.substr(0, rest.find('.'));
        if (std::ranges::find(done, name) != done.end()) continue;
        done.push_back(name);
        members += (members.empty() ? "" : ",\n") + indent + quoted(name) + ": ";
        if (name.size() < rest.size()) {
            const std::string inner(each->key().substr(0, prefix.size() + name.size() + 1));
            members +=
                "{\"type\": [\"object\", \"null\"], \"additionalProperties\": false, \"properties\": {\n" +
                properties(defaults, inner, indent + "  ") + "\n" + indent + "}}";
            continue;
        }
        const std::string words = std::string(each->doc()) + " Allowed: " + each->allowed() +
                                  ". Takes effect: " + std::string(word_of(each->reload())) + ".";
        std::string schema = schema_of(*each);
        schema.insert(1, "\"description\": " + quoted(words) + ", ");
        members += schema;
    }
    return members;
}

}  // namespace

std::string schema_of(const setting_base& setting) {
    const std::string allowed = setting.allowed();
    if (const auto range = after(allowed, "a whole number ")) return whole_number(*range);
    if (const auto words = after(allowed, "one of ")) return one_of(*words);
    if (const auto range = after(allowed, "auto, or a whole number "))
        return R"({"anyOf": [{"const": "auto"}, )" + whole_number(*range) + "]}";
    if (allowed.starts_with("a list of {user: text")) return limit_schema();
    if (allowed.starts_with("a list of {database: text")) return pool_schema();
    const auto* known =
        std::ranges::find_if(kinds, [&allowed](const kind& each) { return allowed.starts_with(each.words); });
    return known == kinds.end() ? std::string() : std::string(known->schema);
}

std::string print_schema() {
    const settings defaults;
    return std::string(head) + std::string(definitions) +
           "  \"type\": [\"object\", \"null\"],\n  \"additionalProperties\": false,\n  \"properties\": {\n" +
           properties(defaults, "", "    ") + "\n  }\n}\n";
}

}  // namespace pgmend::config
