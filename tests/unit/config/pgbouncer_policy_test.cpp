#include "config/pgbouncer_policy.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "config/document.hpp"
#include "config/pgbouncer_ini.hpp"
#include "config/settings.hpp"

using namespace pgmend::config;

namespace {

void read_all(const document_node& mapping, const std::string& parent, settings& into, problems& found) {
    for (const document_member& member : mapping.members) {
        const std::string key = parent + member.key;
        if (setting_base* setting = into.find(key)) {
            setting->read(member.value, value_source::file, found);
        } else {
            INFO(key);
            REQUIRE(into.is_section(key));
            read_all(member.value, key + ".", into, found);
        }
    }
}

/// The policy as pgmend itself reads it.
void take(const pgbouncer_policy& made, settings& into) {
    INFO(made.yaml);
    problems found;
    read_all(parse_document(made.yaml, found), "", into, found);
    for (const problem& each : found)
        FAIL_CHECK(each.key << ": " << each.text);
}

bool lists(const pgbouncer_policy& made, std::string_view words) {
    for (const std::string& each : made.missing)
        if (each.find(words) != std::string::npos) return true;
    return false;
}

constexpr std::string_view usual = R"(;; what Debian ships, more or less
[databases]
app = host=db1,db2 port=5433 dbname=app
* = host=db1,db2 port=5433

[users]
batch = pool_mode=session

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
default_pool_size = 30
reserve_pool_timeout = 2.5
query_wait_timeout = 0
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits
idle_transaction_timeout = 30
query_timeout = 0
server_tls_sslmode = verify-full
server_tls_ca_file = /etc/ssl/"odd" name.crt
client_tls_protocols = tlsv1.3
admin_users = postgres, ops
# an end
)";

}  // namespace

TEST_CASE("pgbouncer.ini: becomes a policy that means the same", "[config]") {
    const pgbouncer_policy made = policy_from_pgbouncer(usual);
    REQUIRE(made.errors.empty());
    settings read;
    take(made, read);
    CHECK(read.listen.host() == "127.0.0.1");
    CHECK(read.auth.method() == auth_method::scram_sha_256);
    CHECK(read.auth.userlist() == "/etc/pgbouncer/userlist.txt");
    CHECK(read.pool.mode() == pool_mode::transaction);
    CHECK(read.pool.size() == 30);
    CHECK(read.pool.reserve_timeout() == std::chrono::milliseconds{2500});
    CHECK(read.pool.wait_timeout() == std::chrono::hours{24});
    CHECK(read.upstream.tls.mode() == server_tls_mode::verify_full);
    CHECK(read.upstream.tls.ca() == "/etc/ssl/\"odd\" name.crt");
    CHECK(read.listen.tls.min_version() == tls_bound::tls_1_3);
    CHECK(read.admin.users() == "postgres, ops");
    CHECK(read.upstream.database() == "app");
    CHECK(print_servers(read.upstream.servers()) == "db1:5433, db2:5433");
    CHECK(lists(made, "query_wait_timeout = 0"));
    CHECK(read.limits.idle_transaction_timeout() == std::chrono::seconds{30});
    CHECK(read.limits.query_timeout().count() == 0);
    CHECK(print_pool_rules(read.pool.rules()) == "batch@*: mode=session");
    CHECK(made.missing.size() == 1);
    CHECK(made.yaml.find("ignore_startup_parameters: ") != std::string::npos);
}

TEST_CASE("pgbouncer.ini: what is not said is PgBouncer's default, where ours is another", "[config]") {
    const pgbouncer_policy made = policy_from_pgbouncer("[pgbouncer]\n");
    settings read;
    take(made, read);
    CHECK(read.pool.mode() == pool_mode::session);
    CHECK(read.auth.method() == auth_method::md5);
    CHECK(read.listen.max_clients() == 100);
    CHECK(read.listen.host().empty());
    CHECK(read.listen.unix_socket_dir() == "/tmp");
    CHECK(read.pool.retry_delay_max() == std::chrono::seconds{15});
    CHECK(made.missing.empty());
}

