#include "config/connection_url.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace pgmend::config;

namespace {

using variables = std::map<std::string, std::string>;

connection_target parse(std::string_view text, const variables& environment = {}) {
    return parse_connection_url(text, [&environment](const std::string& name) {
        const auto found = environment.find(name);
        return found == environment.end() ? std::nullopt : std::optional(found->second);
    });
}

/// The value for one setting, or `-` when the URL does not decide it.
std::string value_of(const connection_target& target, std::string_view key) {
    for (const url_value& each : target.values)
        if (each.key == key) return each.text;
    return "-";
}

std::string password_of(std::string_view text) { return value_of(parse(text), "upstream.password"); }
std::string options_of(std::string_view text) { return value_of(parse(text), "upstream.options"); }

}  // namespace

TEST_CASE("connection_url: servers of every form", "[config]") {
    struct row {
        const char* text;
        const char* servers;
    };
    const std::vector<row> table = {
        {"postgres://app@h1/db", "h1:5432"},
        {"postgresql://app@h1:6000/db", "h1:6000"},
        {"postgres://h1:1,h2:2,h3/db", "h1:1, h2:2, h3:5432"},
        {"postgres://[::1]:5433/db", "[::1]:5433"},
        {"postgres://[2001:db8::1],h2:7/db", "[2001:db8::1]:5432, h2:7"},
        {"postgres://%2Fvar%2Flib/db", "/var/lib:5432"},
        {"postgres:///db?host=/tmp&port=6000", "/tmp:6000"},
        {"postgres:///db", "/var/run/postgresql:5432"},
        {"postgres://", "/var/run/postgresql:5432"},
        {"postgres:///db?host=h1,h2&port=7", "h1:7, h2:7"},
        {"host=h1 port=7", "h1:7"},
        {"host=h1,h2 port=7,8 dbname=x", "h1:7, h2:8"},
        {"host='/tmp' user = bob", "/tmp:5432"},
        {"dbname=x", "/var/run/postgresql:5432"},
        {"hostaddr=10.0.0.1 port=7", "10.0.0.1:7"},
        {"  postgres://h1/db\n", "h1:5432"},
        {"postgresql+psycopg://h1/db", "h1:5432"},
        {"postgres+asyncpg://h1/db", "h1:5432"},
        {"jdbc:postgresql://h1:7/db", "h1:7"},
    };
    for (const row& each : table) {
        INFO(each.text);
        const connection_target target = parse(each.text);
        CHECK(target.problems.empty());
        CHECK(print_servers(target.servers) == each.servers);
    }
}

TEST_CASE("connection_url: a host address goes with its name", "[config]") {
    const auto target = parse("host=db.example,db2.example hostaddr=10.0.0.1,10.0.0.2 port=7,8");
    REQUIRE(target.servers.size() == 2);
    CHECK(target.servers[0] == server_address{"db.example", "10.0.0.1", 7});
    CHECK(target.servers[1] == server_address{"db2.example", "10.0.0.2", 8});
}

TEST_CASE("connection_url: user, password and database are decoded", "[config]") {
    const auto target = parse("postgres://a%40b:p%3A%2F%25@h/d%20b");
    CHECK(value_of(target, "upstream.user") == "a@b");
    CHECK(value_of(target, "upstream.password") == "p:/%");
    CHECK(value_of(target, "upstream.database") == "d b");
    CHECK(password_of("postgres://u:a?b=c@h/d") == "a?b=c");
    CHECK(password_of("postgres://h/d?user=u&password=x%26y") == "x&y");
    CHECK(password_of("user=u password='it\\'s \\\\ here'") == "it's \\ here");
    CHECK(password_of("user=u password=a\\ b") == "a b");
    CHECK(password_of("postgres://u@h/d") == "-");
}

