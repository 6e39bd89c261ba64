#include "config/connection_url.hpp"

#include <libpq-fe.h>
#include <pg_config_manual.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>

#include "config/connection_parameters.hpp"
#include "config/connection_text.hpp"
#include "config/libpq_files.hpp"

namespace pgmend::config {

namespace {

struct free_options {
    void operator()(PQconninfoOption* options) const noexcept { PQconninfoFree(options); }
};

/// libpq quotes what it did not understand, which may be a piece of a password.
std::string without_quotes(std::string text) {
    const std::size_t first = text.find('"');
    if (first != text.npos) text.replace(first, text.rfind('"') - first + 1, "***");
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

/// A value for `options`: blanks and backslashes end a word there unless escaped.
std::string option_of(std::string_view name, std::string_view value) {
    std::string text = "-c " + std::string(name) + "=";
    for (const char each : value) {
        if (each == ' ' || each == '\t' || each == '\\') text += '\\';
        text += each;
    }
    return text;
}

std::string_view from_jdbc(std::string_view server_type) {
    if (server_type == "master") return "primary";
    if (server_type == "secondary" || server_type == "slave") return "standby";
    if (server_type == "preferSecondary" || server_type == "preferSlave") return "prefer-standby";
    if (server_type == "preferPrimary") return "any";
    return server_type;
}

std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> parts;
    for (std::size_t comma = list.find(','); comma != list.npos; comma = list.find(',')) {
        parts.emplace_back(list.substr(0, comma));
        list.remove_prefix(comma + 1);
    }
    parts.emplace_back(list);
    return parts;
}

/// One parse: takes the string apart, lets libpq judge it, and turns the result into settings.
class url_reader {
public:
    explicit url_reader(const environment_lookup& environment) : environment_(environment) {}

    connection_target read(std::string_view text) {
        auto parts = split_connection_text(text);
        if (!parts.value) {
            target_.problems.push_back(std::move(parts.problem));
        } else {
            sort_out(*parts.value);
            if (ask_libpq(join_connection_text(*parts.value))) translate();
        }
        if (!target_.problems.empty()) target_.values.clear(), target_.servers.clear();
        return std::move(target_);
    }

private:
    struct given {
        std::string parameter;
        std::string text;
    };

    /// Leaves in `parts` what libpq may see; all else is remembered under its meaning or warned about.
    void sort_out(connection_text& parts) {
        std::vector<connection_parameter> kept;
        bool after_password = false;
        for (connection_parameter& each : parts.parameters) {
            // Without a '=', or behind a password with an unescaped '&' or blank, it may be a piece of a
            // secret.
            const bool doubtful = !each.complete || after_password;
            after_password = each.name == "password";
            parameter_verdict verdict = judge_parameter(each.name, each.value);
            if (verdict.use == parameter_use::unknown && doubtful) verdict = judge_parameter({}, {});
            switch (verdict.use) {
                case parameter_use::libpq:
                    kept.push_back(std::move(each));
                    break;
                case parameter_use::alias:
                    // JDBC takes the bare word for `ssl=true`.
                    if (each.name == "ssl" && each.value.empty()) each.value = "true";
                    mapped_[verdict.meaning] = {each.name, each.value};
                    break;
                case parameter_use::inert:
                case parameter_use::unknown:
                    warn(std::move(verdict.meaning));
                    break;
                case parameter_use::silent:
                    break;
            }
        }
        parts.parameters = std::move(kept);
    }

    void warn(std::string text) {
        if (std::ranges::find(target_.warnings, text) == target_.warnings.end())
            target_.warnings.push_back(std::move(text));
    }

    bool ask_libpq(const std::string& text) {
        char* message = nullptr;
        const std::unique_ptr<PQconninfoOption, free_options> options(PQconninfoParse(text.c_str(), &message)
        );
        if (!options) {
            target_.problems.push_back(
                message == nullptr ? "could not be parsed: out of memory" : without_quotes(message)
            );
            PQfreemem(message);
            return false;
        }
        const service served = read_service(options.get());
        for (const PQconninfoOption* each = options.get(); each->keyword != nullptr; ++each) {
            const std::string name = each->keyword;
            if (judge_parameter(name, {}).use != parameter_use::libpq) continue;
            choose(name, each->val, each->envvar == nullptr ? "" : each->envvar, served);
        }
        // These two are younger than the libpq at hand.
        choose("sslnegotiation", nullptr, "PGSSLNEGOTIATION", served);
        choose("require_auth", nullptr, "PGREQUIREAUTH", served);
        return true;
    }

    using service = std::map<std::string, std::string>;

