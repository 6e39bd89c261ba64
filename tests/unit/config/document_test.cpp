#include "config/document.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "config/reference.hpp"

using namespace pgmend::config;

namespace {

/// Walks the whole tree: what the loader may do is safe here.
std::size_t count_nodes(const document_node& node, std::size_t depth = 1) {
    REQUIRE(depth <= document_limits().depth + 1);
    std::size_t count = 1;
    for (const document_node& each : node.items)
        count += count_nodes(each, depth + 1);
    for (const document_member& each : node.members)
        count += count_nodes(each.value, depth + 1);
    return count;
}

}  // namespace

TEST_CASE("document: values and keys have one-based places", "[config]") {
    problems found;
    const document_node root = parse_document("# head\npool:\n  size: 5\n  list: [a, {b: 'c'}]\n", found);
    REQUIRE(found.empty());
    REQUIRE(root.members.size() == 1);
    const document_member& pool = root.members[0];
    CHECK((pool.key == "pool" && pool.at.line == 2 && pool.at.column == 1));
    REQUIRE(pool.value.members.size() == 2);
    const document_member& size = pool.value.members[0];
    CHECK((size.at.line == 3 && size.at.column == 3));
    CHECK((size.value.text == "5" && size.value.at.line == 3 && size.value.at.column == 9));
    const document_node& list = pool.value.members[1].value;
    REQUIRE(list.items.size() == 2);
    CHECK((list.items[0].text == "a" && list.items[0].at.column == 10));
    REQUIRE(list.items[1].members.size() == 1);
    CHECK(list.items[1].members[0].value.text == "c");
}

TEST_CASE("document: a value that is absent has the place of its key", "[config]") {
    problems found;
    const document_node root = parse_document("a:\n\n\nb: 1\n", found);
    REQUIRE(root.members.size() == 2);
    CHECK(root.members[0].value.kind == node_kind::null);
    CHECK(root.members[0].value.at.line == 1);
}

TEST_CASE("document: quotes that close are left alone, those that do not are found", "[config]") {
    for (const char* text :
         {"a: \"x\"", "a: \"\\\"\"", "a: 'it''s'\n", "a: \"two\n  lines\"\n", "é: \"ö\"\nb: 'ä'\n"}) {
        INFO(text);
        problems found;
        parse_document(text, found);
        CHECK(found.empty());
    }
    for (const char* text : {"a: \"x\n", "a: 'x\n", "a: 'x''\n", "a: \"x\\\"\n", "é: 1\nb: \"x\n"}) {
        INFO(text);
        problems found;
        parse_document(text, found);
        REQUIRE(found.size() == 1);
        CHECK(found[0].text == "the quote is never closed");
    }
}

TEST_CASE("document: damaged text of any kind ends in a tree or in a complaint", "[config]") {
    const std::string seed =
        example_yaml() + "users: [{name: app, password: \"a\\tb\"}, {name: b}]\nlog: {level: |-\n";
    const std::string pieces = "[]{}:,-?!&*|>'\"%@`#\t\n \\~<0a" + std::string(1, '\0') + "\xff\xfe\xc3";
    std::mt19937_64 random(11);
    for (int round = 0; round < 1500; ++round) {
        // The end of the example is the part with structure; the rest is mostly comments.
        std::string text = seed.substr(seed.size() - 1 - random() % 700);
        for (std::uint64_t change = random() % 8; change > 0; --change) {
            const std::size_t at = random() % text.size();
            if (random() % 3 == 0)
                text.erase(at, random() % 5 + 1);
            else
                text.insert(at, random() % 3 + 1, pieces[random() % pieces.size()]);
            if (text.empty()) text = "x";
        }
        problems found;
        const document_node root = parse_document(text, found);
        CHECK((!found.empty() || count_nodes(root) <= document_limits().nodes));
    }
}
