// The parts metrics are made of, apart from which metrics there are.
#include "config/metric.hpp"

#include <catch2/catch.hpp>

#include <limits>
#include <thread>

namespace config = pgmend::config;
using namespace std::chrono_literals;

namespace {

enum class fruit : std::uint8_t { apple, pear };
constexpr std::array<std::string_view, 2> fruit_words{"apple", "pear"};
constexpr const auto& label_words(fruit) { return fruit_words; }

struct basket : config::metric_set {
    config::counter eaten{this, "eaten_total", "Eaten."};
    config::gauge present{this, "present", "Present."};
    config::counter_by<fruit> picked{this, "picked_total", "fruit", "Picked."};
    config::gauge_by<fruit> ripe{this, "ripe", "fruit", "Ripe."};
    config::histogram chewing{this, "chewing_seconds", "Chewing."};
};

using buckets = config::histogram_buckets;

}  // namespace

TEST_CASE("metric: a set knows its members in the order of their declaration", "[config]") {
    const basket one;
    const auto all = one.definitions();
    REQUIRE(all.size() == 5);
    CHECK(all[0].name == "eaten_total");
    CHECK(all[0].type == config::metric_type::counter);
    CHECK(all[0].cells.size() == 1);
    CHECK(all[1].type == config::metric_type::gauge);
    CHECK(all[2].label == "fruit");
    CHECK(all[2].cells.size() == 2);
    CHECK(all[3].label_values[1] == "pear");
    CHECK(all[4].type == config::metric_type::histogram);
    CHECK(all[4].cells.size() == buckets::count + 1);
}

TEST_CASE("metric: the registered cells are those that are moved", "[config]") {
    basket one;
    one.eaten.add();
    one.eaten.add(4);
    one.picked.add(fruit::pear, 2);
    const auto all = one.definitions();
    CHECK(one.eaten.value() == 5);
    CHECK(all[0].cells[0].load() == 5);
    CHECK(one.picked.value(fruit::apple) == 0);
    CHECK(all[2].cells[1].load() == 2);
}

TEST_CASE("metric: a gauge passes below zero and comes back", "[config]") {
    basket one;
    one.present.sub(3);
    CHECK(one.present.value() == -3);
    one.present.add();
    one.present.add(2);
    CHECK(one.present.value() == 0);
    one.present.set(-7);
    CHECK(one.present.value() == -7);
    one.ripe.sub(fruit::apple);
    one.ripe.set(fruit::pear, 9);
    one.ripe.add(fruit::pear);
    CHECK(one.ripe.value(fruit::apple) == -1);
    CHECK(one.ripe.value(fruit::pear) == 10);
}

TEST_CASE("metric: a duration falls into the first bucket whose bound is not below it", "[config]") {
    CHECK(buckets::of(0) == 0);
    CHECK(buckets::bound_us(0) == 16);
    CHECK(buckets::bound_us(buckets::bounds - 1) == 67'108'864);
    for (std::size_t bucket = 0; bucket < buckets::bounds; ++bucket) {
        const std::uint64_t bound_ns = buckets::bound_us(bucket) * 1000;
        CHECK(buckets::of(bound_ns - 1) == bucket);
        CHECK(buckets::of(bound_ns) == bucket);
        CHECK(buckets::of(bound_ns + 1) == bucket + 1);
    }
    CHECK(buckets::of(std::numeric_limits<std::uint64_t>::max()) == buckets::bounds);
}

TEST_CASE("metric: a histogram counts and sums what it is given", "[config]") {
    basket one;
    one.chewing.record(10us);
    one.chewing.record(16us);
    one.chewing.record(17us);
    one.chewing.record(2min);
    one.chewing.record(-5s);
    CHECK(one.chewing.bucket(0) == 3);
    CHECK(one.chewing.bucket(1) == 1);
    CHECK(one.chewing.bucket(buckets::bounds) == 1);
    CHECK(one.chewing.sum_ns() == 120'000'043'000);
}

TEST_CASE("metric: another thread reads what the owner has counted", "[config]") {
    basket one;
    std::thread owner([&one] {
        for (int i = 0; i < 100'000; ++i)
            one.eaten.add();
    });
    std::uint64_t last = 0;
    while (last < 100'000) {
        const std::uint64_t seen = one.eaten.value();
        REQUIRE(seen >= last);
        last = seen;
    }
    owner.join();
    CHECK(one.eaten.value() == 100'000);
}

TEST_CASE("metric: a label's value is the word of its enumerator", "[config]") {
    CHECK(config::label_word(fruit::apple) == "apple");
    CHECK(config::label_count<fruit> == 2);
}
