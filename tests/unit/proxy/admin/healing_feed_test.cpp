// The stream of what is healed: ids, and what each listener is told of ledgers that the test holds.
#include "proxy/admin/healing_feed.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace pgmend::proxy;
namespace config = pgmend::config;

namespace {

/// Two workers' ledgers, and a listener that takes whatever it is given.
struct studio {
    studio() : feed(control, sources(), "77") {}

    feed_sources sources() {
        feed_sources all;
        all.acts = [this](const auto& after, std::size_t most, const auto& done) {
            std::vector<ledger_page> pages;
            for (std::size_t i = 0; i < ledgers.size(); ++i) {
                const bool known = after && i < after->size();
                auto acts = known ? ledgers[i].after((*after)[i], most) : ledgers[i].latest(most);
                pages.push_back({std::move(acts), ledgers[i].total()});
            }
            done(std::move(pages));
        };
        all.settings = [this] { return settings; };
        return all;
    }

    void heal(std::size_t worker, int second) {
        healing_event act;
        act.at = config::time_point{} + std::chrono::seconds{second};
        act.cause = std::to_string(second);
        ledgers[worker].add(std::move(act));
    }

    http_reply come(const std::string& last = {}, std::size_t most = 100) {
        http_request request;
        request.last_event_id = last;
        return feed.open(request, most);
    }

    /// The next piece; empty when it does not come at once.
    static std::optional<std::string> piece_of(const http_reply& reply) {
        std::optional<std::string> found = "";
        const auto place = std::make_shared<std::optional<std::string>*>(&found);
        reply.pieces([place](std::optional<std::string> piece) {
            if (*place != nullptr) **place = std::move(piece);
        });
        *place = nullptr;
        return found;
    }

    static std::vector<std::string> ids_in(const std::string& piece) {
        std::vector<std::string> ids;
        for (std::size_t at = 0; (at = piece.find("id: ", at)) != std::string::npos; ++at)
            ids.push_back(piece.substr(at + 4, piece.find('\n', at) - at - 4));
        return ids;
    }

    using words = std::vector<std::string>;
    std::vector<healing_ledger> ledgers{healing_ledger{4}, healing_ledger{4}};
    std::shared_ptr<config::settings> settings = std::make_shared<config::settings>();
    boost::asio::io_context control;
    healing_feed feed;
};

}  // namespace

TEST_CASE("feed: an id says where one has got to in each ledger of this process", "[proxy]") {
    CHECK(feed_id("77", {3, 0}) == "77.3.0");
    CHECK(numbers_of("77", "77.3.0") == std::vector<std::uint64_t>{3, 0});
    for (const char* wrong :
         {"", "77", "77.", "78.3.0", "77.3.", "77.a", "77x3", "77.-1", "77.3 ", "770.1",
          "77.99999999999999999999"})
        CHECK_FALSE(numbers_of("77", wrong));
    CHECK(feed_event("end", "", "{}") == "event: end\ndata: {}\n\n");
    CHECK(feed_event("healing", "7.1", "{}") == "id: 7.1\nevent: healing\ndata: {}\n\n");
}

TEST_CASE("feed: acts of all workers come in the order of time, each with the place behind it", "[proxy]") {
    studio s;
    s.heal(0, 1);
    s.heal(1, 2);
    s.heal(0, 3);
    const http_reply reply = s.come();
    const std::string first = *studio::piece_of(reply);
    CHECK(first.starts_with("retry: 1000\nid: 77.0.0\nevent: begin\n"));
    CHECK(studio::ids_in(first) == studio::words{"77.0.0", "77.1.0", "77.1.1", "77.2.1"});
    CHECK(studio::piece_of(reply) == "");  // nothing new
    CHECK(studio::ids_in(*studio::piece_of(s.come({}, 1))) == studio::words{"77.1.0", "77.1.1", "77.2.1"});
}

TEST_CASE("feed: who comes again is told what is missing, and how much is forgotten", "[proxy]") {
    studio s;
    for (int second = 1; second <= 6; ++second)
        s.heal(0, second);
    const std::string piece = *studio::piece_of(s.come("77.1.0"));
    CHECK(piece.find("\"resumed\":true,\"missed\":1") != std::string::npos);
    CHECK(studio::ids_in(piece) == studio::words{"77.2.0", "77.3.0", "77.4.0", "77.5.0", "77.6.0"});
    CHECK(studio::ids_in(*studio::piece_of(s.come("77.6.0"))) == studio::words{"77.6.0"});
    // Of a process that had another number of workers, or of another time.
    for (const char* strange : {"77.1", "76.1.0"})
        CHECK(studio::piece_of(s.come(strange))->find("\"resumed\":false") != std::string::npos);
}

TEST_CASE("feed: places are limited, given back, and none is left at the end", "[proxy]") {
    studio s;
    auto first = std::make_unique<http_reply>(s.come());
    std::vector<http_reply> others;
    while (others.size() + 1 < s.settings->http.max_streams())
        others.push_back(s.come());
    CHECK(s.come().status == 503);
    first.reset();
    CHECK(s.come().status == 200);
    const http_reply listening = s.come();
    std::vector<std::optional<std::string>> told;
    studio::piece_of(listening);
    listening.pieces([&told](std::optional<std::string> piece) { told.push_back(std::move(piece)); });
    s.feed.end();
    REQUIRE(told.size() == 1);
    CHECK(told[0] == "event: end\ndata: {\"reason\":\"draining\"}\n\n");
    CHECK(studio::piece_of(listening) == std::nullopt);
    CHECK(s.come().status == 503);
    s.control.run();  // nothing is left to wait for
}