TEST_CASE("connection_url: libpq's parameters become settings", "[config]") {
    const auto target = parse(
        "postgres://h/d?sslmode=verify-full&sslrootcert=/ca&sslcert=/crt&sslkey=/key&connect_timeout=10"
        "&application_name=shop&target_session_attrs=read-write&options=-c%20a%3Db"
    );
    CHECK(target.problems.empty());
    CHECK(target.warnings.empty());
    CHECK(value_of(target, "upstream.tls.mode") == "verify-full");
    CHECK(value_of(target, "upstream.tls.ca") == "/ca");
    CHECK(value_of(target, "upstream.tls.cert") == "/crt");
    CHECK(value_of(target, "upstream.tls.key") == "/key");
    CHECK(value_of(target, "upstream.connect_timeout") == "10s");
    CHECK(value_of(target, "upstream.application_name") == "shop");
    CHECK(value_of(target, "upstream.target_session_attrs") == "read-write");
    CHECK(value_of(target, "upstream.options") == "-c a=b");
}

TEST_CASE("connection_url: timeouts are seconds as libpq reads them", "[config]") {
    const auto timeout = [](const char* text) {
        return value_of(
            parse(std::string("postgres://h/d?connect_timeout=") + text), "upstream.connect_timeout"
        );
    };
    CHECK(timeout("1") == "2s");
    CHECK(timeout("30") == "30s");
    CHECK(timeout("100000") == "3600s");
    CHECK(timeout("0") == "-");
    CHECK(parse("postgres://h/d?connect_timeout=0").warnings.size() == 1);
    CHECK(
        parse("postgres://h/d?connect_timeout=5x").problems ==
        std::vector<std::string>{"connect_timeout is not a whole number of seconds"}
    );
}

TEST_CASE("connection_url: TLS follows libpq, also where it is younger than 15", "[config]") {
    const auto mode = [](const char* text, const variables& environment = {}) {
        return value_of(parse(text, environment), "upstream.tls.mode");
    };
    const auto ca = [](const char* text, const variables& environment = {}) {
        return value_of(parse(text, environment), "upstream.tls.ca");
    };
    CHECK(mode("postgres://h/d") == "-");
    CHECK(mode("postgres://h/d?ssl=true") == "require");
    CHECK(mode("postgres://h/d?ssl=false") == "disable");
    CHECK(mode("postgres://h/d?ssl=verify-full") == "verify-full");
    CHECK(mode("postgres://h/d?sslmode=no-verify") == "require");
    CHECK(mode("postgres://h/d?sslrootcert=system") == "verify-full");
    CHECK(ca("postgres://h/d?sslrootcert=system") == "system");
    CHECK(ca("postgres://h/d?sslmode=verify-ca", {{"HOME", "/home/u"}}) == "/home/u/.postgresql/root.crt");
    CHECK(ca("postgres://h/d?sslmode=require", {{"HOME", "/home/u"}}) == "-");
}

TEST_CASE("connection_url: what libpq 15 does not know is taken out and named once", "[config]") {
    const auto target = parse(
        "postgres://u:pw@h/d?sslcertmode=disable&load_balance_hosts=random"
        "&connection_limit=5&connection_limit=6&min_protocol_version=3.2&frobnicate=1&sslmode=require"
    );
    CHECK(target.problems.empty());
    CHECK(value_of(target, "upstream.tls.mode") == "require");
    const std::vector<std::string> expected = {
        "parameter 'sslcertmode' has no effect: see upstream.tls",
        "parameter 'load_balance_hosts' has no effect: servers are tried in the order given",
        "parameter 'connection_limit' has no effect: pgmend pools connections, see pool.*",
        "parameter 'min_protocol_version' has no effect: servers are spoken to in protocol 3.0",
        "parameter 'frobnicate' is not known and has no effect"};
    CHECK(target.warnings == expected);
    CHECK(parse("host=h sslcertmode=require frobnicate='a b' user=u").warnings.size() == 2);
}