TEST_CASE(
    "pgbouncer.ini: what has no equivalent is listed with its reason, and no password with it", "[config]"
) {
    const pgbouncer_policy made = policy_from_pgbouncer(
        "[databases]\n"
        "one = host=a user=u password='it''s secret' pool_size=3 datestyle=ISO\n"
        "two = host=b dbname=other\n"
        "[pgbouncer]\n"
        "listen_addr = 10.0.0.1,10.0.0.2\npool_mode = statement\nauth_type = pam\ndefault_pool_size = 0\n"
        "max_prepared_statements = 0\nserver_lifetime = soon\nsomething_new = 1\n"
    );
    for (const std::string_view words :
         {"one: user:", "one: datestyle=ISO", "two: its servers are others", "two: dbname=other",
          "listen_addr", "pool_mode = statement", "auth_type = pam", "default_pool_size = 0",
          "max_prepared_statements = 0", "server_lifetime = soon", "something_new = 1"}) {
        INFO(words);
        CHECK(lists(made, words));
    }
    for (const std::string& each : made.missing)
        CHECK(each.find("secret") == std::string::npos);
    settings read;
    take(made, read);
    CHECK(read.upstream.user() == "u");
    CHECK(read.upstream.password() == "it's secret");
    CHECK(read.listen.host() == "10.0.0.1");
    CHECK(print_pool_rules(read.pool.rules()) == "*@one: size=3");
}

TEST_CASE("pgbouncer.ini: what is no such file is told with its line", "[config]") {
    const pgbouncer_policy made =
        policy_from_pgbouncer("stray = 1\n[pgbouncer\n%include other.ini\nnonsense\n");
    REQUIRE(made.errors.size() == 4);
    CHECK(made.errors[0] == "line 1: stands in no section");
    CHECK(made.errors[1].starts_with("line 2: "));
    CHECK(made.errors[2].starts_with("line 3: %include"));
    CHECK(made.yaml.empty());
    std::vector<std::pair<std::string, std::string>> words;
    CHECK(!parse_ini_words("host='open", words));
    CHECK(!parse_ini_words("host", words));
    CHECK(words.empty());
}

TEST_CASE("pgbouncer.ini: limits of users become rules", "[config]") {
    const pgbouncer_policy made = policy_from_pgbouncer(
        "[pgbouncer]\ntransaction_timeout = 2.5\n[users]\n"
        "batch = query_timeout=60 pool_mode=session max_user_client_connections=3\n"
        "web = idle_transaction_timeout=0.5 transaction_timeout=0\nother = pool_size=9\n"
    );
    settings read;
    take(made, read);
    CHECK(read.limits.transaction_timeout() == std::chrono::milliseconds{2500});
    CHECK(
        print_limit_rules(read.limits.rules()) ==
        "user=batch per=user clients=3 query_timeout=1min, "
        "user=web idle_transaction_timeout=500ms"
    );
    CHECK(print_pool_rules(read.pool.rules()) == "batch@*: mode=session, other@*: size=9");
    CHECK(made.missing.empty());
}

TEST_CASE("pgbouncer.ini: times of databases and users become rules, and a user's is stronger", "[config]") {
    const pgbouncer_policy made = policy_from_pgbouncer(
        "[databases]\n"
        "app = host=a query_wait_timeout=5 server_lifetime=600 pool_size=4 max_db_client_connections=7\n"
        "idle = host=a server_lifetime=0 query_wait_timeout=-1 max_db_client_connections=0\n"
        "[users]\nbatch = query_wait_timeout=0 pool_size=9\nweb = query_wait_timeout=1.5\n"
        "plain = query_timeout=0 max_user_client_connections=0\n"
    );
    settings read;
    take(made, read);
    CHECK(
        print_pool_rules(read.pool.rules()) ==
        "batch@*: size=9 wait_timeout=1d, web@*: wait_timeout=1500ms, "
        "*@app: size=4 wait_timeout=5s lifetime=10min"
    );
    CHECK(made.missing.size() == 1);
    CHECK(lists(made, "[users] batch: query_wait_timeout = 0"));
    CHECK(print_limit_rules(read.limits.rules()) == "database=app per=database clients=7");
}
