#include "config/reference.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t text_width = 100;

/// What stands in the example for a setting whose default would show nothing.
struct sample {
    std::string_view key;
    std::string_view yaml;
};
constexpr std::array samples = {
    sample{"upstream.url", "postgres://app:secret@127.0.0.1:5432/app"},
    sample{"upstream.servers", "[\"127.0.0.1:5432\", \"[::1]:5432\", \"/var/run/postgresql:5432\"]"},
    sample{"upstream.patroni.urls", "[\"http://10.0.0.1:8008\", \"http://10.0.0.2:8008\"]"},
    sample{"users", "[{name: app, password: secret}]"},
    sample{"listen.tls.certificates", "[{cert: other.crt, key: other.key}]"},
    sample{
        "pool.rules",
        "[{database: reports, user: reader, size: 5, wait_timeout: 10min, session_state: pin}]"},
    sample{
        "limits.rules",
        "[{user: batch, clients: 10, requests: strict}, {per: address, requests: 50/s burst 100}]"},
    sample{"auth.hba", "[\"host all all 127.0.0.1/32 scram-sha-256\", {type: local, method: trust}]"}};

constexpr std::string_view example_head =
    "# Every setting of pgmend, with its default. Generated from config/settings.hpp; do not edit.\n"
    "# Remove the '#' in front of a key to set it. Durations take ms, s, min, h, d; sizes B, KiB, MiB, "
    "GiB.\n";

constexpr std::string_view reference_head = R"(# Configuration

Generated from the declarations in `config/settings.hpp` by `pgmend --print-reference`; do not edit.

A value comes from, in rising order: its default, `DATABASE_URL`, the file given with `--config`, the
environment variable of the setting. An empty environment variable counts as not set. Lists are written in an
environment variable as in the file, in YAML's flow form (`[{name: app, password: secret}]`); servers may also
stand side by side with commas between them. `pgmend --print-config` shows each value and where it came from.

- `DATABASE_URL` and `upstream.url` are libpq URLs or keyword strings and stand for the settings under
  `upstream` that they mention. Of several URLs only the strongest is read: `PGMEND_UPSTREAM_URL`, then
  `upstream.url`, then `DATABASE_URL`. What it leaves open comes from libpq's own variables (`PGUSER` and so on).
- Durations carry a unit (`250ms`, `15s`, `5min`, `1h`, `1d`), sizes too (`64KiB`, `1MiB`, `512B`). A bare `0` needs none.
- Unknown keys, values out of range and keys given twice are errors; all of them are reported, one a line.
- "Takes effect" says what a change needs: `live` applies at once, `new sessions` to connections made
  afterwards, `restart` to the next start.
)";

bool plain_yaml(std::string_view text) {
    return !text.empty() &&
           text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               text.npos;
}

std::string yaml_value(const setting_base& setting) {
    const auto* found = std::ranges::find(samples, setting.key(), &sample::key);
    if (found != samples.end()) return std::string(found->yaml);
    const std::string text = setting.shown_default();
    // Many readers of YAML take these for truth values, and they are words here.
    const bool truth = text == "on" || text == "off";
    return plain_yaml(text) && !truth ? text : "\"" + text + "\"";
}

/// Breaks a text at blanks into lines that begin with `indent`.
std::string wrap(std::string_view text, const std::string& indent) {
    std::string lines;
    std::string line = indent;
    while (!text.empty()) {
        const std::string_view each = text.substr(0, text.find(' '));
        if (line.size() > indent.size() && line.size() + each.size() + 1 > text_width) {
            lines += line + "\n";
            line = indent;
        }
        line.append(line.size() == indent.size() ? "" : " ").append(each);
        text.remove_prefix(std::min(text.size(), each.size() + 1));
    }
    return lines + line + "\n";
}

std::string_view section_of(std::string_view key) {
    const std::size_t dot = key.rfind('.');
    return dot == key.npos ? std::string_view() : key.substr(0, dot);
}

/// Bars and line ends would break a Markdown table.
std::string cell(std::string_view text) {
    std::string result;
    for (const char each : text) {
        if (each == '|') result += '\\';
        result += each;
    }
    return result;
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + cell(text) + "`"; }

}  // namespace

std::string example_yaml() {
    const settings defaults;
    std::string text(example_head);
    std::string_view open;
    for (const setting_base* each : defaults.all()) {
        const std::string_view key = each->key();
        const std::string_view section = section_of(key);
        const auto depth = static_cast<std::size_t>(std::ranges::count(key, '.'));
        const std::string indent(2 * depth, ' ');
        if (section != open) {
            // Sections nest at most one deep, and the outer one is always open already.
            if (!section.empty()) {
                text += "\n" + std::string(2 * (depth - 1), ' ');
                text.append(section.substr(section.rfind('.') + 1)).append(":\n");
            }
            open = section;
        }
        if (section.empty()) text += "\n";
        text += wrap(std::string(each->doc()) + " Allowed: " + each->allowed() + ".", indent + "# ");
        text.append(indent).append("#").append(key.substr(key.rfind('.') + 1)).append(": ");
        text += yaml_value(*each) + "\n";
    }
    return text;
}

std::string print_reference() {
    const settings defaults;
    std::string text(reference_head);
    std::string_view open = "none";
    for (const setting_base* each : defaults.all()) {
        const std::string_view section = section_of(each->key());
        if (section != open) {
            text += section.empty() ? "\n## Top level\n" : "\n## " + std::string(section) + "\n";
            text +=
                "\n| Key and variable | Default | Allowed | Takes effect | Meaning "
                "|\n|---|---|---|---|---|\n";
            open = section;
        }
        text += "| " + code(std::string(each->key())) + "<br>" + code(each->environment_name()) + " | " +
                code(each->shown_default()) + " | " + cell(each->allowed()) + " | " +
                std::string(word_of(each->reload())) + " | " + cell(each->doc()) + " |\n";
    }
    return text;
}

std::string print_config(const registry& settings) {
    using row = std::array<std::string, 5>;
    std::vector<row> rows = {{"key", "value", "default", "source", "takes effect"}};
    for (const setting_base* each : settings.all()) {
        rows.push_back(
            {std::string(each->key()), each->shown(), each->shown_default(),
             std::string(word_of(each->source())), std::string(word_of(each->reload()))}
        );
    }
    std::array<std::size_t, 5> widths{};
    for (const row& each : rows)
        for (std::size_t i = 0; i < widths.size(); ++i)
            widths[i] = std::max(widths[i], each[i].size());
    std::string text;
    for (const row& each : rows) {
        std::string line;
        for (std::size_t i = 0; i < widths.size(); ++i)
            line += (i == 0 ? "" : " | ") + each[i] + std::string(widths[i] - each[i].size(), ' ');
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

}  // namespace pgmend::config
