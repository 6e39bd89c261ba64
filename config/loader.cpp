#include "config/loader.hpp"

#include <pg_config_manual.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <system_error>

#include "config/libpq_files.hpp"
#include "config/validation.hpp"

namespace pgmend::config {

namespace {

constexpr std::string_view prefix = "PGMEND_";
constexpr std::string_view order = "SET ";
constexpr std::size_t longest_line = 1000;

/// Where one setting's value stands: enough to begin an error line with.
struct origin {
    std::string variable;  ///< empty for the file
    position at;           ///< in the file
};

std::string as_text(const std::string& key) { return key.empty() ? "" : "key '" + key + "': "; }

/// Kubernetes gives every container variables named after each service; a service called pgmend or
/// pgmend-pool makes these look like ours.
bool is_service_variable(std::string_view name) {
    if (name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.ends_with("_PORT"))
        return true;
    return name.find("_SERVICE_PORT_") != name.npos || name.find("_TCP") != name.npos;
}

class settings_loader {
public:
    explicit settings_loader(const load_sources& sources)
        : sources_(sources), candidate_(std::make_shared<settings>()) {}

    load_result run() {
        read_all();
        if (result_.errors.empty()) check();
        if (result_.errors.empty()) result_.value = candidate_;
        return std::move(result_);
    }

    reload_result run_again(const settings& present) {
        reload_result result;
        read_all();
        compare(present, result);
        return finish(std::move(result));
    }

    reload_result run_orders(const settings& present, const std::map<std::string, std::string>& orders) {
        reload_result result;
        const auto& all = candidate_->all();
        for (std::size_t i = 0; i < all.size(); ++i)
            all[i]->take(*present.all()[i]);
        for (const auto& [key, text] : orders) {
            const std::string name = std::string(order) + key;
            if (setting_base* found = candidate_->find(key)) {
                apply_value({found, nullptr, name, text}, value_source::console);
            } else {
                unknown({name, {}}, key);
            }
        }
        compare(present, result);
        return finish(std::move(result));
    }

private:
    /// A value that has been found and waits for its turn.
    struct assignment {
        setting_base* target;
        const document_node* node;  ///< in the file's tree, or null
        std::string variable;       ///< else from this variable
        std::string text;
    };

    void fail(const origin& from, const std::string& text) {
        std::string line;
        if (from.variable.starts_with(order)) {
            line = from.variable + ": ";
        } else if (!from.variable.empty()) {
            line = "environment: " + from.variable + ": ";
        } else {
            line = sources_.file ? sources_.file->string() : std::string("configuration");
            if (from.at.line != 0)
                line += ":" + std::to_string(from.at.line) + ":" + std::to_string(from.at.column);
            line += ": ";
        }
        // One error is one line, whatever a value contains.
        for (const char each : text)
            line += static_cast<unsigned char>(each) < ' ' ? '?' : each;
        if (line.size() > longest_line) line.replace(longest_line, line.npos, "...");
        result_.errors.push_back(std::move(line));
    }

    document_node read_file() {
        if (!sources_.file) return {};
        errno = 0;
        std::ifstream stream(*sources_.file, std::ios::binary);
        std::string text;
        const document_limits limits;
        if (stream) {
            // One byte more than allowed, so that the limit is noticed without reading all of a large file.
            text.resize(limits.bytes + 1);
            stream.read(text.data(), static_cast<std::streamsize>(text.size()));
            text.resize(static_cast<std::size_t>(stream.gcount()));
        }
        if (!stream.eof() && text.size() <= limits.bytes) {
            fail({}, std::string("cannot be read: ") + std::generic_category().message(errno ? errno : EIO));
            return {};
        }
        problems found;
        document_node root = parse_document(text, found, limits);
        for (const problem& each : found)
            fail({{}, each.at}, as_text(each.key) + each.text);
        if (!found.empty()) return {};
        if (root.kind != node_kind::mapping && root.kind != node_kind::null) {
            fail({{}, root.at}, "must be a mapping of settings");
            return {};
        }
        return root;
    }

    void unknown(const origin& from, const std::string& key) {
        const std::string meant = candidate_->nearest(key);
        fail(from, as_text(key) + "unknown" + (meant.empty() ? "" : "; did you mean '" + meant + "'?"));
    }

    void collect(const document_node& mapping, const std::string& parent) {
        for (const document_member& member : mapping.members) {
            const std::string key = parent.empty() ? member.key : parent + "." + member.key;
            if (setting_base* found = candidate_->find(key)) {
                file_values_.push_back({found, &member.value, {}, {}});
            } else if (!candidate_->is_section(key)) {
                unknown({{}, member.at}, key);
            } else if (member.value.kind == node_kind::mapping) {
                collect(member.value, key);
            } else if (member.value.kind != node_kind::null) {
                fail({{}, member.value.at}, as_text(key) + "must be a mapping of settings");
            }
        }
    }

