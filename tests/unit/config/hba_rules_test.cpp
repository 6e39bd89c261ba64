#include "config/hba_rules.hpp"

#include <catch2/catch.hpp>

#include "config/ident_map.hpp"

using namespace pgmend::config;

namespace {

hba_rules rules_of(std::string_view text) {
    auto parsed = parse_hba(text);
    INFO(parsed.problem);
    REQUIRE(parsed.value);
    return std::move(*parsed.value);
}

/// The method of the first rule that fits; reject where none does.
auth_method method_for(const hba_rules& rules, const hba_question& question) {
    const hba_rule* found = rules.find(question);
    return found == nullptr ? auth_method::reject : found->method;
}

hba_question from(std::string_view address, std::string_view user = "u", std::string_view database = "d") {
    hba_question question;
    if (!address.empty()) question.address = parse_address(address);
    question.user = user;
    question.database = database;
    return question;
}

std::string problem_of(std::string_view text) { return parse_hba(text).problem; }

}  // namespace

TEST_CASE("hba: the first rule that fits decides", "[config]") {
    const auto rules = rules_of(
        "# comment\n\n"
        "local all all trust\n"
        "host  app bob,\"al l\" 10.0.0.0/8 md5 # behind\n"
        "host  all all 10.1.0.0 255.255.0.0 password\n"
        "hostssl all all 0.0.0.0/0 scram-sha-256\n"
        "hostnossl all all 192.168.0.0/16 reject\n"
        "host sameuser all ::1/128 trust\n"
        "host \"all\" \"sameuser\" all md5\n"
    );
    CHECK(method_for(rules, from("", "x")) == auth_method::trust);
    CHECK(method_for(rules, from("10.9.9.9", "bob", "app")) == auth_method::md5);
    CHECK(method_for(rules, from("10.9.9.9", "al l", "app")) == auth_method::md5);
    CHECK(method_for(rules, from("10.9.9.9", "eve", "app")) == auth_method::reject);
    CHECK(method_for(rules, from("10.1.2.3", "eve", "app")) == auth_method::password);
    CHECK(method_for(rules, from("::1", "x", "x")) == auth_method::trust);
    CHECK(method_for(rules, from("::1", "x", "y")) == auth_method::reject);
    CHECK(rules.find(from("::2", "x", "y")) == nullptr);
    // In quotes a keyword is a name.
    CHECK(method_for(rules, from("::2", "sameuser", "all")) == auth_method::md5);
    hba_question secure = from("192.168.1.1");
    CHECK(rules.find(secure)->method == auth_method::reject);
    secure.encrypted = true;
    CHECK(method_for(rules, secure) == auth_method::scram_sha_256);
}

TEST_CASE("hba: physical replication is let in by its own keyword alone", "[config]") {
    const auto rules = rules_of("host all all all trust\nhost replication all all md5\n");
    hba_question question = from("1.2.3.4");
    CHECK(method_for(rules, question) == auth_method::trust);
    question.physical_replication = true;
    CHECK(method_for(rules, question) == auth_method::md5);
    // A database of that name is another thing.
    CHECK(method_for(rules_of("host \"replication\" all all md5\n"), question) == auth_method::reject);
}

TEST_CASE("hba: certificates are asked for as the options say", "[config]") {
    const auto rules = rules_of(
        "hostssl a all all cert map=m clientname=DN\n"
        "hostssl b all all md5 clientcert=verify-ca\n"
        "hostssl c all all trust clientcert=verify-full clientname=SAN\n"
    );
    CHECK(rules.rules[0].certificate == certificate_demand::named);
    CHECK(rules.rules[0].map == "m");
    CHECK(rules.rules[0].name == certificate_name::dn);
    CHECK(rules.rules[1].certificate == certificate_demand::valid);
    CHECK(rules.rules[2].certificate == certificate_demand::named);
    CHECK(rules.rules[2].name == certificate_name::san);
}