TEST_CASE(
    "connection_url: an unknown name is not shown where it may be a piece of the password", "[config]"
) {
    const std::vector<std::string> hidden = {
        "parameter with an unreadable name is not known and has no effect"};
    CHECK(parse("postgres://h/d?user=u&password=a&secret=b").warnings == hidden);
    CHECK(parse("postgres://h/d?passwordsecret").warnings == hidden);
    CHECK(parse("postgres:/u:secret@h/d?a=b").warnings == hidden);
    CHECK(parse("user=u password=a secret=b").warnings == hidden);
}

TEST_CASE("connection_url: values that ask for nothing are not worth a word", "[config]") {
    const auto target = parse(
        "postgres://h/d?sslnegotiation=postgres&load_balance_hosts=disable&channel_binding=prefer"
        "&gssencmode=disable&pgbouncer=true&prepared_statements=false&keepalives=1&prepareThreshold=0"
    );
    CHECK(target.problems.empty());
    CHECK(target.warnings.empty());
}

TEST_CASE("connection_url: what a connection is to be secured by is taken over", "[config]") {
    const auto target = parse(
        "postgres://h/d?sslmode=verify-full&sslrootcert=r&sslcrl=c&sslnegotiation=direct&sslsni=0"
        "&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.3&channel_binding=require"
        "&require_auth=scram-sha-256&passfile=/p"
    );
    CHECK(target.problems.empty());
    CHECK(target.warnings.empty());
    CHECK(value_of(target, "upstream.tls.crl") == "c");
    CHECK(value_of(target, "upstream.tls.negotiation") == "direct");
    CHECK(value_of(target, "upstream.tls.sni") == "false");
    CHECK(value_of(target, "upstream.tls.min_version") == "TLSv1.3");
    CHECK(value_of(target, "upstream.tls.max_version") == "TLSv1.3");
    CHECK(value_of(target, "upstream.channel_binding") == "require");
    CHECK(value_of(target, "upstream.require_auth") == "scram-sha-256");
    CHECK(value_of(target, "upstream.passfile") == "/p");
    CHECK(
        value_of(parse("postgres://h/d?ssl_min_protocol_version=TLSv1"), "upstream.tls.min_version") == "any"
    );
    CHECK(parse("postgres://h/d?ssl_max_protocol_version=TLSv1.1").problems.size() == 1);
    const variables environment{{"PGREQUIREAUTH", "!password"}, {"PGCHANNELBINDING", "disable"}};
    CHECK(value_of(parse("postgres://h/d", environment), "upstream.require_auth") == "!password");
    CHECK(value_of(parse("postgres://h/d", environment), "upstream.channel_binding") == "disable");
}

