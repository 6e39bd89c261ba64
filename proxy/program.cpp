#include "proxy/program.hpp"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "config/loader.hpp"
#include "config/log.hpp"
#include "config/manual.hpp"
#include "config/pgbouncer_policy.hpp"
#include "config/reference.hpp"
#include "config/schema.hpp"
#include "config/units.hpp"
#include "proxy/login/live_files.hpp"
#include "proxy/process/attendant.hpp"
#include "proxy/process/health_check.hpp"
#include "proxy/process/program_manual.hpp"
#include "proxy/server.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::string_view usage =
    "Usage: pgmend [--config FILE] [--attended | --check | --health-check [--within SECONDS] | "
    "--print-config |\n"
    "              --print-reference | --print-schema | --print-man PAGE | --from-pgbouncer FILE | --version "
    "| --help]\n"
    "\n"
    "A self-healing proxy for PostgreSQL. DATABASE_URL alone is enough to run.\n"
    "\n"
    "  --config FILE       read settings from a YAML file\n"
    "  --attended          run as a service whose restart drops no client: a small process that the manager "
    "sees, and\n"
    "                      pgmend as its child\n"
    "  --check             read and check all settings, then exit\n"
    "  --health-check      ask the pgmend that runs with the same settings whether it is alive\n"
    "  --within SECONDS    ask until it lets clients in, for so long: for what has to start after it\n"
    "  --print-config      print every setting with its value and where that comes from\n"
    "  --print-reference   print the documentation of all settings (Markdown)\n"
    "  --print-schema      print a JSON Schema of the YAML file, for editors\n"
    "  --from-pgbouncer FILE  print the settings that a pgbouncer.ini comes to, and what has no equivalent\n"
    "  --print-man PAGE    print a manual page: pgmend.1 or pgmend.yaml.5\n"
    "  --version           print the version\n"
    "\n"
    "Every setting is also an environment variable: pool.size is PGMEND_POOL_SIZE.\n";

constexpr std::uint64_t longest_patience = 86'400;

enum class action {
    serve,
    check,
    health_check,
    print_config,
    print_reference,
    print_schema,
    print_man,
    from_pgbouncer,
    version,
    help
};

struct options {
    action what = action::serve;
    std::optional<std::string> file;
    bool attended = false;
    std::chrono::seconds patience{0};  ///< of a health check
    std::string page;
    std::string error;
};

options parse(std::span<char* const> arguments) {
    options parsed;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view word = arguments[i];
        if (word == "--config" || word == "-c") {
            if (++i == arguments.size()) {
                parsed.error = std::string{word} + " needs a file";
                return parsed;
            }
            parsed.file = arguments[i];
        } else if (word.starts_with("--config=")) {
            parsed.file = word.substr(9);
        } else if (word == "--attended") {
            parsed.attended = true;
        } else if (word == "--check") {
            parsed.what = action::check;
        } else if (word == "--health-check") {
            parsed.what = action::health_check;
        } else if (word == "--within") {
            const std::string_view seconds = ++i == arguments.size() ? "" : arguments[i];
            const auto count = config::parse_count(seconds).value;
            if (parsed.what != action::health_check || !count || *count > longest_patience) {
                parsed.error = "--within follows --health-check, and needs seconds, at most a day of them";
                return parsed;
            }
            parsed.patience = std::chrono::seconds{*count};
        } else if (word == "--print-man") {
            parsed.what = action::print_man;
            if (++i == arguments.size()) {
                parsed.error = "--print-man needs a page";
                return parsed;
            }
            parsed.page = arguments[i];
        } else if (word == "--from-pgbouncer") {
            parsed.what = action::from_pgbouncer;
            if (++i == arguments.size()) {
                parsed.error = "--from-pgbouncer needs a file";
                return parsed;
            }
            parsed.file = arguments[i];
        } else if (word == "--print-schema") {
            parsed.what = action::print_schema;
        } else if (word == "--print-config") {
            parsed.what = action::print_config;
        } else if (word == "--print-reference") {
            parsed.what = action::print_reference;
        } else if (word == "--version" || word == "-V") {
            parsed.what = action::version;
        } else if (word == "--help" || word == "-h") {
            parsed.what = action::help;
        } else {
            parsed.error = "unknown argument '" + std::string{word} + "'";
            return parsed;
        }
    }
    return parsed;
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }
void complain(std::string_view text) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

