// Goal: parts go to who needs them, nobody is left without, and together there are never more than
// configured. Method: the rules one by one; then workers that ask, answer and hear of it late, in random
// order.

#include "pool/share_book.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <random>
#include <utility>

using namespace pgmend::pool;

namespace {

const pool_name shop{"shop", "app"};

share_request asks(std::size_t wanted, bool below = false) { return {shop, 1, 0, wanted, below}; }

}  // namespace

TEST_CASE("share_book: what is unused goes to who asks for it", "[pool]") {
    share_book book;
    CHECK(book.size(shop, 10) == 10);
    const auto answer = book.answer(asks(3), {.given = 10, .open = 4});
    CHECK(answer.parts == 3);
    CHECK(answer.why == share_reason::unused);
    CHECK(book.size(shop, 10) == 7);
    CHECK(book.below(shop));
    // Six are open of seven, two of them unused: three.
    CHECK(book.answer(asks(8), {.given = 10, .open = 6, .unused = 2}).parts == 3);
    CHECK(book.size(shop, 10) == 4);
}

TEST_CASE("share_book: who waits here comes first", "[pool]") {
    share_book book;
    CHECK_FALSE(book.answer(asks(3), {.given = 10, .open = 8, .waiting = 2}).why);
    CHECK(book.answer(asks(3), {.given = 10, .open = 8, .waiting = 1}).parts == 1);
    CHECK_FALSE(book.answer(asks(3), {.given = 10, .open = 10}).why);
}

TEST_CASE("share_book: the last one stays", "[pool]") {
    share_book book;
    CHECK(book.answer(asks(100), {.given = 10, .open = 0}).parts == 9);
    CHECK_FALSE(book.answer(asks(100), {.given = 10, .open = 0}).why);
    CHECK(book.size(shop, 10) == 1);
    // The configuration gave less than went away: still one.
    CHECK(book.size(shop, 2) == 1);
}

TEST_CASE("share_book: who has more than given gives it back to who has less, when it is free", "[pool]") {
    share_book book;
    const share_facts busy{.given = 10, .open = 13, .waiting = 5};
    CHECK(book.gained(shop, 0, 3));
    CHECK(book.size(shop, 10) == 13);
    CHECK_FALSE(book.answer(asks(2), busy).why);
    for (int i = 0; i < 3; ++i) {
        const auto answer = book.answer(asks(2, true), busy);
        CHECK(answer.parts == 0);
        CHECK(answer.promised);
        CHECK(answer.why == share_reason::given_back);
    }
    CHECK_FALSE(book.answer(asks(2, true), busy).why);
    CHECK(book.owes(shop));
    CHECK(book.due(shop, 10, 13).empty());
    CHECK(book.due(shop, 10, 12) == std::vector<unsigned>{1});
    CHECK(book.due(shop, 10, 12).empty());
    CHECK(book.due(shop, 10, 10) == std::vector<unsigned>{1, 1});
    CHECK_FALSE(book.owes(shop));
}

TEST_CASE("share_book: other settings make void what is on its way", "[pool]") {
    share_book book;
    CHECK(book.answer(asks(3), {.given = 10}).parts == 3);
    book.begin_anew();
    CHECK(book.size(shop, 10) == 10);
    CHECK_FALSE(book.answer(asks(3), {.given = 10}).why);
    CHECK_FALSE(book.gained(shop, 0, 3));
    CHECK(book.gained(shop, 1, 3));
    CHECK(book.size(shop, 10) == 13);
}

namespace {

/// A worker with its connections: those that work, and those that do not.
struct side {
    share_book book;
    std::size_t given = 0;
    std::size_t working = 0;
    std::size_t unused = 0;
    std::size_t waiting = 0;

    std::size_t open() const { return working + unused; }
    std::size_t size() const { return book.size(shop, given); }
    void fit() {
        while (open() > size() && unused != 0)
            --unused;
    }
};

struct message {
    bool request = false;
    share_request ask;
    std::size_t to = 0;
    std::uint64_t settings = 0;
    std::size_t parts = 0;
};

}  // namespace

TEST_CASE("share_book: never more together than configured, and everybody is served", "[pool]") {
    for (unsigned seed = 0; seed < 300; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        const auto count = 2 + random() % 3;
        const std::size_t whole = count + random() % 12;
        std::vector<side> sides(count);
        for (std::size_t i = 0; i < count; ++i)
            sides[i].given = whole / count + (i < whole % count ? 1 : 0);
        std::deque<message> under_way;
        const auto pay = [&](side& from) {
            for (const unsigned to : from.book.due(shop, from.given, from.open()))
                under_way.push_back({false, {}, to, from.book.settings(), 1});
        };
        const auto deliver = [&] {
            const message what = under_way.front();
            under_way.pop_front();
            side& to = sides[what.to];
            if (!what.request) {
                to.book.gained(shop, what.settings, what.parts);
                return;
            }
            const auto answer = to.book.answer(what.ask, {to.given, to.open(), to.waiting, to.unused});
            to.fit();
            if (answer.parts != 0)
                under_way.push_back({false, {}, what.ask.asker, to.book.settings(), answer.parts});
            pay(to);
        };
        const auto check = [&] {
            std::size_t open = 0;
            for (const side& each : sides) {
                REQUIRE(each.size() >= 1);
                open += each.open();
            }
            REQUIRE(open <= whole);
        };
        for (int step = 0; step < 400; ++step) {
            const auto which = random() % count;
            side& one = sides[which];
            switch (random() % 6) {
                case 0:  // clients come
                    one.waiting += random() % 4;
                    break;
                case 1:  // and are served
                    while (one.waiting != 0 && (one.unused != 0 || one.open() < one.size())) {
                        if (one.unused != 0) --one.unused;
                        ++one.working;
                        --one.waiting;
                    }
                    break;
                case 2:  // work is done
                    if (one.working != 0) {
                        --one.working;
                        ++one.unused;
                    }
                    one.fit();
                    pay(one);
                    break;
                case 3:
                case 4:
                    if (!under_way.empty()) deliver();
                    break;
                default:
                    if (one.waiting == 0 || one.open() < one.size()) break;
                    for (std::size_t other = 0; other < count; ++other) {
                        if (other == which) continue;
                        const share_request ask{
                            shop, static_cast<unsigned>(which), one.book.settings(), one.waiting,
                            one.book.below(shop)};
                        under_way.push_back({true, ask, other});
                    }
            }
            check();
        }
        // All is done and heard: the sizes are what was configured, no more and no less.
        for (side& each : sides) {
            each.waiting = 0;
            each.unused += std::exchange(each.working, 0);
            each.fit();
            pay(each);
        }
        while (!under_way.empty())
            deliver();
        std::size_t sizes = 0;
        for (const side& each : sides) {
            REQUIRE_FALSE(each.book.owes(shop));
            sizes += each.size();
        }
        REQUIRE(sizes == whole);
    }
}
