#include "proxy/login/user_directory.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace pgmend::protocol;
using pgmend::pool::server_credential;

namespace {

const std::string md5_secret = "md5a3556571e93b0d20722ba62be61e8c2d";

std::string verifier_text(std::string_view password) {
    return derive_scram_verifier(password, as_bytes("0123456789abcdef"), 4096).to_string();
}

using secrets = std::vector<std::pair<std::string, std::vector<std::string>>>;

std::shared_ptr<const secret_book> book_of(const secrets& users) {
    auto book = std::make_shared<secret_book>();
    for (const auto& [user, words] : users)
        book->add(user, words);
    return book;
}

std::vector<std::string> passwords(const std::vector<server_credential>& credentials) {
    std::vector<std::string> words;
    for (const auto& each : credentials)
        words.push_back(each.keys ? "keys" : each.password);
    return words;
}
using list = std::vector<std::string>;

scram_login_keys some_keys() { return {"0123456789abcdef", 4096, {}}; }

}  // namespace

TEST_CASE("user directory: a verifier is derived with the same salt in every worker") {
    user_directory users{book_of({{"app", {"secret"}}}), "process"};
    user_directory worker{book_of({{"app", {"secret"}}}), "process"};
    const scram_verifier first = users.verifier("app");
    CHECK_FALSE(first.mock);
    CHECK(scram_verify_password(first, "secret"));
    CHECK_FALSE(scram_verify_password(first, "secret "));
    CHECK(worker.verifier("app").salt == first.salt);
    CHECK(users.verifier("app").salt == first.salt);
}

TEST_CASE("user directory: who does not exist is asked as others are") {
    user_directory plain{book_of({{"app", {"secret"}}, {"old", {md5_secret}}}), "process"};
    CHECK_FALSE(plain.has_verifier("app"));
    CHECK_FALSE(plain.has_verifier("nobody"));
    const std::string verifier = plain.verifier("app").to_string();
    plain.asked("queried", verifier, {}, 10);
    CHECK(plain.has_verifier("queried"));
    CHECK(plain.has_verifier("nobody"));
    CHECK_FALSE(plain.has_verifier("app"));
    user_directory kept{book_of({{"app", {"secret"}}, {"new", {verifier}}}), "process"};
    CHECK(kept.has_verifier("nobody"));
    CHECK_FALSE(kept.has_verifier("app"));
}

TEST_CASE("user directory: each of several passwords in clear is good, whoever was prepared") {
    user_directory users{book_of({{"app", {"old", "new"}}, {"other", {"secret"}}}), "process"};
    users.prepare();
    CHECK(users.check_password("app", "old"));
    CHECK(users.check_password("app", "new"));
    CHECK_FALSE(users.check_password("app", "secret"));
    CHECK(users.check_password("other", "secret"));
    users.replace(book_of({{"app", {"newer"}}, {"other", {"secret"}}}));
    CHECK(users.check_password("app", "newer"));
    CHECK_FALSE(users.check_password("app", "new"));
    CHECK_FALSE(users.check_password("nobody", "secret"));
}

TEST_CASE("user directory: who cannot log in by SCRAM meets an exchange that looks the same and fails") {
    user_directory users{book_of({{"old", {md5_secret}}, {"app", {"secret"}}}), "process"};
    user_directory other{book_of({}), "another process"};
    for (const std::string user : {"old", "nobody", "nobody2"}) {
        const scram_verifier mock = users.verifier(user);
        CHECK(mock.mock);
        CHECK(mock.iterations == scram_default_iterations);
        CHECK(mock.salt.size() == users.verifier("app").salt.size());
        // The same on every try, another for every name and every process.
        CHECK(users.verifier(user).salt == mock.salt);
        CHECK(other.verifier(user).salt != mock.salt);
    }
    CHECK(users.verifier("nobody").salt != users.verifier("nobody2").salt);
}