int serve(config::load_result loaded, config::load_sources sources) {
    log::options wanted;
    wanted.lowest = log_level_of(loaded.value->log.level());
    wanted.form =
        loaded.value->log.format() == config::log_format::json ? log::format::json : log::format::text;
    log::start(wanted);
    for (const auto& warning : loaded.warnings) {
        log::warning("settings", {{"message", warning}});
    }
    int status = 0;
    {
        // Given away: others may take their place while it runs, and they may hold secrets.
        server instance{std::move(loaded.value), std::move(sources)};
        if (const std::string error = instance.open(); error.empty()) {
            instance.run();
        } else {
            log::error("not_started", {{"reason", error}});
            status = 1;
        }
    }
    log::stop();
    return status;
}

int check(const config::load_result& loaded) {
    for (const auto& warning : loaded.warnings) {
        complain("warning: " + warning);
    }
    live_facts facts;
    const auto problems = read_live_facts(*loaded.value, facts);
    for (const auto& problem : problems) {
        complain(problem);
    }
    if (!problems.empty()) return 1;
    print("the settings are good\n");
    return 0;
}

int print_man(const std::string& page) {
    if (page == "pgmend.1") {
        print(program_manual(usage, PGMEND_VERSION));
    } else if (page == "pgmend.yaml.5") {
        print(config::settings_manual(PGMEND_VERSION));
    } else {
        complain("pgmend: there is no page '" + page + "'");
        return 2;
    }
    return 0;
}

/// The policy goes to standard output, what has no equivalent to standard error as well.
int convert(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (!stream) {
        complain(file + ": cannot be read");
        return 1;
    }
    const config::pgbouncer_policy made = config::policy_from_pgbouncer(text);
    for (const auto& error : made.errors)
        complain(file + ": " + error);
    if (!made.errors.empty()) return 1;
    print(made.yaml);
    for (const auto& each : made.missing)
        complain("no equivalent: " + each);
    return 0;
}

}  // namespace

int run_program(std::span<char* const> arguments) {
    const options wanted = parse(arguments);
    if (!wanted.error.empty()) {
        complain("pgmend: " + wanted.error + "\n" + std::string{usage});
        return 2;
    }
    switch (wanted.what) {
        case action::version:
            print("pgmend " PGMEND_VERSION "\n");
            return 0;
        case action::help:
            print(usage);
            return 0;
        case action::print_reference:
            print(config::print_reference());
            return 0;
        case action::print_schema:
            print(config::print_schema());
            return 0;
        case action::print_man:
            return print_man(wanted.page);
        case action::from_pgbouncer:
            return convert(*wanted.file);
        case action::serve:
        case action::check:
        case action::health_check:
        case action::print_config:
            break;
    }
    if (wanted.attended && wanted.what == action::serve) {
        if (const int status = attend(); status >= 0) return status;
    }
    std::optional<std::filesystem::path> file;
    if (wanted.file) file = *wanted.file;
    config::load_sources sources = config::process_sources(file);
    config::load_result loaded = config::load(sources);
    if (!loaded.value) {
        for (const auto& error : loaded.errors) {
            complain(error);
        }
        return 1;
    }
    if (wanted.what == action::print_config) {
        print(config::print_config(*loaded.value));
        return 0;
    }
    if (wanted.what == action::health_check) {
        const std::string problem = check_health(*loaded.value, wanted.patience);
        complain(problem.empty() ? "live" : problem);
        return problem.empty() ? 0 : 1;
    }
    return wanted.what == action::check ? check(loaded) : serve(std::move(loaded), std::move(sources));
}

}  // namespace pgmend::proxy
