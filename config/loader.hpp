#pragma once
// Builds a snapshot of the settings from what the outside gives: default < DATABASE_URL < file < PGMEND_*
// variables. All or nothing: with one error there is no snapshot, and every error is reported at once.

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"

namespace pgmend::config {

/// Everything a load depends on besides the files it names.
struct load_sources {
    std::optional<std::filesystem::path> file;       ///< YAML; none is fine
    std::map<std::string, std::string> environment;  ///< an empty value counts as not set
    std::string os_user;                             ///< who logs in when nothing names a user
};

/// The environment and the user of this process. Not thread-safe beside setenv.
load_sources process_sources(std::optional<std::filesystem::path> file);

struct load_result {
    std::shared_ptr<const settings> value;  ///< null when there are errors
    std::vector<std::string> errors;        ///< one line each, with its place; no secrets
    std::vector<std::string> warnings;      ///< worth a log line each; no secrets
};

load_result load(const load_sources& sources);

/// One setting whose value is another one now. Secrets are `***`.
struct setting_change {
    std::string key;
    std::string from;
    std::string to;
    reload_class takes_effect;
};

struct reload_result {
    load_result loaded;                   ///< what needs a restart is in `value` as it was
    std::vector<setting_change> changed;  ///< in `value`
    std::vector<setting_change> waiting;  ///< for a restart
};

/// Loads again while the process runs with `present`.
reload_result reload(const load_sources& sources, const settings& present);
/// SET on the console: `present` with other values for these keys. Nothing is read again; `sources` are for
/// the words of errors.
reload_result change(
    const settings& present, const std::map<std::string, std::string>& orders, const load_sources& sources
);

}  // namespace pgmend::config