    /// The value of one parameter: as given, else as its service says, else from the environment.
    void choose(
        const std::string& name, const char* value, const std::string& variable, const service& served
    ) {
        if (value != nullptr) {
            values_[name] = {name, value};
        } else if (const auto mapped = mapped_.find(name); mapped != mapped_.end()) {
            values_[name] = mapped->second;
        } else if (const auto found = served.find(name); found != served.end()) {
            values_[name] = {name, found->second};
        } else if (!variable.empty()) {
            if (auto set = environment_(variable)) values_[name] = {variable, std::move(*set)};
        }
    }

    /// What the service that is named says, from the files libpq would look into.
    service read_service(const PQconninfoOption* options) {
        std::optional<std::string> name;
        for (const PQconninfoOption* each = options; each->keyword != nullptr; ++each) {
            if (std::string_view(each->keyword) == "service" && each->val != nullptr) name = each->val;
        }
        if (!name) name = environment_("PGSERVICE");
        if (!name || name->empty()) return {};
        std::vector<std::string> paths;
        if (const auto file = environment_("PGSERVICEFILE")) {
            paths.push_back(*file);
        } else if (const auto home = environment_("HOME")) {
            paths.push_back(*home + "/.pg_service.conf");
        }
        const auto shared = environment_("PGSYSCONFDIR");
        paths.push_back((shared ? *shared : "/etc/postgresql-common") + "/pg_service.conf");
        for (const std::string& path : paths) {
            const auto text = read_small_file(path);
            if (!text.value) continue;
            if (auto found = find_service(*text.value, *name)) return std::move(*found);
        }
        target_.problems.push_back("names a service that no service file defines");
        return {};
    }

    const given* find(const std::string& name) const {
        const auto found = values_.find(name);
        return found == values_.end() || found->second.text.empty() ? nullptr : &found->second;
    }

    std::string text_of(const std::string& name) const {
        const given* value = find(name);
        return value == nullptr ? std::string() : value->text;
    }

    void copy(const std::string& parameter, std::string key) {
        if (const given* value = find(parameter))
            target_.values.push_back({std::move(key), value->parameter, value->text});
    }

    void translate() {
        read_servers();
        copy("dbname", "upstream.database");
        copy("user", "upstream.user");
        copy("password", "upstream.password");
        copy("passfile", "upstream.passfile");
        copy("channel_binding", "upstream.channel_binding");
        copy("require_auth", "upstream.require_auth");
        copy(
            find("application_name") ? "application_name" : "fallback_application_name",
            "upstream.application_name"
        );
        read_tls();
        read_timeout();
        read_options();
        if (const given* wanted = find("target_session_attrs")) {
            target_.values.push_back(
                {"upstream.target_session_attrs", wanted->parameter, std::string(from_jdbc(wanted->text))}
            );
        }
    }

    /// As libpq pairs them: as many ports as hosts, or one for all; an empty host is the local socket.
    void read_servers() {
        const auto hosts = split(text_of("host"));
        const auto addresses = split(text_of("hostaddr"));
        const auto ports = split(text_of("port"));
        const std::size_t count = find("hostaddr") != nullptr ? addresses.size() : hosts.size();
        if (find("host") != nullptr && hosts.size() != count) {
            target_.problems.push_back("has a different number of hosts and of host addresses");
            return;
        }
        if (ports.size() != 1 && ports.size() != count) {
            target_.problems.push_back("has a different number of hosts and of ports");
            return;
        }
        for (std::size_t i = 0; i < count; ++i) {
            server_address server;
            if (find("host") != nullptr) server.host = hosts[i];
            if (find("hostaddr") != nullptr) server.address = addresses[i];
            if (server.host.empty() && server.address.empty()) server.host = local_host();
            const std::string& port = ports.size() == 1 ? ports.front() : ports[i];
            if (!port.empty()) {
                const auto number = parse_count(port);
                // The text stays unsaid: an unescaped '/' or ':' makes it a piece of the password.
                if (!number.value || *number.value == 0 || *number.value > 65535) {
                    target_.problems.push_back("has a port that is not 1..65535");
                    return;
                }
                server.port = static_cast<std::uint16_t>(*number.value);
            }
            target_.servers.push_back(std::move(server));
        }
    }

    static std::string local_host() {
        const std::string directory = DEFAULT_PGSOCKET_DIR;
        return directory.empty() ? "localhost" : directory;
    }

