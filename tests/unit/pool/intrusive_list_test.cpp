#include "pool/intrusive_list.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <vector>

using namespace pgmend::pool;

namespace {

struct member final : list_node<member> {};
using list = intrusive_list<member>;

std::vector<const member*> forward(const list& of) {
    std::vector<const member*> all;
    for (const member* m = of.front(); m != nullptr; m = list::next(*m)) {
        all.push_back(m);
    }
    return all;
}
std::vector<const member*> backward(const list& of) {
    std::vector<const member*> all;
    for (const member* m = of.back(); m != nullptr; m = list::previous(*m)) {
        all.insert(all.begin(), m);
    }
    return all;
}

}  // namespace

TEST_CASE("intrusive list: a member knows its list and leaves from anywhere") {
    list one;
    list two;
    member a, b, c;
    CHECK_FALSE(a.linked());
    list::remove(a);  // in no list: nothing happens
    one.push_back(a);
    one.push_back(b);
    two.push_back(c);
    CHECK(a.list() == &one);
    CHECK(c.list() == &two);
    list::remove(c);
    CHECK(two.empty());
    CHECK(c.list() == nullptr);
    one.push_back(c);
    list::remove(b);
    CHECK(forward(one) == std::vector<const member*>{&a, &c});
    list::remove(a);
    list::remove(c);
    CHECK(one.empty());
    CHECK(one.front() == nullptr);
    CHECK(one.back() == nullptr);
    CHECK(one.size() == 0);
}

TEST_CASE("intrusive list: any mixture of orders agrees with a plain list in both directions") {
    std::mt19937 random{11};
    std::deque<member> members(20);
    list lists[2];
    std::vector<const member*> model[2];
    for (int step = 0; step < 5000; ++step) {
        member& one = members[random() % members.size()];
        const std::size_t to = random() % 2;
        for (auto& where : model) {
            std::erase(where, &one);
        }
        list::remove(one);
        if (random() % 3 != 0) {
            lists[to].push_back(one);
            model[to].push_back(&one);
        }
        for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
            REQUIRE(forward(lists[i]) == model[i]);
            REQUIRE(backward(lists[i]) == model[i]);
            REQUIRE(lists[i].size() == model[i].size());
        }
    }
}
