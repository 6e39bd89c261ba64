#include "config/loader.hpp"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "config/reference.hpp"

using namespace pgmend::config;
using namespace std::chrono_literals;

namespace {

using lines = std::vector<std::string>;
using variables = std::map<std::string, std::string>;

/// A directory of its own for the files of one test.
class scratch {
public:
    scratch() {
        std::string name = (std::filesystem::temp_directory_path() / "pgmend-loader-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~scratch() { std::filesystem::remove_all(path_); }
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;

    std::filesystem::path write(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name, std::ios::binary) << text;
        return path_ / name;
    }
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

/// Loads `yaml` with a server known, so that nothing but what the test is about is wrong.
load_result load_with(const std::string& yaml, variables environment) {
    const scratch directory;
    load_result result = load({directory.write("p.yaml", yaml), std::move(environment), "os_user"});
    // Error lines begin with the path; the directory's name is of no interest.
    const std::string prefix = directory / "";
    for (std::string& each : result.errors)
        if (each.starts_with(prefix)) each.erase(0, prefix.size());
    CHECK((result.value == nullptr) == !result.errors.empty());
    return result;
}

load_result load_text(const std::string& yaml, variables environment = {}) {
    environment.emplace("PGMEND_UPSTREAM_SERVERS", "h:1");
    environment.emplace("PGMEND_UPSTREAM_PASSWORD", "pw");
    return load_with(yaml, std::move(environment));
}

lines errors_of(const std::string& yaml, const variables& environment = {}) {
    return load_text(yaml, environment).errors;
}

}  // namespace

TEST_CASE("loader: DATABASE_URL alone is enough", "[config]") {
    const load_result result =
        load({{}, {{"DATABASE_URL", "postgres://app:secret@127.0.0.1:5433/shop"}}, "os"});
    REQUIRE(result.errors.empty());
    CHECK(result.warnings.empty());
    const settings& all = *result.value;
    CHECK(all.listen.host() == "127.0.0.1");
    CHECK(all.listen.port() == 6432);
    CHECK(all.http.port() == 9632);
    CHECK(all.upstream.servers() == server_list{{"127.0.0.1", "", 5433}});
    CHECK(all.upstream.user() == "app");
    CHECK(all.upstream.password() == "secret");
    CHECK(all.upstream.database() == "shop");
    CHECK(all.auth.method() == auth_method::scram_sha_256);
    CHECK(all.upstream.database.source() == value_source::database_url);
    CHECK(all.pool.size.source() == value_source::built_in);
}

TEST_CASE("loader: the file of the README is understood", "[config]") {
    const load_result result = load_with(
        "listen:   {host: 127.0.0.1, port: 6432, unix_socket_dir: \"\"}\n"
        "http:     {host: 127.0.0.1, port: 9632}\n"
        "upstream: {url: postgres://app:secret@127.0.0.1:5432/app}\n"
        "users:    [{name: app, password: secret}, {name: bob, password: \"md5\"}]\n"
        "auth:     {method: scram-sha-256}\n"
        "pool:     {mode: session, size: 8, wait_timeout: 90s}\n"
        "limits:   {held_message: 2MiB}\n"
        "workers:  2\n",
        {}
    );
    REQUIRE(result.errors == lines{});
    const settings& all = *result.value;
    CHECK(all.pool.mode() == pool_mode::session);
    CHECK(all.pool.size() == 8);
    CHECK(all.pool.wait_timeout() == 90s);
    CHECK(all.limits.held_message() == mib(2));
    CHECK(all.workers().threads == 2);
    CHECK(all.users() == user_list{{"app", "secret"}, {"bob", "md5"}});
    CHECK(all.upstream.url.source() == value_source::file);
    CHECK(all.upstream.user.source() == value_source::file);
}

TEST_CASE("loader: an empty file and an empty section mean the defaults", "[config]") {
    for (const char* text : {"", "# nothing\n", "---\n", "pool:\nlisten:\n  tls:\n", "{}", "users: []\n"}) {
        INFO(text);
        const load_result result = load_text(text);
        CHECK(result.errors == lines{});
        CHECK((result.value && result.value->pool.size() == 20));
    }
}

TEST_CASE("loader: the environment wins over the file, and the file over DATABASE_URL", "[config]") {
    const variables environment = {
        {"DATABASE_URL", "postgres://u1:p1@h1:1/d1?application_name=a1"}, {"PGMEND_POOL_SIZE", "30"}};
    const load_result result = load_with(
        "pool: {size: 10, min_size: 5}\nupstream: {database: d2, servers: [\"h2:2\"]}\n", environment
    );
    REQUIRE(result.errors == lines{});
    const settings& all = *result.value;
    CHECK(all.pool.size() == 30);
    CHECK(all.pool.size.source() == value_source::environment);
    CHECK(all.pool.min_size() == 5);
    CHECK(all.pool.min_size.source() == value_source::file);
    CHECK(print_servers(all.upstream.servers()) == "h2:2");
    CHECK(all.upstream.database() == "d2");
    CHECK(all.upstream.user() == "u1");
    CHECK(all.upstream.user.source() == value_source::database_url);
    CHECK(all.upstream.application_name() == "a1");
}

TEST_CASE("loader: of several URLs only the strongest is read", "[config]") {
    variables environment = {{"DATABASE_URL", "postgres://u1:p1@h1/d1?application_name=a1"}};
    const std::string file = "upstream: {url: \"postgres://u2@h2/d2\", database: own}\n";
    const load_result with_file = load_with(file, environment);
    REQUIRE(with_file.value);
    CHECK(with_file.value->upstream.user() == "u2");
    CHECK(with_file.value->upstream.password().empty());
    CHECK(with_file.value->upstream.application_name().empty());
    CHECK(with_file.value->upstream.database() == "own");

    environment["PGMEND_UPSTREAM_URL"] = "postgres://u3@h3/d3";
    const load_result with_variable = load_with(file, environment);
    REQUIRE(with_variable.value);
    CHECK(with_variable.value->upstream.user() == "u3");
    CHECK(with_variable.value->upstream.database() == "d3");
    CHECK(with_variable.value->upstream.url.shown() == "postgres://u3@h3:5432/d3");
    CHECK(with_variable.value->upstream.user.source() == value_source::environment);

    environment["PGMEND_UPSTREAM_DATABASE"] = "d4";
    CHECK(load_with(file, environment).value->upstream.database() == "d4");
}

TEST_CASE("loader: user and database have libpq's defaults", "[config]") {
    const load_result none = load({{}, {{"DATABASE_URL", "postgres://h"}}, "os_user"});
    REQUIRE(none.value);
    CHECK(none.value->upstream.user() == "os_user");
    CHECK(none.value->upstream.database() == "os_user");
    const load_result variable = load({{}, {{"DATABASE_URL", "postgres://h"}, {"PGUSER", "env"}}, "os_user"});
    REQUIRE(variable.value);
    CHECK(variable.value->upstream.user() == "env");
    CHECK(variable.value->upstream.database() == "env");
    CHECK(
        load({{}, {{"DATABASE_URL", "postgres://h"}}, ""}).errors ==
        lines{"configuration: key 'upstream.user': no user is known, and the operating system names none"}
    );
}

TEST_CASE("loader: lists may come from the environment", "[config]") {
    const load_result result = load_text(
        "users: [{name: x, password: y}]\n",
        {{"PGMEND_UPSTREAM_SERVERS", "h1:1, [::1]:2,/tmp"},
         {"PGMEND_USERS", "[{name: app, password: \"SCRAM-SHA-256$4096:c2FsdA==$a:b\"}]"}}
    );
    REQUIRE(result.errors == lines{});
    CHECK(print_servers(result.value->upstream.servers()) == "h1:1, [::1]:2, /tmp:5432");
    CHECK(result.value->users() == user_list{{"app", "SCRAM-SHA-256$4096:c2FsdA==$a:b"}});
    CHECK(errors_of("", {{"PGMEND_UPSTREAM_SERVERS", "[[]:5432"}}).size() == 1);
    CHECK(
        errors_of("", {{"PGMEND_USERS", "app"}}) ==
        lines{"environment: PGMEND_USERS: must be a list of {name: text, password: text}"}
    );
    CHECK(
        errors_of("", {{"PGMEND_USERS", "[{nam: app}]"}}) ==
        lines{
            "environment: PGMEND_USERS: key 'users[0].nam': unknown; known are name, password, password_file"}
    );
    CHECK(
        errors_of("", {{"PGMEND_USERS", "[{name: app"}}) ==
        lines{"environment: PGMEND_USERS: a key must be plain text (is a bracket left open?)"}
    );
}

TEST_CASE("loader: every setting is also a variable, and known to come from it", "[config]") {
    const scratch directory;
    const std::string file = directory.write("file", "");
    // For what has no default.
    const variables samples = {
        {"users", "[{name: app, password: pw}]"},
        {"listen.unix_socket_dir", "/tmp"},
        {"upstream.url", "postgres://u:pw@h/d"},
        {"upstream.servers", "h:1"},
        {"upstream.srv", "_postgresql._tcp.example.com"},
        {"upstream.patroni.urls", "http://h:8008"},
        {"alerts.webhook", "http://h:9000/pgmend"},
        {"upstream.require_auth", "scram-sha-256"},
        {"upstream.options", "-c a=b"},
        {"auth.hba", "['host all all all trust']"},
        {"pool.rules", "[{database: d, session_state: pin}]"},
        {"limits.rules", "[{user: u, clients: 1}]"},
        {"listen.tls.certificates", "[{cert: " + file + ", key: " + file + "}]"},
    };
    const std::set<std::string> files = {
        "listen.tls.cert",    "listen.tls.key",           "listen.tls.ca",
        "listen.tls.crl",     "upstream.tls.ca",          "upstream.tls.cert",
        "upstream.tls.key",   "upstream.tls.crl",         "upstream.passfile",
        "auth.hba_file",      "upstream.password_file",   "auth.ident_file",
        "auth.userlist",      "auth.query.password_file", "health.password_file",
        "upstream.patroni.ca"};
    // What makes no sense alone.
    const std::map<std::string, variables> companions = {
        {"listen.tls.cert", {{"PGMEND_LISTEN_TLS_KEY", file}}},
        {"listen.tls.key", {{"PGMEND_LISTEN_TLS_CERT", file}}},
        {"listen.tls.certificates", {{"PGMEND_LISTEN_TLS_CERT", file}, {"PGMEND_LISTEN_TLS_KEY", file}}},
        {"upstream.tls.cert", {{"PGMEND_UPSTREAM_TLS_KEY", file}}},
        {"listen.tls.crl", {{"PGMEND_LISTEN_TLS_CA", file}}},
        {"upstream.tls.key", {{"PGMEND_UPSTREAM_TLS_CERT", file}}},
        {"upstream.tls.crl", {{"PGMEND_UPSTREAM_TLS_CA", file}}},
    };
    const settings known;
    for (const setting_base* each : known.all()) {
        const std::string key{each->key()};
        INFO(key);
        const auto sample = samples.find(key);
        std::string text = sample == samples.end() ? each->shown_default() : sample->second;
        if (text.empty()) text = files.contains(key) ? file : "text";
        variables environment{{each->environment_name(), text}};
        if (const auto more = companions.find(key); more != companions.end())
            environment.insert(more->second.begin(), more->second.end());
        const load_result result = load_text("", environment);
        CHECK(result.errors == lines{});
        if (result.value == nullptr) continue;
        const auto& all = result.value->all();
        const auto found = std::ranges::find(all, each->key(), &setting_base::key);
        REQUIRE(found != all.end());
        CHECK((*found)->source() == value_source::environment);
        if (sample == samples.end() && !each->secret()) CHECK((*found)->shown() == text);
    }
}

TEST_CASE("loader: each wrong value has its place, its key and what is allowed", "[config]") {
    struct row {
        const char* yaml;
        const char* error;
    };
    const std::vector<row> table = {
        {"pool:\n  size: 0\n",
         "p.yaml:2:9: key 'pool.size': '0' is out of range; allowed: a whole number 1..100000"},
        {"pool: {size: many}\n",
         "p.yaml:1:14: key 'pool.size': 'many' is not a whole number; allowed: a whole number 1..100000"},
        {"pool: {size: -1}\n",
         "p.yaml:1:14: key 'pool.size': '-1' is not a whole number; allowed: a whole number 1..100000"},
        {"pool:\n  wait_timeout: 120\n",
         "p.yaml:2:17: key 'pool.wait_timeout': '120' needs a unit: ms, s, min, h, d; allowed: a duration "
         "1ms..1d"},
        {"limits:\n  held_message: 1MB\n",
         "p.yaml:2:17: key 'limits.held_message': '1MB' has an unknown unit; known are B, KiB, MiB, GiB; "
         "allowed: a size 16KiB..1GiB"},
        {"pool: {mode: statement}\n",
         "p.yaml:1:14: key 'pool.mode': 'statement' is not known; allowed: one of transaction, session"},
        {"auth: {method: peer}\n",
         "p.yaml:1:16: key 'auth.method': 'peer' is not known; allowed: one of trust, password, md5, "
         "scram-sha-256, cert, reject"},
        {"listen: {unix_socket_mode: 0999}\n",
         "p.yaml:1:28: key 'listen.unix_socket_mode': '0999' is not an octal number; allowed: octal "
         "permission bits "
         "such as 0770"},
        {"listen:\n  port:\n",
         "p.yaml:2:3: key 'listen.port': has no value; allowed: a whole number 0..65535"},
        {"listen: {host: ~}\n", "p.yaml:1:10: key 'listen.host': has no value; allowed: text"},
        {"listen: {host: [a]}\n",
         "p.yaml:1:16: key 'listen.host': must be a single value, not a list or a mapping; allowed: text"},
        {"workers: {a: 1}\n",
         "p.yaml:1:10: key 'workers': must be a single value, not a list or a mapping; allowed: "
         "auto, or a whole number 1..64"},
        {"upstream:\n  password: \"a\\0b\"\n",
         "p.yaml:2:13: key 'upstream.password': *** contains a NUL character; allowed: text"},
        {"pool: 3\n", "p.yaml:1:7: key 'pool': must be a mapping of settings"},
        {"pool: [1]\n", "p.yaml:1:7: key 'pool': must be a mapping of settings"},
        {"- pool\n", "p.yaml:1:1: must be a mapping of settings"},
        {"text\n", "p.yaml:1:1: must be a mapping of settings"},
        {"upstream: {servers: [\"h:0\"]}\n",
         "p.yaml:1:22: key 'upstream.servers[0]': 'h:0' has a port that is not 1..65535; allowed: host:port, "
         "[v6]:port or /socket/directory:port"},
        {"upstream: {servers: [a, [b]]}\n",
         "p.yaml:1:25: key 'upstream.servers[1]': must be text such as \"host:5432\""},
        {"upstream: {servers: {a: b}}\n", "p.yaml:1:21: key 'upstream.servers': must be a list of host:port"},
        {"users:\n  - {name: app, pasword: hunter2}\n",
         "p.yaml:2:17: key 'users[0].pasword': unknown; known are name, password, password_file"},
        {"users:\n  - {password: hunter2}\n", "p.yaml:2:5: key 'users[0].name': is missing"},
        {"users: [{name: a}, {name: a}]\n", "p.yaml:1:20: key 'users[1].name': 'a' appears twice"},
        {"users: [{name: a, password: [x]}]\n", "p.yaml:1:29: key 'users[0].password': must be text"},
        {"users: [{name: a, password: }]\n", "p.yaml:1:19: key 'users[0].password': has no value"},
        {"users: [a]\n", "p.yaml:1:9: key 'users[0]': must be a mapping {name: text, password: text}"},
        {"upstream: {url: mysql://u:hunter2@h}\n",
         "p.yaml:1:17: key 'upstream.url': begins with neither postgres:// nor postgresql://"},
        {"upstream:\n  url: postgres://h/d?sslmode=maybe\n",
         "p.yaml:2:8: key 'upstream.url': sslmode 'maybe' is not known; allowed: one of disable, allow, "
         "prefer, "
         "require, verify-ca, verify-full"},
    };
    for (const row& each : table) {
        INFO(each.yaml);
        CHECK(errors_of(each.yaml) == lines{each.error});
    }
}

TEST_CASE("loader: unknown keys are errors that name their neighbour", "[config]") {
    CHECK(
        errors_of("pool:\n  sise: 3\n") ==
        lines{"p.yaml:2:3: key 'pool.sise': unknown; did you mean 'pool.size'?"}
    );
    CHECK(errors_of("pol:\n  size: 3\n") == lines{"p.yaml:1:1: key 'pol': unknown; did you mean 'pool'?"});
    CHECK(
        errors_of("wait_timeout: 3s\n") ==
        lines{"p.yaml:1:1: key 'wait_timeout': unknown; did you mean 'pool.wait_timeout'?"}
    );
    CHECK(errors_of("frobnicate: 1\n") == lines{"p.yaml:1:1: key 'frobnicate': unknown"});
    CHECK(
        errors_of("listen: {tls: {mod: prefer}}\n") ==
        lines{"p.yaml:1:16: key 'listen.tls.mod': unknown; did you mean 'listen.tls.mode'?"}
    );
}

TEST_CASE("loader: documents that are not plain YAML are refused with their place", "[config]") {
    struct row {
        std::string yaml;
        const char* error;
    };
    const std::vector<row> table = {
        {"pool: {size: 1}\npool: {size: 2}\n", "p.yaml:2:1: key 'pool': appears twice, first in line 1"},
        {"pool:\n  size: 1\n  size: 2\n", "p.yaml:3:3: key 'pool.size': appears twice, first in line 2"},
        {"pool: &a {size: 1}\n", "p.yaml:1:7: anchors are not supported: write the value out"},
        {"pool: *a\n", "p.yaml:1:7: not valid YAML: the referenced anchor is not defined"},
        {"workers: !!int 3\n", "p.yaml:1:10: tags are not supported"},
        {"workers: 3\n---\nworkers: 4\n", "p.yaml:3:1: a second document is not supported"},
        {"? [a]\n: 1\n", "p.yaml:1:3: a key must be plain text (is a bracket left open?)"},
        {"? {a: b}\n: 1\n", "p.yaml:1:3: a key must be plain text (is a bracket left open?)"},
        {"pool: {size: 1\n", "p.yaml:2:1: not valid YAML: end of map flow not found"},
        {"pool:\n\tsize: 1\n", "p.yaml:2:6: not valid YAML: illegal map value"},
        {"upstream:\n  password: \"hunter2\nworkers: 3\n", "p.yaml:2:13: the quote is never closed"},
        {"a: " + std::string(20, '[') + std::string(20, ']'),
         "p.yaml:1:19: the document is nested deeper than 16 levels"},
        {"a: [" + std::string(120'000, ',') + "]\n",
         "p.yaml:1:50002: the document has more than 50000 values"},
        {"#" + std::string(1 << 20, 'x'), "p.yaml: the document is larger than 1048576 bytes"},
    };
    for (const row& each : table) {
        INFO(each.yaml.substr(0, 60));
        const lines errors = errors_of(each.yaml);
        REQUIRE(errors.size() == 1);
        CHECK(errors[0] == each.error);
    }
    std::string many = "a: [";
    for (int i = 0; i < 60'000; ++i)
        many += "1,";
    CHECK(errors_of(many + "1]\n") == lines{"p.yaml:1:99999: the document has more than 50000 values"});
}

TEST_CASE("loader: all errors are reported, one a line, and there is no snapshot", "[config]") {
    const load_result result = load_text(
        "pool: {size: 0, sise: 1}\nwrokers: 1\nlog:\n  level: loud\n",
        {{"PGMEND_POOL_MODE", "none"}, {"PGMEND_LISTEN_PORT", "70000"}}
    );
    CHECK(result.value == nullptr);
    CHECK(
        result.errors ==
        lines{
            "p.yaml:1:17: key 'pool.sise': unknown; did you mean 'pool.size'?",
            "p.yaml:2:1: key 'wrokers': unknown; did you mean 'workers'?",
            "p.yaml:1:14: key 'pool.size': '0' is out of range; allowed: a whole number 1..100000",
            "p.yaml:4:10: key 'log.level': 'loud' is not known; allowed: one of debug, info, warning, error",
            "environment: PGMEND_LISTEN_PORT: '70000' is out of range; allowed: a whole number 0..65535",
            "environment: PGMEND_POOL_MODE: 'none' is not known; allowed: one of transaction, session"}
    );
}

TEST_CASE("loader: an error stays one short line whatever a value contains", "[config]") {
    const lines errors = errors_of("pool: {size: \"1\\n2\\e[31m" + std::string(5000, 'x') + "\"}\n");
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].size() < 1100);
    CHECK(errors[0].find_first_of("\n\x1b") == std::string::npos);
}

TEST_CASE("loader: a file that cannot be read is an error", "[config]") {
    const scratch directory;
    const std::string missing = directory / "none.yaml";
    CHECK(
        load({missing, {{"DATABASE_URL", "postgres://h"}}, "u"}).errors ==
        lines{missing + ": cannot be read: No such file or directory"}
    );
    const std::string folder = directory / "";
    CHECK(
        load({folder, {{"DATABASE_URL", "postgres://h"}}, "u"}).errors ==
        lines{folder + ": cannot be read: Is a directory"}
    );
}

TEST_CASE("loader: unknown variables are errors in our sections and remarks elsewhere", "[config]") {
    CHECK(
        errors_of("", {{"PGMEND_POOL_SIZ", "3"}}) ==
        lines{"environment: PGMEND_POOL_SIZ: unknown; did you mean 'PGMEND_POOL_SIZE'?"}
    );
    CHECK(
        errors_of("", {{"PGMEND_UPSTREAM_TLS_MOD", "3"}}) ==
        lines{"environment: PGMEND_UPSTREAM_TLS_MOD: unknown; did you mean 'PGMEND_UPSTREAM_TLS_MODE'?"}
    );
    const load_result other = load_text("", {{"PGMEND_WORKER", "3"}, {"PGMEND_TEAM", "blue"}});
    CHECK(other.errors == lines{});
    CHECK(
        other.warnings ==
        lines{
            "environment: PGMEND_TEAM: unknown",
            "environment: PGMEND_WORKER: unknown; did you mean 'PGMEND_WORKERS'?"}
    );
    // What Kubernetes sets in every container beside a service called pgmend-pool.
    const load_result service = load_text(
        "", {{"PGMEND_POOL_SERVICE_HOST", "10.0.0.1"},
             {"PGMEND_POOL_SERVICE_PORT_PG", "6432"},
             {"PGMEND_POOL_PORT", "tcp://10.0.0.1:6432"},
             {"PGMEND_POOL_PORT_6432_TCP_ADDR", "10.0.0.1"}}
    );
    CHECK(service.errors == lines{});
    CHECK(service.warnings == lines{});
}

TEST_CASE("loader: an empty variable counts as not set", "[config]") {
    const load_result result = load_text(
        "pool: {size: 7}\n", {{"PGMEND_POOL_SIZE", ""}, {"PGMEND_USERS", ""}, {"DATABASE_URL", ""}}
    );
    REQUIRE(result.errors == lines{});
    CHECK(result.value->pool.size() == 7);
}

TEST_CASE("loader: rules between settings are reported where the value stands", "[config]") {
    CHECK(
        errors_of("pool: {size: 3, min_size: 4}\n") ==
        lines{"p.yaml:1:27: key 'pool.min_size': 4 is more than pool.size, which is 3"}
    );
    CHECK(
        errors_of("", {{"PGMEND_POOL_MIN_SIZE", "21"}}) ==
        lines{
            "environment: PGMEND_POOL_MIN_SIZE: key 'pool.min_size': 21 is more than pool.size, which is 20"}
    );
    CHECK(
        errors_of("pool:\n  retry_delay_min: 6s\n") ==
        lines{"p.yaml:2:20: key 'pool.retry_delay_min': 6s is more than pool.retry_delay_max, which is 5s"}
    );
    CHECK(
        errors_of("retry:\n  delay_min: 1s\n") ==
        lines{"p.yaml:2:14: key 'retry.delay_min': 1s is more than retry.delay_max, which is 500ms"}
    );
    CHECK(
        errors_of("breaker:\n  cooldown: 6min\n") ==
        lines{"p.yaml:2:13: key 'breaker.cooldown': 6min is more than breaker.cooldown_max, which is 5min"}
    );
    CHECK(
        errors_of("listen: {host: \"\"}\n") ==
        lines{"p.yaml:1:16: key 'listen.host': may only be empty when 'listen.unix_socket_dir' is given"}
    );
    CHECK(errors_of("listen: {host: \"\", unix_socket_dir: /tmp}\n") == lines{});
    CHECK(
        load_with("", {}).errors ==
        lines{"p.yaml: key 'upstream.servers': no server is known: give DATABASE_URL, upstream.url or "
              "upstream.servers"}
    );
    CHECK(
        errors_of("users:\n  - {name: a, password: md50123456789abcdef0123456789abcdef}\n") ==
        lines{
            "p.yaml:2:3: key 'users': 'a' has an md5 hash, with which auth.method scram-sha-256 cannot work"}
    );
}

TEST_CASE("loader: a server that is pgmend itself is refused", "[config]") {
    const auto loop = [](const char* url, const char* listen) {
        return load_with(std::string("listen: ") + listen + "\n", {{"DATABASE_URL", url}}).errors;
    };
    CHECK(loop("postgres://u:p@localhost:6432/d", "{host: 127.0.0.1}") == lines{});
    CHECK(
        loop("postgres://u:p@127.0.0.1:6432/d", "{host: 127.0.0.1}") ==
        lines{"environment: DATABASE_URL: key 'upstream.servers': '127.0.0.1:6432' is where pgmend itself "
              "listens"}
    );
    CHECK(loop("postgres://u:p@localhost:6432/d", "{host: 0.0.0.0}").size() == 1);
    CHECK(loop("postgres://u:p@h,127.0.0.1:5432/d", "{port: 5432}").size() == 1);
    CHECK(loop("postgres://u:p@%2Ftmp:6432/d", "{unix_socket_dir: /tmp}").size() == 1);
    CHECK(loop("postgres://u:p@127.0.0.1:5432/d", "{}") == lines{});
    CHECK(loop("postgres://u:p@db:6432/d", "{}") == lines{});
}

TEST_CASE("loader: certificates must be complete and readable", "[config]") {
    const scratch directory;
    const std::string cert = directory.write("cert.pem", "x").string();
    const std::string key = directory.write("key.pem", "x").string();
    const load_result both = load_text("listen: {tls: {cert: " + cert + ", key: " + key + "}}\n");
    REQUIRE(both.errors == lines{});
    CHECK(both.value->listen.tls.mode() == client_tls_mode::prefer);
    const load_result off =
        load_text("listen: {tls: {mode: disable, cert: " + cert + ", key: " + key + "}}\n");
    REQUIRE(off.value);
    CHECK(off.value->listen.tls.mode() == client_tls_mode::disable);

    CHECK(
        errors_of("listen: {tls: {cert: " + cert + "}}\n") ==
        lines{"p.yaml:1:22: key 'listen.tls.cert': needs 'listen.tls.key' as well"}
    );
    CHECK(
        errors_of("listen: {tls: {mode: require}}\n") ==
        lines{"p.yaml:1:22: key 'listen.tls.mode': 'require' needs 'listen.tls.cert' and 'listen.tls.key'"}
    );
    CHECK(
        errors_of("upstream: {tls: {ca: /nonexistent/ca.pem}}\n") ==
        lines{"p.yaml:1:22: key 'upstream.tls.ca': '/nonexistent/ca.pem' cannot be read"}
    );
    CHECK(errors_of("upstream: {tls: {ca: system, mode: verify-full}}\n") == lines{});
    CHECK(
        errors_of("upstream:\n  tls: {mode: verify-full}\n") ==
        lines{"p.yaml:2:15: key 'upstream.tls.mode': 'verify-full' needs 'upstream.tls.ca': a PEM file, or "
              "system"}
    );
}

TEST_CASE("loader: warnings are passed on, each once", "[config]") {
    const load_result result =
        load({{}, {{"DATABASE_URL", "postgres://h/d?connection_limit=5&pool=3"}}, "u"});
    REQUIRE(result.errors == lines{});
    CHECK(
        result.warnings ==
        lines{
            "DATABASE_URL: parameter 'connection_limit' has no effect: pgmend pools connections, see pool.*",
            "DATABASE_URL: parameter 'pool' has no effect: pgmend pools connections, see pool.*",
            "no user has a password, so nobody can log in with auth.method scram-sha-256"}
    );
    const load_result trusting =
        load({{}, {{"DATABASE_URL", "postgres://h/d"}, {"PGMEND_AUTH_METHOD", "trust"}}, "u"});
    CHECK(trusting.warnings == lines{});
}

TEST_CASE("loader: no error, warning or listing shows a secret", "[config]") {
    const std::string secret = "hunter2";
    const std::vector<std::string> files = {
        "upstream: {url: \"postgres://u:hunter2@h:x/d\"}\n",
        "upstream: {url: \"postgres://u:hunter2%@h/d\"}\n",
        "upstream: {url: \"postgres://u:hunter2@h/d?password=hunter2&frob=1\", password: [hunter2]}\n",
        "upstream: {url: \"postgres://u:hunter2@h/d?frob=1\", password: hunter2}\nusers: [{name: b, "
        "password: hunter2}]\n",
        "upstream: {password: {hunter2: 1}}\n",
        "users: [{name: a, password: hunter2}, {name: a, password: hunter2}]\n",
        "users: [{name: [a], password: hunter2}]\n",
        "users: hunter2\n",
    };
    for (const std::string& each : files) {
        INFO(each);
        const load_result result = load_text(each, {{"DATABASE_URL", "postgres://u:hunter2@h:y/d"}});
        for (const std::string& line : result.errors)
            CHECK(line.find(secret) == std::string::npos);
        for (const std::string& line : result.warnings)
            CHECK(line.find(secret) == std::string::npos);
        if (result.value) CHECK(print_config(*result.value).find(secret) == std::string::npos);
    }
}

TEST_CASE("loader: the process is a source", "[config]") {
    setenv("PGMEND_LOADER_TEST", "yes", 1);
    const load_sources sources = process_sources({});
    unsetenv("PGMEND_LOADER_TEST");
    CHECK(sources.environment.at("PGMEND_LOADER_TEST") == "yes");
    CHECK_FALSE(sources.file);
}

TEST_CASE("loader: a reload keeps what needs a restart, and says what has changed without a secret") {
    const scratch directory;
    const auto file = [&](const std::string& text) {
        return load_sources{
            directory.write("p.yaml", "upstream: {servers: h, user: u}\n" + text), {}, "os_user"};
    };
    const load_result before = load(file("pool: {size: 5}\nusers: [{name: a, password: old}]\n"));
    REQUIRE(before.value);
    const reload_result same =
        reload(file("pool: {size: 5}\nusers: [{name: a, password: old}]\n"), *before.value);
    REQUIRE(same.loaded.value);
    CHECK((same.changed.empty() && same.waiting.empty()));
    const reload_result after = reload(
        file("pool: {size: 6}\nhealth: {interval: 2s}\nusers: [{name: a, password: new}]\n"), *before.value
    );
    REQUIRE(after.loaded.value);
    REQUIRE(after.changed.size() == 2);
    CHECK((after.changed[0].key == "users" && after.changed[0].to.find("new") == std::string::npos));
    CHECK((after.changed[1].key == "pool.size" && after.changed[1].from == "5" && after.changed[1].to == "6")
    );
    REQUIRE(after.waiting.size() == 1);
    CHECK((after.waiting[0].key == "health.interval" && after.waiting[0].to == "2s"));
    CHECK(after.loaded.value->health.interval() == before.value->health.interval());
    CHECK(after.loaded.value->pool.size() == 6);
    // Rules between settings are checked for what will hold together.
    const reload_result refused = reload(file("pool: {size: 5, min_size: 6}\n"), *before.value);
    CHECK(!refused.loaded.value);
    CHECK(refused.loaded.errors.size() == 1);
}

TEST_CASE("loader: an order of the console changes what it says and nothing else") {
    const scratch directory;
    const load_sources sources{
        directory.write("p.yaml", "upstream: {servers: h, user: u}\npool: {size: 5}\n"),
        {{"PGMEND_POOL_SIZE", "6"}},
        "os_user"};
    const load_result loaded = load(sources);
    REQUIRE(loaded.value);
    directory.write("p.yaml", "no: good\n");
    const reload_result told = change(*loaded.value, {{"pool.size", "7"}}, sources);
    REQUIRE(told.loaded.value);
    CHECK(told.loaded.value->pool.size() == 7);
    CHECK(told.loaded.value->pool.size.source() == value_source::console);
    CHECK(told.loaded.value->upstream.user() == "u");
    CHECK(told.changed.size() == 1);
    const reload_result further = change(*told.loaded.value, {{"pool.min_size", "7"}}, sources);
    REQUIRE(further.loaded.value);
    CHECK(further.loaded.value->pool.size() == 7);
    const reload_result wrong = change(*loaded.value, {{"pool.size", "many"}}, sources);
    REQUIRE(wrong.loaded.errors.size() == 1);
    CHECK(wrong.loaded.errors[0].starts_with("SET pool.size: 'many'"));
    CHECK(!change(*loaded.value, {{"pool.min_size", "7"}}, sources).loaded.value);
}