    void collect_environment() {
        std::set<std::string> known;
        for (setting_base* each : candidate_->all()) {
            const std::string name = each->environment_name();
            known.insert(name);
            const auto found = sources_.environment.find(name);
            // Compose files hand down variables that are empty when they were not set outside.
            if (found == sources_.environment.end() || found->second.empty()) continue;
            environment_values_.push_back({each, nullptr, name, found->second});
        }
        for (const auto& [name, value] : sources_.environment) {
            if (name.starts_with(prefix) && !known.contains(name)) unknown_variable(name);
        }
    }

    /// An error inside a known section. Elsewhere only a remark: the name may belong to somebody else.
    void unknown_variable(const std::string& name) {
        if (is_service_variable(name)) return;
        bool in_section = false;
        for (const setting_base* each : candidate_->all()) {
            const std::string key(each->key());
            const std::string section = each->environment_name().substr(0, prefix.size() + key.find('.') + 1);
            if (key.find('.') != key.npos && name.starts_with(section)) in_section = true;
        }
        std::string key = name.substr(prefix.size());
        std::ranges::transform(key, key.begin(), [](char each) {
            return each >= 'A' && each <= 'Z' ? static_cast<char>(each - 'A' + 'a') : each;
        });
        const setting_base* meant = nearest_variable(key);
        const std::string text =
            "unknown" + (meant ? "; did you mean '" + meant->environment_name() + "'?" : std::string());
        if (in_section) {
            fail({name, {}}, text);
        } else {
            result_.warnings.push_back("environment: " + name + ": " + text);
        }
    }

    /// The name lost its dots, so every setting is tried with its dots lost as well.
    const setting_base* nearest_variable(const std::string& key) const {
        for (std::size_t dot = 0; dot < key.size(); ++dot) {
            if (key[dot] != '_') continue;
            std::string dotted = key;
            dotted[dot] = '.';
            if (const setting_base* found = candidate_->find(candidate_->nearest(dotted))) return found;
        }
        return candidate_->find(candidate_->nearest(key));
    }

    void apply() {
        const assignment* file_url = url_in(file_values_);
        const assignment* environment_url = url_in(environment_values_);
        const auto database_url = sources_.environment.find("DATABASE_URL");
        if (environment_url == nullptr && file_url == nullptr && database_url != sources_.environment.end() &&
            !database_url->second.empty())
            apply_url(database_url->second, value_source::database_url, {"DATABASE_URL", {}}, "");
        if (environment_url == nullptr && file_url != nullptr && file_url->node->kind == node_kind::scalar)
            apply_url(file_url->node->text, value_source::file, {{}, file_url->node->at}, "upstream.url");
        for (const assignment& each : file_values_)
            apply_value(each, value_source::file);
        if (environment_url != nullptr)
            apply_url(environment_url->text, value_source::environment, {environment_url->variable, {}}, "");
        for (const assignment& each : environment_values_)
            apply_value(each, value_source::environment);
    }

    const assignment* url_in(const std::vector<assignment>& values) const {
        const setting_base* url = &candidate_->upstream.url;
        const auto found = std::ranges::find(values, url, &assignment::target);
        return found == values.end() ? nullptr : &*found;
    }

    void apply_value(const assignment& value, value_source source) {
        problems found;
        origin from{value.variable, {}};
        if (value.node != nullptr) {
            from.at = value.node->at;
            value.target->read(*value.node, source, found);
        } else if (value.target->structured()) {
            const document_node node = parse_document(value.text, found);
            if (found.empty()) value.target->read(node, source, found);
        } else {
            value.target->read(document_node{node_kind::scalar, {}, value.text, {}, {}}, source, found);
        }
        for (const problem& each : found) {
            // The variable says the key already, except for one element of a list.
            const bool repeated = !from.variable.empty() && each.key == value.target->key();
            fail({from.variable, each.at}, repeated ? each.text : as_text(each.key) + each.text);
        }
        origins_[std::string(value.target->key())] = from;
    }

    void apply_url(const std::string& text, value_source source, const origin& from, const std::string& key) {
        const connection_target target = parse_connection_url(text, [this](const std::string& name) {
            const auto found = sources_.environment.find(name);
            return found == sources_.environment.end() ? std::nullopt : std::optional(found->second);
        });
        for (const std::string& each : target.problems)
            fail(from, as_text(key) + each);
        const std::string name = from.variable.empty() ? key : from.variable;
        for (const std::string& each : target.warnings)
            result_.warnings.push_back(name + ": " + each);
        candidate_->upstream.url.set(connection_string{text}, source);
        if (!target.servers.empty()) candidate_->upstream.servers.set(target.servers, source);
        origins_["upstream.servers"] = from;
        for (const url_value& each : target.values) {
            problems found;
            setting_base* setting = candidate_->find(each.key);
            setting->read(document_node{node_kind::scalar, {}, each.text, {}, {}}, source, found);
            for (const problem& wrong : found)
                fail(from, as_text(key) + each.parameter + " " + wrong.text);
            origins_[each.key] = from;
        }
    }

