#include "proxy/admin/http_door.hpp"

#include <catch2/catch.hpp>

#include "protocol/base64.hpp"

using namespace pgmend::proxy;
using namespace std::chrono_literals;
namespace config = pgmend::config;

namespace {

struct house {
    house() {
        settings.admin.users.set("boss");
        settings.admin.stats_users.set("watcher");
        settings.upstream.user.set("app");
        settings.auth.failure_burst.set(2);
        auto known = std::make_shared<secret_book>();
        for (const char* name : {"boss", "watcher", "app"})
            known->add(name, {std::string("secret of ") + name});
        book = known;
    }

    config::settings settings;
    std::shared_ptr<const secret_book> book;
    http_door door{"process"};
    config::time_point now = config::time_point{} + 1h;

    http_verdict enter(const http_request& request) { return door.enter(request, settings, book, now); }
};

http_request from(const std::string& peer, bool here, const std::string& host = "127.0.0.1:9632") {
    http_request request;
    request.path = "/api/pools";
    request.from_here = here;
    request.peer = peer;
    request.host = host;
    return request;
}

http_request with(http_request request, const std::string& user, const std::string& password) {
    request.authorization = "basic " + pgmend::protocol::base64_encode(user + ":" + password);
    return request;
}

}  // namespace

TEST_CASE("http door: from elsewhere nobody comes in without a password", "[proxy]") {
    house h;
    const http_request stranger = from("10.0.0.9", false);
    CHECK(h.enter(stranger).status == 401);
    CHECK(h.enter(with(stranger, "boss", "guess")).status == 401);
    CHECK(h.enter(with(stranger, "nobody", "guess")).status == 401);
    const http_verdict boss = h.enter(with(stranger, "boss", "secret of boss"));
    CHECK((boss.status == 200 && boss.role == admin_role::admin));
    const http_verdict watcher = h.enter(with(stranger, "watcher", "secret of watcher"));
    CHECK((watcher.status == 200 && watcher.role == admin_role::stats));
    CHECK(h.enter(with(stranger, "app", "secret of app")).status == 403);
}

TEST_CASE(
    "http door: this machine comes in as it is, but not a page of another site in its browser", "[proxy]"
) {
    house h;
    for (const char* host : {"127.0.0.1:9632", "localhost:1", "[::1]:9632", "localhost"})
        CHECK(h.enter(from("127.0.0.1", true, host)).role == admin_role::admin);
    for (const char* host : {"evil.example", "127.evil.example:9632", "127.0.0.1.evil.example", "10.0.0.1"}) {
        CAPTURE(host);
        CHECK(h.enter(from("127.0.0.1", true, host)).status == 401);
    }
    CHECK(h.enter(from("127.0.0.1", true, "")).status == 401);
    http_request page = from("127.0.0.1", true);
    page.origin = "https://evil.example";
    CHECK(h.enter(page).status == 403);
    page.origin = "http://127.0.0.1:3000";
    CHECK(h.enter(page).status == 403);
    page.origin = "http://127.0.0.1:9632";
    CHECK(h.enter(page).status == 200);
    // Who says who he is, is taken at his word.
    CHECK(h.enter(with(from("127.0.0.1", true), "boss", "guess")).status == 401);
    CHECK(h.enter(with(from("127.0.0.1", true), "watcher", "secret of watcher")).role == admin_role::stats);
}

TEST_CASE("http door: browsers say whose page asks, also where it needs no permission to", "[proxy]") {
    house h;
    http_request page = from("127.0.0.1", true);
    for (const char* ours : {"same-origin", "none", ""}) {
        page.fetch_site = ours;
        CHECK(h.enter(page).status == 200);
    }
    for (const char* others : {"cross-site", "same-site", "unheard-of"}) {
        page.fetch_site = others;
        CHECK(h.enter(page).status == 403);
        CHECK(h.enter(with(page, "boss", "secret of boss")).status == 403);
    }
    // A link to the dashboard, and nothing else: neither in a frame, nor to what lies behind it.
    page.fetch_dest = "document";
    CHECK(h.enter(page).status == 403);
    page.path = "/";
    CHECK(h.enter(page).status == 200);
    page.fetch_dest = "iframe";
    CHECK(h.enter(page).status == 403);
    page.fetch_dest = "document";
    page.post = true;
    CHECK(h.enter(page).status == 403);
}

TEST_CASE("http door: a page that hides its origin may change nothing from this machine", "[proxy]") {
    house h;
    http_request page = from("127.0.0.1", true);
    page.origin = "null";
    CHECK(h.enter(page).status == 403);
}

TEST_CASE(
    "http door: who guesses waits, who knows does not, and a changed password counts at once", "[proxy]"
) {
    house h;
    const http_request stranger = from("10.0.0.9", false);
    CHECK(h.enter(with(stranger, "boss", "a")).delay == 0s);
    CHECK(h.enter(with(stranger, "boss", "b")).delay == 0s);
    CHECK(h.enter(with(stranger, "boss", "c")).delay == 1s);
    CHECK(h.enter(with(stranger, "boss", "secret of boss")).status == 200);
    auto changed = std::make_shared<secret_book>();
    changed->add("boss", {"new"});
    h.book = changed;
    CHECK(h.enter(with(stranger, "boss", "secret of boss")).status == 401);
    CHECK(h.enter(with(stranger, "boss", "new")).status == 200);
    http_request broken = stranger;
    for (const char* header : {"Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer abc"}) {
        broken.authorization = header;
        CHECK(h.enter(broken).status == 401);
    }
}