TEST_CASE("user directory: several secrets are good at the same time, under one salt") {
    user_directory users{book_of({{"app", {"new", verifier_text("old"), "newer", md5_secret}}}), "process"};
    CHECK(users.has_verifier("app"));
    const scram_verifier verifier = users.verifier("app");
    CHECK(verifier.salt == "0123456789abcdef");
    CHECK(verifier.others.size() == 2);
    for (const std::string good : {"new", "old", "newer"})
        CHECK(users.check_password("app", good));
    CHECK_FALSE(users.check_password("app", "bad"));
    CHECK_FALSE(users.check_password("nobody", "new"));
    const md5_salt salt{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    CHECK(users.check_md5("app", salt, md5_response("newer", "app", salt)));
    CHECK_FALSE(users.check_md5("app", salt, md5_response("old", "app", salt)));
    CHECK_FALSE(users.check_md5("nobody", salt, md5_response("process", "nobody", salt)));
}

TEST_CASE("user directory: what was configured proves something to a server, but for a verifier") {
    user_directory users{book_of({{"app", {verifier_text("x"), "b", md5_secret}}}), "process"};
    CHECK(passwords(users.credentials("app")) == list{"b", md5_secret});
    CHECK(users.credentials("nobody").empty());
}

TEST_CASE("user directory: the credential that a server took comes first from then on") {
    user_directory users{book_of({{"app", {"a", "b", "c"}}}), "process"};
    users.accepted("app", {"b", nullptr});
    CHECK(passwords(users.credentials("app")) == list{"b", "a", "c"});
    // Gone from the file, it is still tried when nothing else helps: the server may be behind.
    users.replace(book_of({{"app", {"new"}}}));
    CHECK(passwords(users.credentials("app")) == list{"new", "b"});
    users.accepted("app", {"new", nullptr});
    CHECK(passwords(users.credentials("app")) == list{"new"});
}

TEST_CASE("user directory: who is in no file any more is forgotten with what last worked") {
    user_directory users{book_of({{"app", {"one"}}, {"other", {"x"}}}), "process"};
    users.accepted("app", {"one", nullptr});
    users.replace(book_of({{"other", {"x"}}}));
    CHECK(users.credentials("app").empty());
    // A login that was under way is over.
    users.accepted("app", {"one", nullptr});
    CHECK(users.credentials("app").empty());
}

TEST_CASE("user directory: keys are learnt where no password is known, and forgotten with the verifier") {
    const std::string stored = verifier_text("x");
    user_directory users{book_of({{"app", {stored}}, {"plain", {"x"}}}), "process"};
    users.learn("app", some_keys());
    users.learn("plain", some_keys());
    users.learn("elsewhere", some_keys());
    CHECK(passwords(users.credentials("app")) == list{"keys"});
    CHECK(passwords(users.credentials("plain")) == list{"x"});
    CHECK(users.credentials("elsewhere").empty());
    users.replace(book_of({{"app", {stored}}}));
    CHECK(passwords(users.credentials("app")) == list{"keys"});
    users.replace(book_of({{"app", {verifier_text("y")}}}));
    CHECK(users.credentials("app").empty());
}

TEST_CASE("user directory: a secret that changed is what clients are checked against") {
    user_directory users{book_of({{"app", {"one"}}}), "process"};
    CHECK(users.check_password("app", "one"));
    users.replace(book_of({{"app", {"two"}}}));
    CHECK_FALSE(users.check_password("app", "one"));
    CHECK(users.check_password("app", "two"));
    users.replace(book_of({}));
    CHECK_FALSE(users.check_password("app", "two"));
}

TEST_CASE("user directory: a refusal may pass for a while, when a credential worked before") {
    using namespace std::chrono_literals;
    user_directory users{book_of({{"app", {"one"}}}), "process"};
    const pgmend::config::time_point now{1h};
    CHECK_FALSE(users.refused("app", now, 30s));
    users.accepted("app", {"one", nullptr});
    CHECK(users.refused("app", now, 30s));
    CHECK(users.refused("app", now + 29s, 30s));
    CHECK_FALSE(users.refused("app", now + 30s, 30s));
    users.accepted("app", {"one", nullptr});
    CHECK(users.refused("app", now + 31s, 30s));
}

TEST_CASE("user directory: what the database said counts where nothing else names the user") {
    using namespace std::chrono_literals;
    user_directory users{book_of({{"app", {"one"}}}), "process"};
    pgmend::config::time_point now{1h};
    CHECK(users.knows("app"));
    CHECK_FALSE(users.knows("asked"));
    CHECK_FALSE(users.asked_within("asked", now, 1s));
    users.asked("asked", verifier_text("secret"), now, 2);
    users.asked("app", verifier_text("never"), now, 2);
    CHECK(users.asked_within("asked", now + 999ms, 1s));
    CHECK_FALSE(users.asked_within("asked", now + 1s, 1s));
    CHECK(users.has_verifier("asked"));
    CHECK(users.check_password("asked", "secret"));
    CHECK_FALSE(users.check_password("app", "never"));
    users.learn("asked", some_keys());
    CHECK(passwords(users.credentials("asked")) == list{"keys"});
    // The same answer again changes nothing; another one does.
    users.asked("asked", verifier_text("secret"), now + 1s, 2);
    CHECK(passwords(users.credentials("asked")) == list{"keys"});
    users.asked("asked", md5_secret, now + 2s, 2);
    CHECK(passwords(users.credentials("asked")) == list{md5_secret});
    users.asked("asked", "", now + 3s, 2);
    CHECK(users.credentials("asked").empty());
    CHECK(users.verifier("asked").mock);
    // No more are remembered than may be: the oldest answer goes.
    users.asked("third", "", now + 4s, 2);
    CHECK_FALSE(users.asked_within("app", now + 4s, 1h));
    CHECK(users.asked_within("asked", now + 4s, 1h));
}