    void read_all() {
        document_ = read_file();
        collect(document_, "");
        collect_environment();
        apply();
        if (result_.errors.empty()) complete();
    }

    /// What has changed. What cannot change now stays as it is, and what is checked is what will hold.
    void compare(const settings& present, reload_result& result) {
        const auto& all = candidate_->all();
        for (std::size_t i = 0; i < all.size() && result_.errors.empty(); ++i) {
            const setting_base& before = *present.all()[i];
            setting_base& after = *all[i];
            if (after.same_value(before)) continue;
            setting_change change{std::string(after.key()), before.shown(), after.shown(), after.reload()};
            if (after.reload() == reload_class::restart) {
                after.take(before);
                result.waiting.push_back(std::move(change));
            } else {
                result.changed.push_back(std::move(change));
            }
        }
    }

    reload_result finish(reload_result result) {
        if (result_.errors.empty()) check();
        if (result_.errors.empty()) result_.value = candidate_;
        result.loaded = std::move(result_);
        return result;
    }

    void complete() {
        auto& upstream = candidate_->upstream;
        // As libpq does: the user of the operating system, and a database of the same name.
        if (upstream.user().empty()) upstream.user.set(sources_.os_user);
        if (upstream.database().empty()) upstream.database.set(upstream.user());
        auto& query = candidate_->auth.query;
        if (query.database().empty()) query.database.set(upstream.database());
        read_passfile();
        auto& tls = candidate_->listen.tls;
        if (tls.mode.source() == value_source::built_in && !tls.cert().empty() && !tls.key().empty())
            tls.mode.set(client_tls_mode::prefer);
    }

    void check() {
        problems found;
        validate(*candidate_, found);
        for (const problem& each : found) {
            const auto place = origins_.find(each.key);
            fail(place == origins_.end() ? origin{} : place->second, as_text(each.key) + each.text);
        }
        for (std::string& each : doubts(*candidate_))
            result_.warnings.push_back(std::move(each));
    }

    std::string variable(const std::string& name) const {
        const auto found = sources_.environment.find(name);
        return found == sources_.environment.end() ? std::string() : found->second;
    }

    /// The password of last resort, as in libpq.
    void read_passfile() {
        auto& upstream = candidate_->upstream;
        if (!upstream.password().empty() || !upstream.password_file().empty()) return;
        std::string path = upstream.passfile();
        if (path.empty()) path = variable("PGPASSFILE");
        if (path.empty() && !variable("HOME").empty()) path = variable("HOME") + "/.pgpass";
        if (path.empty()) return;
        const auto text = read_small_file(path);
        if (!text.value) {
            if (!upstream.passfile().empty()) result_.warnings.push_back("upstream.passfile " + text.problem);
            return;
        }
        if (is_open_to_others(path)) {
            result_.warnings.push_back(
                "password file '" + path + "' is left alone: others may read it; permissions should be 0600"
            );
            return;
        }
        // Of servers that are not known yet only lines with a '*' can speak.
        const server_address server =
            upstream.servers().empty() ? server_address{} : upstream.servers().front();
        std::string host = server.host.empty() ? server.address : server.host;
        if (host == DEFAULT_PGSOCKET_DIR) host = "localhost";
        if (auto found = find_password(*text.value, host, server.port, upstream.database(), upstream.user()))
            upstream.password.set(std::move(*found), value_source::file);
    }

    const load_sources& sources_;
    std::shared_ptr<settings> candidate_;
    load_result result_;
    std::vector<assignment> file_values_;
    std::vector<assignment> environment_values_;
    document_node document_;
    std::map<std::string, origin> origins_;  ///< by key; where the effective value stands
};

}  // namespace

load_sources process_sources(std::optional<std::filesystem::path> file) {
    load_sources sources;
    sources.file = std::move(file);
    for (char** each = environ; *each != nullptr; ++each) {
        const std::string_view entry = *each;
        const std::size_t equals = entry.find('=');
        if (equals != entry.npos)
            sources.environment.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    }
    if (const passwd* self = getpwuid(geteuid())) sources.os_user = self->pw_name;
    return sources;
}

load_result load(const load_sources& sources) { return settings_loader(sources).run(); }

reload_result reload(const load_sources& sources, const settings& present) {
    return settings_loader(sources).run_again(present);
}

reload_result change(
    const settings& present, const std::map<std::string, std::string>& orders, const load_sources& sources
) {
    return settings_loader(sources).run_orders(present, orders);
}

}  // namespace pgmend::config
