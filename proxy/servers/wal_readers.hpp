#pragma once
// Reads servers' WAL for sessions that have lost the answer to a COMMIT: one question at a time at each
// server, as connections for replication are few, and none for a while where they are refused. Control
// thread.

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "health/wal_reader.hpp"
#include "pool/stream.hpp"
#include "proxy/session/protection.hpp"

namespace pgmend::proxy {

class wal_readers {
public:
    /// A connection for replication to the server; null where it is none that is known.
    using link_maker = std::function<std::unique_ptr<health::libpq_link>(const pool::endpoint& where)>;
    using answer = std::function<void(health::wal_finding what)>;

    wal_readers(boost::asio::io_context& control, config::time_point (*clock)(), link_maker make);
    wal_readers(const wal_readers&) = delete;
    wal_readers& operator=(const wal_readers&) = delete;
    ~wal_readers();

    /// `told` is called once, later. It is not known where the server cannot be asked, or too many wait.
    void ask(const pool::endpoint& where, health::wal_question asked, answer told);
    /// Whether it can be asked, as was seen last; looks again where that is a while ago. `user` is left out.
    wal_access access(const pool::endpoint& where);
    /// Rights may have changed: what was refused is asked for again.
    void look_again();

private:
    struct waiting {
        health::wal_question asked;
        answer told;
    };
    struct line {
        std::string server;
        pool::endpoint where;
        std::deque<waiting> questions;
        config::time_point refused_until{};
        std::optional<bool> works;
        std::string why = "it was not asked yet";
        config::time_point looked_at{};
        bool looking = false;
    };
    std::shared_ptr<line> line_of(const pool::endpoint& where);
    boost::asio::awaitable<void> look(std::shared_ptr<line> at);
    void note(line& at, const health::wal_reading& reading);
    boost::asio::awaitable<void> serve(std::shared_ptr<line> at);

    boost::asio::io_context& control_;
    config::time_point (*clock_)();
    link_maker make_;
    std::map<pool::endpoint, std::shared_ptr<line>> lines_;
};

}  // namespace pgmend::proxy
