#include "proxy/login/auth_query.hpp"

#include <catch2/catch.hpp>

using namespace pgmend::proxy;
using namespace pgmend::protocol;
using state = auth_answer::state;

namespace {

/// A DataRow of text values; null for nullptr.
std::vector<std::byte> row(std::initializer_list<const char*> values) {
    std::vector<std::byte> body(2);
    store_u16(body.data(), static_cast<std::uint16_t>(values.size()));
    for (const char* value : values) {
        const std::string_view text = value == nullptr ? "" : value;
        const std::size_t at = body.size();
        body.resize(at + 4 + text.size());
        store_u32(body.data() + at, value == nullptr ? 0xffffffff : static_cast<std::uint32_t>(text.size()));
        std::memcpy(body.data() + at + 4, text.data(), text.size());
    }
    return body;
}

state end(auth_answer& answer, char status = 'I') {
    const std::byte body[]{static_cast<std::byte>(status)};
    return answer.read('Z', body);
}

}  // namespace

TEST_CASE("auth_query: one row of two columns is an answer, and so is none") {
    auth_answer answer{"app"};
    for (const char type : {'1', '2', 'N', 'S'})
        CHECK(answer.read(type, {}) == state::more);
    CHECK(answer.read('D', row({"app", "secret", "more"})) == state::more);
    CHECK(answer.read('C', {}) == state::more);
    CHECK(end(answer) == state::done);
    CHECK(answer.problem().empty());
    CHECK(answer.secret() == "secret");
    auth_answer nobody{"app"};
    CHECK(end(nobody) == state::done);
    CHECK(nobody.problem().empty());
    CHECK(nobody.secret().empty());
    auth_answer nothing{"app"};
    nothing.read('D', row({nullptr, nullptr}));
    CHECK(nothing.problem().empty());
    CHECK(nothing.secret().empty());
    auth_answer expired{"app"};
    expired.read('D', row({"app", nullptr}));
    CHECK(expired.problem().empty());
    CHECK(expired.secret().empty());
}

TEST_CASE("auth_query: what is no answer is none") {
    const auto problem = [](std::vector<std::byte> body) {
        auth_answer answer{"app"};
        answer.read('D', body);
        CHECK(answer.secret().empty());
        return answer.problem();
    };
    CHECK_FALSE(problem(row({"app"})).empty());
    CHECK_FALSE(problem(row({"other", "secret"})).empty());
    CHECK_FALSE(problem(row({nullptr, "secret"})).empty());
    CHECK_FALSE(problem({}).empty());
    CHECK_FALSE(problem(row({"app", std::string(5000, 'x').c_str()})).empty());
    auto cut = row({"app", "secret"});
    for (std::size_t size = 0; size < cut.size(); ++size)
        CHECK_FALSE(problem({cut.begin(), cut.begin() + static_cast<std::ptrdiff_t>(size)}).empty());
    auth_answer twice{"app"};
    twice.read('D', row({"app", "one"}));
    twice.read('D', row({"app", "two"}));
    CHECK_FALSE(twice.problem().empty());
    CHECK(twice.secret().empty());
}

TEST_CASE("auth_query: errors, open transactions and strange messages are told apart") {
    auth_answer refused{"app"};
    CHECK(refused.read('E', as_bytes(std::string_view("SERROR\0Mno\0\0", 13))) == state::more);
    CHECK(end(refused) == state::done);
    CHECK(refused.problem() == "no");
    // CVE-2026-6666: fields may be missing.
    auth_answer bare{"app"};
    CHECK(bare.read('E', {}) == state::more);
    CHECK_FALSE(bare.problem().empty());
    auth_answer open{"app"};
    CHECK(end(open, 'T') == state::broken);
    auth_answer odd{"app"};
    CHECK(odd.read('G', {}) == state::broken);
    CHECK(odd.read('Z', {}) == state::broken);
}
