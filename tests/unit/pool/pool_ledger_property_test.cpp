// The ledger under long random lives: what must hold after every input, whatever the inputs were.

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "pool/pool_ledger.hpp"

using namespace pgmend::pool;
using namespace std::chrono_literals;
using pgmend::config::duration;
using pgmend::config::time_point;

namespace {

enum class place : std::uint8_t { outside, waiting, served };

struct client final : ledger_waiter {
    place where = place::outside;
    ledger_server* holds = nullptr;
    duration waited{};
};

struct backend final : ledger_server {
    enum class state : std::uint8_t { idle, busy, closed } now = state::idle;
};

/// A pool's shell without a network: does what the ledger says and checks that it may be said.
class world {
public:
    world(pool_limits limits, unsigned seed) : ledger(limits), random(seed) {
        for (int i = 0; i < 12; ++i) {
            clients.push_back(std::make_unique<client>());
        }
    }

    pool_ledger ledger;
    std::mt19937 random;
    time_point now = time_point{} + std::chrono::hours{1000};
    std::vector<std::unique_ptr<client>> clients;
    std::vector<std::unique_ptr<backend>> servers;
    std::deque<std::pair<partition_id, client*>> logins;
    std::size_t dedicated = 0;
    time_point no_login_before = time_point::min();
    time_point hold_seen = time_point::min();
    int settings[3]{};

    std::size_t any(std::size_t below) { return random() % below; }
    bool chance(unsigned percent) { return random() % 100 < percent; }

    template <class Input>
    void call(Input&& input) {
        pool_ledger::actions actions;
        input(actions);
        for (const pool_action& action : actions) {
            carry_out(action);
        }
        settle();
        check();
    }

    void acquire(client& who, partition_id partition) {
        who.partition = partition;
        who.may_be_shed = chance(70);
        who.parameters = &settings[any(3)];
        who.where = place::waiting;
        call([&](auto& out) { ledger.acquire(who, now, out); });
    }
    void withdraw(client& who) {
        who.where = place::outside;
        call([&](auto&) { ledger.withdraw(who); });
    }
    void release(client& who) {
        ledger_server& server = *std::exchange(who.holds, nullptr);
        who.where = place::outside;
        static_cast<backend&>(server).now = backend::state::idle;
        server.parameters = &settings[any(3)];
        call([&](auto& out) {
            if (!ledger.put_back(server, now)) ledger.release(server, now, out);
        });
    }
    void lose(client& who) {
        auto& server = static_cast<backend&>(*std::exchange(who.holds, nullptr));
        who.where = place::outside;
        bury(server);
        call([&](auto& out) { ledger.lost_in_use(now, out); });
    }
    void lose_idle(backend& server) {
        call([&](auto&) {
            ledger.lost_idle(server);
            bury(server);
        });
    }
    void login_over(bool good) {
        const partition_id partition = logins.front().first;
        logins.pop_front();
        if (!good) {
            const auto pause = std::chrono::milliseconds{1 + any(500)};
            no_login_before = now + pause;
            if (chance(20)) {
                call([&](auto& out) { ledger.login_refused(now, now + pause, out); });
            } else {
                call([&](auto& out) { ledger.connect_failed(now, now + pause, out); });
                const bool none_works = servers.empty();
                if (none_works) REQUIRE(ledger.holding());
            }
            return;
        }
        no_login_before = time_point::min();
        servers.push_back(std::make_unique<backend>());
        backend& server = *servers.back();
        server.partition = partition;
        server.parameters = &settings[0];
        call([&](auto& out) { ledger.connected(server, now, out); });
    }
    void reconsider(bool server_there) {
        no_login_before = time_point::min();
        call([&](auto& out) { ledger.reconsider(server_there, now, out); });
        if (!server_there) REQUIRE(ledger.holding());
    }
    void count_dedicated(int by) {
        dedicated += static_cast<std::size_t>(by);
        call([&](auto&) { ledger.count_dedicated(by); });
    }
    void pass(duration time) {
        now += time;
        settle();
        check();
    }

    void close_all() {
        closing = true;
        call([&](auto& out) { ledger.close_all(out); });
    }

    bool closing = false;

private:
    void bury(backend& server) {
        while (affinity* follower = server.followers.front()) {
            follower->attach(nullptr);
        }
        server.now = backend::state::closed;
        std::erase_if(servers, [&](const auto& one) { return one.get() == &server; });
    }

