#pragma once
// A server connection with everything it needs around it and no network: tests put bytes in and see what is
// made of them.

#include <memory>
#include <string>
#include <string_view>

#include "pool/server_pool.hpp"
#include "tests/support/test_environment.hpp"

namespace pgmend::test {

class no_network final : public pool::network {
public:
    std::unique_ptr<pool::stream> connect(const pool::endpoint&) override { std::terminate(); }
};

class one_endpoint final : public pool::endpoint_source {
public:
    pool::endpoint_choice choose(bool) override { return {pool::endpoint{"127.0.0.1", 5432}}; }
    bool accepts(const pool::endpoint&, const pool::server_connection&) override { return true; }
    config::duration report(const pool::endpoint_choice&, const pool::login_outcome&) override { return {}; }
    std::atomic<config::time_point::rep>* life_sign(const pool::endpoint&) noexcept override {
        return nullptr;
    }
    bool may_serve(const pool::endpoint&) const noexcept override { return true; }
    bool any_serves() const noexcept override { return true; }
    std::uint64_t* served(const pool::endpoint&) noexcept override { return nullptr; }
    std::optional<std::size_t> spare_connections() const noexcept override { return std::nullopt; }
    void broke(const pool::server_connection&) override {}
    void holding(const pool::hold_news&) override {}
    std::string absence() const override { return {}; }
};

/// What has arrived, as a stream that never blocks its writer.
class byte_source final : public pool::stream {
public:
    std::string bytes;
    pool::io_result read_some(std::span<std::byte> into) noexcept override {
        const std::size_t count = std::min(into.size(), bytes.size());
        if (count == 0) return {pool::io_status::would_block};
        std::copy_n(reinterpret_cast<const std::byte*>(bytes.data()), count, into.data());
        bytes.erase(0, count);
        return {pool::io_status::ok, count};
    }
    pool::io_result write_some(std::span<const iovec>) noexcept override { return {pool::io_status::error}; }
    void watch(pool::event_sink&, pool::readiness) noexcept override {}
    void arm(pool::interest) noexcept override {}
    pool::io_result connected() noexcept override { return {pool::io_status::ok}; }
    void close() noexcept override {}
};

struct test_worker {
    test_environment env;
    no_network net;
    one_endpoint endpoints;
    pool::buffer_pool buffers;
    protocol::parameter_store parameters;
    protocol::scram_key_cache scram_keys{1};
    config::metrics::cells metrics;
    pool::gather flight;
    pool::server_pool pool{{env, net, buffers, parameters, scram_keys, metrics, endpoints, flight}, {}, {}};

    std::unique_ptr<pool::server_connection> server(
        std::size_t max_owed = 65536, std::size_t max_statements = 200
    ) {
        auto made = std::make_unique<pool::server_connection>(
            pool, buffers, pool::endpoint{"127.0.0.1", 5432}, max_owed, max_statements
        );
        made->reported = made->settings = made->reported_at_login = parameters.empty();
        return made;
    }
};

/// Moves what is in a flight to the end of `to`.
inline void take_flight(pool::gather& flight, std::string& to) {
    for (const iovec& piece : flight.pieces()) {
        to.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
    flight.clear();
}

/// Puts a reply that is described as a whole into what `server` owes.
inline void push(pool::server_connection& server, protocol::owed_reply what) {
    protocol::owed_reply& slot = server.owed.push(what.kind, what.action);
    what.group = slot.group;
    slot = std::move(what);
}

}  // namespace pgmend::test
