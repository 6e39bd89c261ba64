#include "tests/sim/startup_model.hpp"

#include <algorithm>

#include "tests/sim/parameter_catalog.hpp"

namespace pgmend::sim {

namespace {

error_fields fatal(std::string code, std::string text) { return {"FATAL", std::move(code), std::move(text)}; }

/// Words between blanks; a backslash takes the character behind it as it is.
std::vector<std::string> split_options(const std::string& options) {
    std::vector<std::string> words;
    bool inside = false;
    for (std::size_t at = 0; at < options.size(); ++at) {
        const bool blank = options[at] == ' ';
        if (blank) {
            inside = false;
            continue;
        }
        if (!inside) words.emplace_back();
        inside = true;
        if (options[at] == '\\' && at + 1 < options.size()) ++at;
        words.back() += options[at];
    }
    return words;
}

std::optional<error_fields> take_one(
    const std::string& name, const std::string& value, std::map<std::string, std::string>& defaults
) {
    const auto canonical = canonical_parameter(name);
    if (!canonical) return fatal("42704", "unrecognized configuration parameter \"" + name + "\"");
    const auto* known = find_parameter(*canonical);
    if (known != nullptr && !known->settable)
        return fatal("55P02", "parameter \"" + *canonical + "\" cannot be changed");
    const auto accepted = canonical_value(*canonical, value);
    if (!accepted)
        return fatal("22023", "invalid value for parameter \"" + *canonical + "\": \"" + value + "\"");
    defaults[*canonical] = *accepted;
    return std::nullopt;
}

/// `-c name=value`, `-cname=value` and `--name=value`, where '-' in a name stands for '_'.
std::optional<error_fields> take_options(
    const std::string& options, std::map<std::string, std::string>& defaults
) {
    const auto words = split_options(options);
    for (std::size_t at = 0; at < words.size(); ++at) {
        std::string setting;
        if (words[at] == "-c" && at + 1 < words.size())
            setting = words[++at];
        else if (words[at].starts_with("-c") || words[at].starts_with("--"))
            setting = words[at].substr(2);
        const auto equals = setting.find('=');
        if (equals == std::string::npos)
            return fatal("42601", "invalid command-line argument for server process: " + words[at]);
        std::string name = setting.substr(0, equals);
        std::replace(name.begin(), name.end(), '-', '_');
        if (auto error = take_one(name, setting.substr(equals + 1), defaults)) return error;
    }
    return std::nullopt;
}

struct drawable {
    const char* name;
    std::vector<std::string> values;  ///< as PostgreSQL shows them
};

const std::vector<drawable>& drawables() {
    static const std::vector<drawable> all = {
        {"work_mem", {"7MB", "64kB"}},
        {"Work_Mem", {"9MB"}},
        {"statement_timeout", {"1min", "0"}},
        {"lock_timeout", {"2min"}},
        {"idle_in_transaction_session_timeout", {"1h"}},
        {"search_path", {"public", "public, pg_catalog"}},
        {"geqo", {"off"}},
        {"ENABLE_SEQSCAN", {"off"}},
        {"bytea_output", {"escape"}},
        {"client_min_messages", {"warning"}},
        {"extra_float_digits", {"3"}},
        {"IntervalStyle", {"iso_8601"}},
        {"some.var", {"yay", "a b", "it's \\ so"}},
    };
    return all;
}

std::string escaped(const std::string& value) {
    std::string text;
    for (const char each : value) {
        if (each == ' ' || each == '\\') text += '\\';
        text += each;
    }
    return text;
}

}  // namespace

std::optional<error_fields> take_startup(
    const std::vector<name_value>& parameters, std::map<std::string, std::string>& defaults
) {
    for (const auto& [name, value] : parameters) {
        if (name == "user") defaults["session_authorization"] = value;
        if (name != "options") continue;
        if (auto error = take_options(value, defaults)) return error;
    }
    for (const auto& [name, value] : parameters) {
        if (name == "user" || name == "database" || name == "options" || name == "replication" ||
            name.starts_with("_pq_."))
            continue;
        if (auto error = take_one(name, value, defaults)) return error;
    }
    return std::nullopt;
}

drawn_startup draw_any_startup(prng& dice, bool bad) {
    drawn_startup drawn;
    std::string options;
    for (std::size_t left = dice.size_between(1, 4); left > 0; --left) {
        const drawable& one = dice.pick(drawables());
        const std::string value = dice.pick(one.values);
        drawn.names.emplace_back(one.name);
        if (dice.chance(1, 2)) {
            drawn.parameters.emplace_back(one.name, value);
            continue;
        }
        std::string name = one.name;
        const bool dashed = dice.chance(1, 2);
        if (dashed) std::replace(name.begin(), name.end(), '_', '-');
        options += (options.empty() ? "" : " ") +
                   std::string(
                       dashed              ? "--"
                       : dice.chance(1, 2) ? "-c"
                                           : "-c "
                   ) +
                   name + "=" + escaped(value);
    }
    if (bad) {
        switch (dice.below(4)) {
            case 0:
                drawn.parameters.emplace_back("doesnotexist", "foo");
                break;
            case 1:
                drawn.parameters.emplace_back("work_mem", "lots");
                break;
            case 2:
                options += " -c nobody_knows=1";
                break;
            default:
                options += " --geqo=perhaps";
                break;
        }
    }
    if (!options.empty()) drawn.parameters.emplace_back("options", options);
    return drawn;
}

}  // namespace pgmend::sim
