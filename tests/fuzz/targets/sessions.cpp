// A hostile client, from its first byte on, through the whole proxy to the model of PostgreSQL; beside it a
// well-behaved one that must notice nothing.

#include "tests/fuzz/proxy_world.hpp"
#include "tests/fuzz/relay_input.hpp"
#include "tests/sim/sim_client.hpp"
#include "tests/sim/sim_postgres.hpp"

namespace pgmend::fuzz {

namespace {

/// First packets a client might begin with; most of them good, or the rest of the input would be for nothing.
std::string drawn_first_packet(dice& from) {
    const auto packet = [](std::uint32_t code, const std::string& rest) {
        return test::u32(static_cast<std::uint32_t>(rest.size() + 8)) + test::u32(code) + rest;
    };
    constexpr std::uint32_t three = 196608;
    const std::string app = test::z("user") + test::z("app") + test::z("database") + test::z("app");
    switch (from.below(16)) {
        case 0:
            return packet(80877103, "") + packet(three, app + '\0');
        case 1:
            return packet(80877104, "") + packet(80877103, "") + packet(three, app + '\0');
        case 2: {
            const std::string pid = test::u32(from.u8());
            return packet(80877102, pid + std::string(from.short_text()));
        }
        case 3:
            return std::string(from.short_text());
        case 4:
            return packet(three + from.u8(), app + test::z("_pq_.x") + test::z("1") + '\0');
        case 5: {
            const std::string name = test::z(from.coin() ? "DateStyle" : "options");
            return packet(three, app + name + test::z(from.short_text()) + '\0');
        }
        case 6:
            return packet(three, test::z("user") + test::z(from.short_text()) + '\0');
        case 7:
            return packet(
                three, app + test::z("replication") + test::z(from.coin() ? "database" : "true") + '\0'
            );
        default:
            return packet(three, app + '\0');
    }
}

/// What answers a question for a password; good ones where a fixed one can be.
std::string drawn_answer(dice& from, login_method method) {
    if (method == login_method::trust) return {};
    if (method == login_method::password && from.coin()) return test::message('p', test::z("secret"));
    if (method == login_method::scram && from.coin()) {
        const std::string first = "n,,n=,r=abcdefgh";
        return test::message(
                   'p', test::z("SCRAM-SHA-256") + test::u32(static_cast<std::uint32_t>(first.size())) + first
               ) +
               test::message('p', from.short_text());
    }
    return test::message('p', from.short_text());
}

}  // namespace

void sessions(byte_view input) {
    dice from(input);
    const std::uint8_t shape = from.u8();
    // Most inputs are let in without being asked.
    const auto method = static_cast<login_method>((shape & 7U) < 4 ? shape & 3U : 0);
    proxy_world world(from.u8(), method, 1 + (shape >> 3 & 1U));
    sim::sim_postgres server(world.env(), world.network(), proxy_world::links(), {proxy_world::server()});

    raw_client::plan hostile;
    hostile.piece = (shape & 16U) != 0 ? 1 + from.u8() : 0;
    hostile.bytes = drawn_first_packet(from);
    hostile.bytes += drawn_answer(from, method);
    hostile.bytes += (shape & 32U) != 0 ? std::string(from.rest_text()) : drawn_requests(from, 60);
    world.add_client(std::move(hostile));

    sim::judge court;
    sim::client_world shared{world.env(), world.network(), proxy_world::proxy(), court};
    sim::client_plan honest;
    honest.number = 1;
    honest.how = sim::habit::named_flush;
    honest.seed = shape;
    honest.exchanges = 3;
    honest.start_us = 300;
    sim::sim_client neighbour(shared, honest);
    if (method == login_method::trust) neighbour.start();

    world.play(std::chrono::seconds(20));
    world.close_clients();
    const auto finished = [&] { return neighbour.finished() || court.convicted(); };
    if (method == login_method::trust) {
        world.env().run(finished, world.env().now() + std::chrono::minutes(2));
        if (court.convicted()) std::fprintf(stderr, "%s\n", court.first()->text.c_str());
        require(!court.convicted() && neighbour.finished(), "a neighbour notices nothing");
    }
    world.check_left();
    world.end();
}

}  // namespace pgmend::fuzz