    void carry_out(const pool_action& action) {
        switch (action.kind) {
            case pool_action_kind::hand_over: {
                auto& server = static_cast<backend&>(*action.server);
                auto& who = static_cast<client&>(*action.waiter);
                REQUIRE(server.now == backend::state::idle);
                REQUIRE(who.where == place::waiting);
                REQUIRE(server.partition == who.partition);
                REQUIRE_FALSE(server.linked());
                REQUIRE_FALSE(who.linked());
                for (const auto& other : clients) {
                    const bool before = other->where == place::waiting && other->partition == who.partition &&
                                        other->since < who.since;
                    REQUIRE_FALSE(before);
                }
                server.now = backend::state::busy;
                who.where = place::served;
                who.holds = &server;
                who.last.attach(&server);
                break;
            }
            case pool_action_kind::connect: {
                REQUIRE_FALSE(closing);
                REQUIRE(now >= no_login_before);
                logins.emplace_back(action.partition, nullptr);
                REQUIRE(logins.size() <= ledger.limits().login_concurrency);
                break;
            }
            case pool_action_kind::close: {
                auto& server = static_cast<backend&>(*action.server);
                REQUIRE(server.now == backend::state::idle);
                REQUIRE_FALSE(server.linked());
                REQUIRE(action.reason != close_reason::none);
                bury(server);
                break;
            }
            case pool_action_kind::time_out: {
                auto& who = static_cast<client&>(*action.waiter);
                REQUIRE(who.where == place::waiting);
                switch (action.end) {
                    case wait_end::busy:
                        REQUIRE(now - who.since >= ledger.limits().wait_timeout);
                        break;
                    case wait_end::held:
                        REQUIRE(ledger.holding());
                        REQUIRE(now - who.since >= ledger.limits().hold_timeout);
                        break;
                    case wait_end::crowded:
                        REQUIRE(ledger.holding());
                        REQUIRE(ledger.waiting() >= ledger.limits().hold_max_waiters);
                        break;
                    case wait_end::full:
                        REQUIRE_FALSE(ledger.holding());
                        REQUIRE(ledger.limits().max_waiters != 0);
                        REQUIRE(ledger.waiting() >= ledger.limits().max_waiters);
                        break;
                    case wait_end::shed:
                        REQUIRE_FALSE(ledger.holding());
                        REQUIRE(who.may_be_shed);
                        REQUIRE(now - who.since >= ledger.limits().queue_delay);
                        REQUIRE(now - ledger.line_began() >= 10 * ledger.limits().queue_delay);
                        break;
                }
                REQUIRE_FALSE(who.linked());
                who.where = place::outside;
                break;
            }
        }
    }

    /// Ticks as long as one is due. More than a few without any input is a loop that eats a processor.
    void settle() {
        int ticks = 0;
        while (ledger.next_tick() <= now) {
            REQUIRE(++ticks <= 3);
            pool_ledger::actions actions;
            ledger.tick(now, actions);
            for (const pool_action& action : actions) {
                carry_out(action);
            }
        }
    }

    void check() {
        const auto& limits = ledger.limits();
        std::size_t idle = 0;
        std::size_t busy = 0;
        for (const auto& server : servers) {
            ++(server->now == backend::state::idle ? idle : busy);
        }
        std::size_t waiting = 0;
        bool overdue = false;
        for (const auto& who : clients) {
            if (who->where != place::waiting) continue;
            ++waiting;
            overdue = overdue || now - who->since >= limits.reserve_timeout;
            REQUIRE(who->linked());
            REQUIRE(ledger.home_for(who->partition) == nullptr);
            // A hold that began or ended meanwhile began the wait anew, with the other limit.
            if (ledger.holding()) {
                REQUIRE(now - std::max(who->since, ledger.hold_began()) < limits.hold_timeout);
            } else {
                REQUIRE(now - std::max(who->since, hold_seen) < limits.wait_timeout);
                if (who->may_be_shed && limits.queue_delay > duration::zero()) {
                    const bool overloaded = now - ledger.line_began() >= 10 * limits.queue_delay;
                    REQUIRE((!overloaded || now - std::max(who->since, hold_seen) < limits.queue_delay));
                }
            }
        }
        if (ledger.holding()) {
            hold_seen = now;
            REQUIRE(waiting <= limits.hold_max_waiters);
        }
        REQUIRE(ledger.idle() == idle);
        REQUIRE(ledger.in_use() == busy);
        REQUIRE(ledger.connecting() == logins.size());
        REQUIRE(ledger.waiting() == waiting);
        REQUIRE(ledger.total() == idle + busy + logins.size() + dedicated);
        REQUIRE(idle + busy + logins.size() <= limits.size + limits.reserve_size);
        // Nobody waits while there is room for a connection and one may be opened.
        const bool may_open = !closing && now >= no_login_before && logins.empty();
        if (waiting != 0 && may_open) REQUIRE(ledger.total() >= limits.size);
        if (waiting != 0 && may_open) REQUIRE(idle == 0);
        if (waiting != 0 && may_open && overdue) REQUIRE(ledger.total() >= limits.size + limits.reserve_size);
        if (waiting != 0) REQUIRE(ledger.next_tick() != time_point::max());
    }
};

pool_limits random_limits(std::mt19937& random) {
    pool_limits limits;
    limits.size = 1 + random() % 5;
    limits.min_size = random() % 4;
    limits.reserve_size = random() % 3;
    limits.login_concurrency = 1 + random() % 4;
    limits.reserve_timeout = std::chrono::milliseconds{random() % 2000};
    limits.wait_timeout = std::chrono::milliseconds{1000 + random() % 5000};
    limits.hold_timeout = std::chrono::milliseconds{500 + random() % 3000};
    limits.hold_max_waiters = random() % 14;
    limits.queue_delay = std::chrono::milliseconds{random() % 3 * 60};
    limits.idle_timeout = std::chrono::milliseconds{random() % 3 * 700};
    limits.lifetime = std::chrono::milliseconds{random() % 3 * 2000};
    return limits;
}

}  // namespace

