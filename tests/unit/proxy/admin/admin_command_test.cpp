#include "proxy/admin/admin_command.hpp"

#include <catch2/catch.hpp>

#include "proxy/admin/admin_role.hpp"

using namespace pgmend::proxy;

namespace {

admin_command only(std::string_view text) {
    const admin_parse parsed = parse_admin(text);
    INFO(text);
    REQUIRE(!parsed.error);
    REQUIRE(parsed.commands.size() == 1);
    return parsed.commands.front();
}

admin_error wrong(std::string_view text) {
    const admin_parse parsed = parse_admin(text);
    INFO(text);
    REQUIRE(parsed.error);
    REQUIRE(parsed.commands.empty());
    return *parsed.error;
}

}  // namespace

TEST_CASE("admin_command: every SHOW is known in any case, with and without its end", "[proxy]") {
    for (const show_word& each : show_words()) {
        const std::string word{each.word};
        for (const std::string& text :
             {"show " + word, "SHOW " + word + ";", "  Show\n\t" + word + " ; ;", "select " + word,
              "/* why */ show -- so\n" + word}) {
            CHECK(only(text) == admin_command{.verb = admin_verb::show, .topic = each.topic});
        }
    }
}

TEST_CASE("admin_command: names keep their case and may be quoted, strings too", "[proxy]") {
    CHECK(only("pause MyDb").argument == "MyDb");
    CHECK(only("PAUSE \"my \"\"db\"\"; x\";").argument == "my \"db\"; x");
    CHECK(only("resume").argument.empty());
    CHECK(only("kill my-db").argument == "my-db");
    CHECK(only("kill db--why").argument == "db");
    CHECK(only("Kill_Client 17").argument == "17");
    const admin_command set = only("SET Pool.Size = '17 '");
    CHECK((set.argument == "pool.size" && set.value == "17 "));
    CHECK(only("set session timezone to UTC").value == "UTC");
    const admin_command ban = only("ban db-1.example:5432 300 force");
    CHECK((ban.argument == "db-1.example:5432" && ban.value == "300" && ban.forced));
    CHECK((only("BAN \"[::1]:5432\"").argument == "[::1]:5432" && !only("BAN x").forced));
    CHECK((only("BAN x FORCE").forced && only("BAN x FORCE").value.empty()));
    CHECK(only("SHUTDOWN WAIT_FOR_CLIENTS").wait == shutdown_wait::for_clients);
    CHECK(only("shutdown wait_for_servers").wait == shutdown_wait::for_servers);
}

TEST_CASE("admin_command: several commands in one text, all of them or none", "[proxy]") {
    const admin_parse two = parse_admin("SHOW POOLS; PAUSE app;");
    REQUIRE(two.commands.size() == 2);
    CHECK(two.commands[1].verb == admin_verb::pause);
    CHECK(parse_admin("PAUSE; nonsense").commands.empty());
    CHECK(parse_admin("").commands.empty());
    CHECK(!parse_admin(" ;; -- nothing").error);
}

TEST_CASE("admin_command: what is wrong comes with a SQLSTATE and what was meant", "[proxy]") {
    CHECK(wrong("SHOW POLS").sqlstate == "42601");
    CHECK(wrong("SHOW POLS").hint == "Did you mean SHOW POOLS?");
    CHECK(wrong("RESUM").hint == "Did you mean RESUME?");
    CHECK(wrong("something else entirely").hint == "SHOW HELP lists all commands.");
    CHECK(wrong("SUSPEND").sqlstate == "0A000");
    CHECK(wrong("SHOW FDS").sqlstate == "0A000");
    CHECK(wrong("SELECT * FROM pg_class").sqlstate == "0A000");
    CHECK(wrong("KILL_CLIENT 1x").sqlstate == "22023");
    CHECK(wrong("KILL_CLIENT 99999999999999999999").sqlstate == "22023");
    for (const std::string_view text :
         {"PAUSE a b",
          "PAUSE ''",
          "KILL \"\"",
          "DISABLE ''",
          "SELECT ''",
          "DISABLE",
          "ENABLE",
          "KILL_CLIENT",
          "SET x",
          "SET x =",
          "SET x = 1 2",
          "RELOAD now",
          "SHUTDOWN NOW",
          "RESET",
          "RESET ALL",
          "RESET STATEMENTS now",
          "BAN",
          "BAN x 0",
          "BAN x soon",
          "BAN x FORCE 5",
          "BAN x 5 FORCE y",
          "UNBAN",
          "SHOW",
          "PAUSE 'x",
          "PAUSE \"x",
          "START",
          "COMMIT AND CHAIN",
          "(",
          "$1",
          "="}) {
        CHECK(wrong(text).sqlstate == "42601");
        CHECK(!wrong(text).hint.empty());
    }
    CHECK(wrong(std::string(100'000, 'x')).message.size() < 200'000);
    CHECK(wrong(std::string(100'000, '(')).message.size() < 200);
}

TEST_CASE("admin_command: what drivers say unasked is understood", "[proxy]") {
    CHECK(only("BEGIN").verb == admin_verb::begin);
    CHECK(only("begin read only").verb == admin_verb::begin);
    CHECK(only("START TRANSACTION ISOLATION LEVEL SERIALIZABLE").verb == admin_verb::begin);
    CHECK(only("COMMIT").verb == admin_verb::commit);
    CHECK(only("rollback work").verb == admin_verb::rollback);
    CHECK(only("SELECT 1").argument == "1");
    CHECK(only("select pg_catalog.version()").verb == admin_verb::select_version);
    CHECK(only("SHOW client_encoding").topic == show_topic::parameter);
    CHECK(only("SHOW TRANSACTION ISOLATION LEVEL").argument == "transaction_isolation");
    CHECK(!changes_something(only("SET client_encoding TO 'UTF8'")));
    CHECK(changes_something(only("SET pool.size = 1")));
    CHECK(tag_of(only("kill app")) == "KILL");
}

TEST_CASE("admin_command: only SHOW and what drivers say is open to those who may only look", "[proxy]") {
    for (const std::string_view text :
         {"PAUSE", "RESUME", "RECONNECT", "DISABLE x", "ENABLE x", "KILL", "KILL_CLIENT 1", "WAIT_CLOSE",
          "RELOAD", "SHUTDOWN", "RESET STATEMENTS", "BAN x", "UNBAN x"}) {
        CHECK(changes_something(only(text)));
    }
    for (const show_word& each : show_words())
        CHECK(!changes_something(only("SHOW " + std::string(each.word))));
}

TEST_CASE("admin_role: names decide, and without any the upstream user on the same machine", "[proxy]") {
    pgmend::config::settings settings;
    settings.upstream.user.set("app");
    CHECK(role_of(settings, "app", true) == admin_role::admin);
    CHECK(role_of(settings, "app", false) == admin_role::none);
    CHECK(role_of(settings, "other", true) == admin_role::none);
    settings.admin.stats_users.set("exporter , app");
    CHECK(role_of(settings, "app", true) == admin_role::stats);
    CHECK(role_of(settings, "exporter", false) == admin_role::stats);
    settings.admin.users.set("root,app");
    CHECK(role_of(settings, "app", false) == admin_role::admin);
    CHECK(role_of(settings, "", true) == admin_role::none);
    CHECK(role_of(settings, "root,app", true) == admin_role::none);
    CHECK((is_console("pgmend") && is_console("pgbouncer") && !is_console("app") && !is_console("")));
    CHECK((is_loopback("127.0.0.1") && is_loopback("::1") && !is_loopback("10.0.0.1") && !is_loopback("")));
}