TEST_CASE("hba: lines go on behind a backslash, and errors name the line they began in", "[config]") {
    CHECK(rules_of("host all \\\n all all \\\nmd5\nlocal all all trust").rules.size() == 2);
    CHECK(
        problem_of("local all all trust\n\nhost all \\\nall all\n") == "4:5: the rule ends before the method"
    );
    CHECK(problem_of("host all all all peer").starts_with("1:18: the rule has a method that is not one of"));
    CHECK(problem_of("host all all 1.2.3.4/33 md5") == "1:14: the rule has a mask that is none");
    CHECK(problem_of("host all all 1.2.3.4 md5") == "1:22: the rule needs a mask behind its address");
    CHECK(problem_of("host all all all md5 radius=1").starts_with("1:22: the rule has an option"));
    CHECK(problem_of("host all all all cert").starts_with("1:18: the rule asks for a certificate"));
    CHECK(problem_of("host all \"all all md5") == "1:10: the line has a quote without an end");
    CHECK(
        problem_of(std::string("host all a\0l all md5", 21)).starts_with("1:1: the line is too long or has a")
    );
    CHECK(problem_of(std::string(20'000, 'x')).starts_with("1:1: the line is too long"));
}

TEST_CASE("hba: what is not supported is refused where it stands, with what is", "[config]") {
    const std::string roles = "the rule asks for role membership, which pgmend does not know; allowed: all, ";
    CHECK(problem_of("\nhost all bob,+admins all md5") == "2:14: " + roles + "names");
    CHECK(problem_of("host samerole all all md5") == "1:6: " + roles + "sameuser, replication, names");
    CHECK(problem_of("host a,samegroup all all md5").starts_with("1:8: the rule asks for role membership"));
    CHECK(problem_of("host @file all all md5").starts_with("1:6: the rule has a database that is a file (@)")
    );
    CHECK(
        problem_of("host all \\\n  @file all md5").starts_with("2:3: the rule has a user that is a file (@)")
    );
    CHECK(problem_of("host /^db all all md5").starts_with("1:6: the rule has a database that is a file (@)"));
    CHECK(problem_of("host all /^a all md5").starts_with("1:10: the rule has a user that is a file (@)"));
    for (const std::string name : {"db.example", ".example", "localhost"}) {
        CHECK(problem_of("host all all " + name + " md5")
                  .starts_with("1:14: the rule has an address that is not numeric: names of hosts are not "
                               "supported; allowed: all, samehost, samenet, "));
    }
    CHECK(problem_of("hosts all all all md5")
              .starts_with("1:1: the rule has an unknown connection type; allowed: "
                           "local, host, "));
    CHECK(problem_of("include_dir hba.d").starts_with("1:1: the rule is of another file (include)"));
    for (const std::string method :
         {"gss", "sspi", "ident", "peer", "pam", "bsd", "ldap", "radius", "scram"}) {
        CHECK(problem_of("host all all all " + method)
                  .starts_with("1:18: the rule has a method that is not one of"));
    }
    // In quotes these are names, as in PostgreSQL; and what asks the machine itself is supported.
    CHECK(rules_of("host \"@a\" \"+b\" samehost md5\nhost all \"/c\" samenet md5\n").rules.size() == 2);
}

TEST_CASE("hba: every prefix of a file is read or refused, and nothing worse", "[config]") {
    const std::string text =
        "hostssl a,\"b\" c 10.0.0.0/8 cert map=m \\\n clientname=CN # x\nhost all all ::/0 md5\n";
    for (std::size_t size = 0; size <= text.size(); ++size)
        parse_hba(std::string_view(text).substr(0, size));
}

TEST_CASE("ident map: a pattern takes a bounded amount of work and memory", "[config]") {
    const auto parsed = parse_ident_map(
        "m /^(a|aa)+$ found\n"
        "m \"/^((((a{1,200}){1,200}){1,200}){1,200})b$\" found\n"
        "m /^svc-(\\d+)@x$ u\\1\n"
    );
    REQUIRE(parsed.value.has_value());
    const ident_map& map = *parsed.value;
    CHECK_FALSE(map.allows("m", std::string(1000, 'a') + "c", "found"));
    CHECK(map.allows("m", "svc-17@x", "u17"));
    CHECK(map.allows("m", "aaa", "found"));
    CHECK(parse_ident_map("m /a++++++++++++++++++++b u").problem == "1:3: this is a pattern that is none");
}

TEST_CASE("ident map: names are equal, mapped, or matched", "[config]") {
    const auto parsed = parse_ident_map(
        "# maps\n"
        "m  \"Bob Smith\" bob\n"
        "m  /^(.*)@example\\.com$ \\1\n"
        "m  /^root$ admin\n"
        "other bob eve\n"
    );
    INFO(parsed.problem);
    REQUIRE(parsed.value);
    const ident_map& map = *parsed.value;
    CHECK(map.allows("", "bob", "bob"));
    CHECK_FALSE(map.allows("", "bob", "Bob"));
    CHECK_FALSE(map.allows("", "", ""));
    CHECK(map.allows("m", "Bob Smith", "bob"));
    CHECK_FALSE(map.allows("m", "bob", "bob"));
    CHECK(map.allows("m", "al@example.com", "al"));
    CHECK_FALSE(map.allows("m", "al@example.comx", "al"));
    CHECK_FALSE(map.allows("m", "al@example.com", "eve"));
    CHECK(map.allows("m", "root", "admin"));
    CHECK(map.allows("other", "bob", "eve"));
    CHECK_FALSE(map.allows("nowhere", "bob", "bob"));
    CHECK_FALSE(map.allows("", std::string(2000, 'x'), std::string(2000, 'x')));
    CHECK(parse_ident_map("m a").problem == "1:1: this is not a map, a name and a user");
    CHECK(parse_ident_map("\nm /( b").problem == "2:3: this is a pattern that is none");
}
