// Goal: a text that is found has the key of the one that was kept; what repeats is found.
// Method: examples, and random texts with random changes, with `sql_key` as the referee.

#include "protocol/recent_texts.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "protocol/sql_key.hpp"

using namespace pgmend::protocol;

namespace {

class keeper {
public:
    void keep(std::string_view text, std::uint64_t number = 1) {
        REQUIRE(key_.make(text));
        texts_.keep(text, key_.integers(), {number, ~number});
    }
    std::uint64_t find(std::string_view text) const {
        const auto found = texts_.find(text);
        if (!found) return 0;
        CHECK(found->high == ~found->low);
        return found->low;
    }

private:
    sql_key key_;
    recent_texts texts_;
};

}  // namespace

TEST_CASE("recent_texts: a text comes again with other integers", "[protocol]") {
    keeper texts;
    CHECK(texts.find("select a from t where b = 1") == 0);
    texts.keep("select a from t where b = 10 and c = 2;");
    for (const std::string_view same :
         {"select a from t where b = 10 and c = 2;", "select a from t where b = 1 and c = 987654321;"}) {
        CAPTURE(same);
        CHECK(texts.find(same) == 1);
    }
    for (const std::string_view other :
         {"select a from t where b = 10 and c = 2", "select a from t where b = 10 and c = 2; ",
          "select a from t where b = 10 and d = 2;", "select a from t where b =  and c = 2;",
          "select a from t where b = 1.0 and c = 2;", "select a from t where b = 1234567890 and c = 2;",
          "select a from t where b = 10x and c = 2;", "select a from t where b = -10 and c = 2;",
          "select a from t where b = $1 and c = 2;", "SELECT a from t where b = 10 and c = 2;",
          "select a from t where b = 10 and c = ", "select a from t where b = 10"}) {
        CAPTURE(other);
        CHECK(texts.find(other) == 0);
    }
}

TEST_CASE("recent_texts: what is no plain integer has to be the same", "[protocol]") {
    keeper texts;
    texts.keep("select '1', t1, $1, 1.5, 10000000000, \"2\" /* 3 */");
    CHECK(texts.find("select '1', t1, $1, 1.5, 10000000000, \"2\" /* 3 */") == 1);
    for (const std::string_view other :
         {"select '2', t1, $1, 1.5, 10000000000, \"2\" /* 3 */",
          "select '1', t2, $1, 1.5, 10000000000, \"2\" /* 3 */",
          "select '1', t1, $2, 1.5, 10000000000, \"2\" /* 3 */",
          "select '1', t1, $1, 1.6, 10000000000, \"2\" /* 3 */",
          "select '1', t1, $1, 1.5, 10000000000, \"3\" /* 3 */"}) {
        CAPTURE(other);
        CHECK(texts.find(other) == 0);
    }
}

TEST_CASE("recent_texts: of those with one beginning, the two newest are kept", "[protocol]") {
    const std::string begins = "select one, two, three, four, five, six from a_table where ";
    keeper texts;
    texts.keep(begins + "a = 1", 1);
    texts.keep(begins + "b = 1", 2);
    CHECK(texts.find(begins + "a = 7") == 1);
    CHECK(texts.find(begins + "b = 7") == 2);
    texts.keep(begins + "c = 1", 3);
    CHECK(texts.find(begins + "a = 7") == 0);
    CHECK(texts.find(begins + "b = 7") == 2);
    CHECK(texts.find(begins + "c = 7") == 3);
}

TEST_CASE("recent_texts: long ones and ones with many integers are not kept", "[protocol]") {
    keeper texts;
    const std::string longest = "select " + std::string(recent_texts::longest_text - 9, 'a') + " ";
    texts.keep(longest + "1");
    CHECK(texts.find(longest + "23") == 1);
    texts.keep(longest + "a1");
    CHECK(texts.find(longest + "a1") == 0);
    std::string many = "select 1";
    for (std::size_t i = 1; i < recent_texts::most_integers; ++i)
        many += ",1";
    texts.keep(many, 2);
    CHECK(texts.find(many) == 2);
    texts.keep(many + ",1", 3);
    CHECK(texts.find(many + ",1") == 0);
}

TEST_CASE("recent_texts: what is found has the key of what was kept, on random texts", "[protocol]") {
    std::mt19937 random(17);
    const std::string alphabet[] = {"'",  "\"", "$$", "--", "/*", "*/", "\n",       " ",   "E'", "1",
                                    "22", ".",  "e5", "a",  "+",  "-",  "=",        "::",  ":",  ";",
                                    "(",  "$1", "x",  "''", "_",  "..", "9 ",       "333", ",",  " 1",
                                    "1 ", "]",  "@",  "$",  "\\", "b'", "123456789"};
    sql_key key;
    recent_texts texts;
    std::vector<std::string> keys{""};  // by their numbers
    int found = 0;
    int numbered = 0;
    for (int round = 0; round < 40000; ++round) {
        std::string text;
        for (auto pieces = 1 + random() % recent_texts::most_integers; pieces != 0; --pieces)
            text += alphabet[random() % std::size(alphabet)];
        if (!key.make(text)) continue;
        texts.keep(text, key.integers(), {keys.size(), 0});
        keys.emplace_back(key.bytes());
        numbered += key.integers().empty() ? 0 : 1;
        REQUIRE(texts.find(text));
        // A digit more, less or another, or a piece that is none.
        std::string changed = text;
        if (random() % 4 == 0) {
            changed.insert(random() % (changed.size() + 1), alphabet[random() % std::size(alphabet)]);
        } else if (const auto digit = changed.find_first_of("0123456789"); digit != std::string::npos) {
            changed.replace(digit, random() % 2, std::to_string(random() % 1000));
        }
        for (const auto& each : {text, changed}) {
            const std::vector<char> exact(
                each.begin(), each.end()
            );  // a sanitizer sees the first byte too many
            const auto recent = texts.find({exact.data(), exact.size()});
            if (!recent) continue;
            CAPTURE(text, each);
            found += each != text ? 1 : 0;
            REQUIRE(key.make(each));
            REQUIRE(key.bytes() == keys.at(recent->low));
        }
    }
    CHECK(numbered > 3000);
    CHECK(found > 1000);
}