    void read_tls() {
        copy("sslcert", "upstream.tls.cert");
        copy("sslkey", "upstream.tls.key");
        copy("sslcrl", "upstream.tls.crl");
        copy("sslnegotiation", "upstream.tls.negotiation");
        copy_version("ssl_min_protocol_version", "upstream.tls.min_version");
        copy_version("ssl_max_protocol_version", "upstream.tls.max_version");
        if (const given* sni = find("sslsni"))
            target_.values.push_back({"upstream.tls.sni", sni->parameter, sni->text == "0" ? "false" : "true"}
            );
        const given* mode = find("sslmode");
        const given* ca = find("sslrootcert");
        std::string word = mode == nullptr ? std::string() : mode->text;
        // JDBC and node-postgres say `ssl=true`, asyncpg puts the words of sslmode there.
        if (word == "true" || word == "1" || word == "no-verify") word = "require";
        if (word == "false" || word == "0") word = "disable";
        // libpq from version 16: trusting the system's authorities is pointless without checking the name.
        if (ca != nullptr && ca->text == "system" && word.empty()) word = "verify-full";
        if (!word.empty())
            target_.values.push_back({"upstream.tls.mode", mode ? mode->parameter : "sslrootcert", word});
        if (ca != nullptr) {
            copy("sslrootcert", "upstream.tls.ca");
        } else if (word.starts_with("verify-")) {
            if (const auto home = environment_("HOME"))
                target_.values.push_back({"upstream.tls.ca", "sslrootcert", *home + "/.postgresql/root.crt"});
        }
    }

    void copy_version(const std::string& parameter, std::string key) {
        const given* value = find(parameter);
        if (value == nullptr) return;
        // These two are never spoken: as lower bounds they ask for nothing.
        const bool older = value->text == "TLSv1" || value->text == "TLSv1.1";
        if (older && parameter.find("max") != parameter.npos) {
            target_.problems.push_back(parameter + " is a version that is not spoken any more");
            return;
        }
        target_.values.push_back({std::move(key), value->parameter, older ? "any" : value->text});
    }

    /// Whole seconds; libpq takes 0 and less for "no limit", which is not offered here.
    void read_timeout() {
        const given* value = find("connect_timeout");
        if (value == nullptr) return;
        int seconds = 0;
        const char* end = value->text.data() + value->text.size();
        const auto [stopped, error] = std::from_chars(value->text.data(), end, seconds);
        if (error != std::errc{} || stopped != end) {
            target_.problems.push_back(value->parameter + " is not a whole number of seconds");
        } else if (seconds > 0) {
            target_.values.push_back(
                {"upstream.connect_timeout", value->parameter,
                 std::to_string(std::clamp(seconds, 2, 3600)) + "s"}
            );
        } else {
            warn("parameter 'connect_timeout' has no effect: there is always a limit");
        }
    }

    /// `options`, and what has no place of its own but is a server parameter.
    void read_options() {
        std::string text = text_of("options");
        std::string parameter = "options";
        const auto add = [&](const given& value, std::string_view name) {
            if (!text.empty()) text += ' ';
            text += option_of(name, value.text);
            parameter = value.parameter;
        };
        if (const given* encoding = find("client_encoding"); encoding && encoding->text != "auto")
            add(*encoding, "client_encoding");
        if (const auto path = mapped_.find("search_path");
            path != mapped_.end() && !path->second.text.empty())
            add(path->second, "search_path");
        if (!text.empty()) target_.values.push_back({"upstream.options", parameter, text});
    }

    const environment_lookup& environment_;
    connection_target target_;
    std::map<std::string, given> mapped_;  ///< by meaning; wins over nothing that libpq was told
    std::map<std::string, given> values_;  ///< by libpq's keyword
};

}  // namespace

connection_target parse_connection_url(std::string_view text, const environment_lookup& environment) {
    return url_reader(environment).read(text);
}

std::string redact_connection_url(std::string_view text) {
    if (text.empty()) return {};
    const connection_target target =
        parse_connection_url(text, [](const std::string&) { return std::optional<std::string>(); });
    if (!target.problems.empty()) return "***";
    std::string user;
    std::string password;
    std::string database;
    for (const url_value& each : target.values) {
        if (each.key == "upstream.user") user = each.text;
        if (each.key == "upstream.password") password = "***";
        if (each.key == "upstream.database") database = each.text;
    }
    // An '@' here is the sign of a password with an unescaped '/', a '?' of an unescaped '@' among the
    // parameters or of a bracket that was closed behind them: the wrong part would be shown.
    if ((user + database).find_first_of("@?") != std::string::npos) return "***";
    for (const server_address& each : target.servers) {
        // A socket's name may begin with '@'.
        if (each.host.find('?') != std::string::npos || each.host.find('@', 1) != std::string::npos)
            return "***";
    }
    std::string shown = "postgres://" + user + (password.empty() ? "" : ":" + password);
    if (!user.empty() || !password.empty()) shown += '@';
    for (const server_address& each : target.servers)
        shown += (&each == &target.servers.front() ? "" : ",") + print_server(each);
    return shown + (database.empty() ? "" : "/" + database);
}

}  // namespace pgmend::config