TEST_CASE("connection_url: a service fills in what the string leaves open", "[config]") {
    std::string folder = (std::filesystem::temp_directory_path() / "pgmend-service-XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    const std::string file = folder + "/services";
    std::ofstream(file
    ) << "# of ours\n[other]\nhost=wrong\n[mine]\nhost=db.example\nport = 6000\nuser=of_service\n"
      << "sslnegotiation=direct\n\n[last]\nhost=wrong\n";
    const variables environment{
        {"PGSERVICEFILE", file}, {"PGUSER", "of_environment"}, {"PGSYSCONFDIR", folder}};
    const auto target = parse("dbname=app service=mine port=7000", environment);
    CHECK(target.problems.empty());
    REQUIRE(target.servers.size() == 1);
    CHECK(target.servers.front().host == "db.example");
    CHECK(target.servers.front().port == 7000);
    CHECK(value_of(target, "upstream.user") == "of_service");
    CHECK(value_of(target, "upstream.tls.negotiation") == "direct");
    CHECK(parse("service=nowhere", environment).problems.size() == 1);
    variables named = environment;
    named["PGSERVICE"] = "mine";
    CHECK(parse("dbname=app", named).servers.front().port == 6000);
    std::filesystem::remove_all(folder);
}

TEST_CASE("connection_url: framework parameters with a meaning are mapped", "[config]") {
    CHECK(options_of("postgres://h/d?schema=app") == "-c search_path=app");
    CHECK(options_of("postgres://h/d?currentSchema=my%20app") == "-c search_path=my\\ app");
    CHECK(
        options_of("postgres://h/d?client_encoding=LATIN1&options=-c%20a%3Db") ==
        "-c a=b -c client_encoding=LATIN1"
    );
    CHECK(options_of("postgres://h/d?client_encoding=auto") == "-");
    CHECK(value_of(parse("postgres://h/d?ApplicationName=shop"), "upstream.application_name") == "shop");
    CHECK(
        value_of(parse("postgres://h/d?ApplicationName=a&application_name=b"), "upstream.application_name") ==
        "b"
    );
    CHECK(value_of(parse("postgres://h/d?fallback_application_name=c"), "upstream.application_name") == "c");
    CHECK(
        value_of(parse("postgres://h/d?targetServerType=preferSecondary"), "upstream.target_session_attrs") ==
        "prefer-standby"
    );
}

TEST_CASE(
    "connection_url: every parameter that a copied URL brings is a setting or one warning", "[config]"
) {
    struct row {
        const char* parameter;
        const char* key;  ///< of the setting it decides; empty: one warning; `-`: it asks for nothing
        const char* value = "";
    };
    // libpq's, up to version 18; then those of Prisma, Rails, JDBC and node-postgres.
    const std::vector<row> table = {
        {"sslmode=require", "upstream.tls.mode", "require"},
        {"sslnegotiation=direct", "upstream.tls.negotiation", "direct"},
        {"sslrootcert=/ca", "upstream.tls.ca", "/ca"},
        {"sslrootcert=system", "upstream.tls.ca", "system"},
        {"sslcert=/crt", "upstream.tls.cert", "/crt"},
        {"sslkey=/key", "upstream.tls.key", "/key"},
        {"sslpassword=pw", ""},
        {"sslcrl=/crl", "upstream.tls.crl", "/crl"},
        {"sslcrldir=/crls", ""},
        {"sslsni=0", "upstream.tls.sni", "false"},
        {"sslcertmode=require", ""},
        {"sslcompression=1", ""},
        {"ssl_min_protocol_version=TLSv1.3", "upstream.tls.min_version", "TLSv1.3"},
        {"ssl_max_protocol_version=TLSv1.2", "upstream.tls.max_version", "TLSv1.2"},
        {"channel_binding=require", "upstream.channel_binding", "require"},
        {"require_auth=scram-sha-256", "upstream.require_auth", "scram-sha-256"},
        {"min_protocol_version=3.2", ""},
        {"min_protocol_version=3.0", "-"},
        {"max_protocol_version=3.1", ""},
        {"max_protocol_version=latest", "-"},
        {"connect_timeout=10", "upstream.connect_timeout", "10s"},
        {"tcp_user_timeout=1000", ""},
        {"keepalives=0", ""},
        {"keepalives=1", "-"},
        {"keepalives_idle=30", ""},
        {"keepalives_interval=5", ""},
        {"keepalives_count=3", ""},
        {"application_name=shop", "upstream.application_name", "shop"},
        {"fallback_application_name=shop", "upstream.application_name", "shop"},
        {"client_encoding=LATIN1", "upstream.options", "-c client_encoding=LATIN1"},
        {"options=-c%20a%3Db", "upstream.options", "-c a=b"},
        {"target_session_attrs=any", "upstream.target_session_attrs", "any"},
        {"target_session_attrs=read-write", "upstream.target_session_attrs", "read-write"},
        {"target_session_attrs=read-only", "upstream.target_session_attrs", "read-only"},
        {"target_session_attrs=primary", "upstream.target_session_attrs", "primary"},
        {"target_session_attrs=standby", "upstream.target_session_attrs", "standby"},
        {"target_session_attrs=prefer-standby", "upstream.target_session_attrs", "prefer-standby"},
        {"load_balance_hosts=random", ""},
        {"load_balance_hosts=disable", "-"},
        {"passfile=/pass", "upstream.passfile", "/pass"},
        {"gssencmode=require", ""},
        {"krbsrvname=postgres", ""},
        {"requirepeer=postgres", ""},
        {"pgbouncer=true", "-"},
        {"connection_limit=5", ""},
        {"pool_timeout=10", ""},
        {"schema=shop", "upstream.options", "-c search_path=shop"},
        {"sslaccept=strict", ""},
        {"pool=5", ""},
        {"prepared_statements=false", "-"},
        {"checkout_timeout=5", ""},
        {"encoding=LATIN1", "upstream.options", "-c client_encoding=LATIN1"},
        {"prepareThreshold=0", "-"},
        {"preferQueryMode=simple", ""},
        {"ApplicationName=shop", "upstream.application_name", "shop"},
        {"currentSchema=shop", "upstream.options", "-c search_path=shop"},
        {"targetServerType=primary", "upstream.target_session_attrs", "primary"},
        {"targetServerType=preferSecondary", "upstream.target_session_attrs", "prefer-standby"},
        {"sslNegotiation=direct", "upstream.tls.negotiation", "direct"},
        {"channelBinding=require", "upstream.channel_binding", "require"},
        {"requireAuth=scram-sha-256", "upstream.require_auth", "scram-sha-256"},
        {"ssl=true", "upstream.tls.mode", "require"},
        {"ssl", "upstream.tls.mode", "require"},
        {"ssl=", "upstream.tls.mode", "require"},
        {"ssl=false", "upstream.tls.mode", "disable"},
    };
    for (const char* scheme :
         {"postgres://", "postgresql://", "postgresql+psycopg://", "jdbc:postgresql://"}) {
        for (const row& each : table) {
            INFO(scheme << " " << each.parameter);
            const auto target = parse(std::string(scheme) + "u:secret@h/d?" + each.parameter);
            CHECK(target.problems.empty());
            CHECK(print_servers(target.servers) == "h:5432");
            const std::string_view key = each.key;
            CHECK(target.warnings.size() == (key.empty() ? 1 : 0));
            if (key.starts_with("upstream.")) CHECK(value_of(target, key) == each.value);
        }
    }
    const auto host = parse("postgres://u:secret@h/d?hostaddr=10.0.0.1");
    CHECK(host.warnings.empty());
    CHECK(host.servers == server_list{{"h", "10.0.0.1", 5432}});
}

TEST_CASE("connection_url: libpq's variables fill in what is left open", "[config]") {
    const variables environment = {{"PGUSER", "env_user"},   {"PGPASSWORD", "env_pw"},
                                   {"PGHOST", "env_host"},   {"PGPORT", "7777"},
                                   {"PGDATABASE", "env_db"}, {"PGSSLMODE", "require"},
                                   {"PGAPPNAME", "env_app"}, {"PGOPTIONS", "-c x=y"}};
    const auto open = parse("postgres://", environment);
    CHECK(print_servers(open.servers) == "env_host:7777");
    CHECK(value_of(open, "upstream.user") == "env_user");
    CHECK(value_of(open, "upstream.password") == "env_pw");
    CHECK(value_of(open, "upstream.database") == "env_db");
    CHECK(value_of(open, "upstream.tls.mode") == "require");
    CHECK(value_of(open, "upstream.application_name") == "env_app");
    CHECK(value_of(open, "upstream.options") == "-c x=y");

    const auto closed = parse("postgres://u:p@h:1/d?sslmode=disable", environment);
    CHECK(print_servers(closed.servers) == "h:1");
    CHECK(value_of(closed, "upstream.user") == "u");
    CHECK(value_of(closed, "upstream.password") == "p");
    CHECK(value_of(closed, "upstream.database") == "d");
    CHECK(value_of(closed, "upstream.tls.mode") == "disable");
}

TEST_CASE("connection_url: what cannot be used says why without repeating it", "[config]") {
    struct row {
        const char* text;
        const char* problem;
    };
    const std::vector<row> table = {
        {"mysql://u:hunter2@h/d", "begins with neither postgres:// nor postgresql://"},
        {"hunter2", "is neither a postgres:// URL nor key=value pairs"},
        {"", "is neither a postgres:// URL nor key=value pairs"},
        {"password=hunter2 hunter2", "lacks a '=' behind a keyword"},
        {"password='hunter2", "has a quote that is never closed"},
        {"postgres://u:hunter2/x@h/d", "has a port that is not 1..65535"},
        {"postgres://u:p@h:99999/d", "has a port that is not 1..65535"},
        {"postgres://u:p@h:0/d", "has a port that is not 1..65535"},
        {"host=h1,h2,h3 port=1,2", "has a different number of hosts and of ports"},
        {"host=h1 hostaddr=10.0.0.1,10.0.0.2", "has a different number of hosts and of host addresses"},
        {"postgres://u:hunter2%zz@h/d", "invalid percent-encoded token: ***"},
        {"postgres://h/d?user", "missing key/value separator ***"},
    };
    for (const row& each : table) {
        INFO(each.text);
        const connection_target target = parse(each.text);
        REQUIRE(target.problems.size() == 1);
        CHECK(target.problems.front() == each.problem);
        CHECK(target.servers.empty());
        CHECK(target.values.empty());
    }
}

TEST_CASE("connection_url: the redacted form shows everything but the secret", "[config]") {
    CHECK(redact_connection_url("") == "");
    CHECK(
        redact_connection_url("postgres://app:secret@h1:1,h2/db?sslmode=require") ==
        "postgres://app:***@h1:1,h2:5432/db"
    );
    CHECK(redact_connection_url("postgres://app@h/db") == "postgres://app@h:5432/db");
    CHECK(redact_connection_url("postgres://h/db?user=u&password=secret") == "postgres://u:***@h:5432/db");
    CHECK(redact_connection_url("host=h user=u password='se cret'") == "postgres://u:***@h:5432");
    CHECK(redact_connection_url("postgres://app:12/secret@h/db") == "***");
    CHECK(redact_connection_url("postgres://[h?password=secret&a=]/db") == "***");
    CHECK(redact_connection_url("host=h@secret user=u") == "***");
    CHECK(redact_connection_url("host=@h user=u") == "postgres://u@@h:5432");
    CHECK(redact_connection_url("postgres://?password=secret&user=a@b") == "***");
    CHECK(redact_connection_url("postgres://app:secret%zz@h/db") == "***");
    CHECK(redact_connection_url("secret") == "***");
}

TEST_CASE("connection_url: no damage to a string throws or shows the password", "[config]") {
    // The password has no character in common with the pieces that are thrown in, so a whole one that shows
    // up in any message or in the redacted form has been leaked.
    const std::string secret = "QXZQXZ";
    const std::vector<std::string> seeds = {
        "postgres://app:" + secret + "@h1:1,[::1]:2/db?sslmode=require&schema=a&connect_timeout=5",
        "host=h port=5432 user=u password='" + secret + "' options='-c a=b' sslmode=prefer",
        "postgres://h/d?user=u&password=" + secret};
    const std::string pieces = "@:/?&=%'\\ [],#+\n" + std::string(1, '\0');
    std::mt19937_64 random(7);
    for (int round = 0; round < 4000; ++round) {
        std::string text = seeds[random() % seeds.size()];
        for (std::uint64_t change = random() % 3 + 1; change > 0; --change) {
            const std::size_t at = random() % text.size();
            // The secret itself stays in one piece and where it was: it is what is searched for.
            const std::size_t start = text.find(secret);
            if (at > start && at < start + secret.size()) continue;
            if (random() % 3 == 0 && at < start)
                text.erase(at, 1);
            else
                text.insert(at, 1, pieces[random() % pieces.size()]);
        }
        INFO(text);
        const connection_target target = parse(text);
        for (const auto& each : target.problems)
            CHECK(each.find(secret) == std::string::npos);
        for (const auto& each : target.warnings)
            CHECK(each.find(secret) == std::string::npos);
        CHECK((target.problems.empty() || target.values.empty()));
        redact_connection_url(text);
    }
}