TEST_CASE("pool ledger: whatever happens, its limits and its promises hold") {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        CAPTURE(seed);
        std::mt19937 dice{seed};
        world w{random_limits(dice), seed};
        for (int step = 0; step < 400; ++step) {
            client& who = *w.clients[w.any(w.clients.size())];
            switch (w.any(10)) {
                case 0:
                    w.pass(std::chrono::milliseconds{w.any(400)});
                    break;
                case 1:
                    if (!w.logins.empty()) w.login_over(w.chance(70));
                    break;
                case 2:
                    if (who.where == place::served && w.chance(20)) w.lose(who);
                    break;
                case 3:
                    if (!w.servers.empty() && w.chance(20)) {
                        backend& server = *w.servers[w.any(w.servers.size())];
                        if (server.now == backend::state::idle) w.lose_idle(server);
                    }
                    break;
                case 4:
                    if (w.chance(10)) w.count_dedicated(w.dedicated == 0 ? 1 : -1);
                    break;
                case 5:
                    if (who.where == place::waiting && w.chance(20)) w.withdraw(who);
                    break;
                case 6:
                    if (w.chance(30)) w.reconsider(w.chance(70));
                    if (step > 300 && w.chance(3)) w.close_all();
                    break;
                default:
                    w.pass(1us);  // so that no two began to wait at one time
                    if (who.where == place::served) {
                        w.release(who);
                    } else if (who.where == place::outside) {
                        w.acquire(who, static_cast<partition_id>(w.any(2)));
                    }
                    break;
            }
        }
    }
}

TEST_CASE("pool ledger: without a reserve the size is never exceeded") {
    for (unsigned seed = 1; seed <= 50; ++seed) {
        CAPTURE(seed);
        pool_limits limits;
        limits.size = 3;
        limits.login_concurrency = 8;
        world w{limits, seed};
        for (int step = 0; step < 300; ++step) {
            client& who = *w.clients[w.any(w.clients.size())];
            w.pass(std::chrono::milliseconds{w.any(60)});
            if (!w.logins.empty() && w.chance(50)) w.login_over(true);
            if (who.where == place::served) {
                w.release(who);
            } else if (who.where == place::outside) {
                w.acquire(who, static_cast<partition_id>(w.any(3)));
            }
            REQUIRE(w.ledger.total() <= 3);
        }
    }
}

TEST_CASE("pool ledger: a partition that always has waiters does not starve another") {
    pool_limits limits;
    limits.size = 3;
    world w{limits, 1};
    client& stranger = *w.clients[0];
    duration longest{};
    time_point asked{};
    int served = 0;
    for (int step = 0; step < 4000; ++step) {
        w.pass(5ms);
        if (!w.logins.empty()) w.login_over(true);
        // Eleven clients of partition 0 keep three servers busy for 5 ms each.
        for (std::size_t i = 1; i < w.clients.size(); ++i) {
            if (w.clients[i]->where == place::served) w.release(*w.clients[i]);
            if (w.clients[i]->where == place::outside) w.acquire(*w.clients[i], 0);
            w.pass(1us);
        }
        if (stranger.where == place::served) {
            longest = std::max(longest, w.now - asked);
            ++served;
            w.release(stranger);
        }
        if (stranger.where == place::outside) {
            asked = w.now;
            w.acquire(stranger, 1);
        }
    }
    CHECK(served > 100);
    CHECK(longest < 200ms);
}

TEST_CASE("pool ledger: closing connections for other partitions does not become all it does") {
    pool_limits limits;
    limits.size = 4;
    world w{limits, 3};
    std::size_t hand_overs = 0;
    std::size_t opened = 0;
    for (int step = 0; step < 2000; ++step) {
        w.pass(5ms);
        if (!w.logins.empty()) {
            w.login_over(true);
            ++opened;
        }
        for (std::size_t i = 0; i < w.clients.size(); ++i) {
            client& who = *w.clients[i];
            if (who.where == place::served) {
                ++hand_overs;
                w.release(who);
            }
            if (who.where == place::outside) w.acquire(who, static_cast<partition_id>(i % 2));
            w.pass(1us);
        }
    }
    CHECK(hand_overs > opened * 5);
}
