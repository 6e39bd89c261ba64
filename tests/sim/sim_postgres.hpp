#pragma once
// A simulated PostgreSQL server: listens in the simulated network, runs one backend_model a connection with
// the blocking habits of a real backend (it does not read while it executes or cannot write), takes
// CancelRequests, restarts. The oracles look into it. One thread.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/backend_model.hpp"
#include "tests/sim/sim_network.hpp"

namespace pgmend::sim {

class sim_postgres;

/// One connection of a server, from its accept to its end.
class sim_server_connection final : private pool::event_sink {
public:
    sim_server_connection(sim_postgres& server, std::unique_ptr<pool::stream> stream);

    /// Takes what may be done now: sends, executes, reads.
    void proceed();
    void terminate(const std::string& code, const std::string& text);
    /// Dies without a word, as after SIGKILL.
    void crash();

    bool over() const noexcept { return over_; }
    /// A session whose other end is not closed: what its owner counts as a connection, while a Terminate may
    /// still be under way on others.
    bool in_use();
    /// After login.
    const backend_model* backend() const noexcept { return backend_ ? &*backend_ : nullptr; }
    backend_model* backend() noexcept { return backend_ ? &*backend_ : nullptr; }

private:
    /// A real backend gathers its output in a buffer of this size.
    static constexpr std::size_t output_buffer = 8192;

    void notify(pool::event_mask) noexcept override { proceed(); }
    bool send();
    bool read();
    bool take_first_packet();
    void start_session(protocol::byte_reader body, std::uint32_t version);
    bool step();
    void end();

    sim_postgres& server_;
    std::unique_ptr<pool::stream> stream_;
    std::string input_;
    std::size_t input_at_ = 0;
    std::string greeting_;  ///< answers before the session exists
    std::size_t sent_ = 0;  ///< of backend_->out or greeting_
    std::optional<backend_model> backend_;
    bool closing_ = false;
    bool over_ = false;
    world_timer sleep_;
};

class sim_postgres {
public:
    struct options {
        pool::endpoint at{"db1", 5432};
        std::size_t max_connections = 100;
        bool verbose = false;  ///< print each message that arrives
        /// This server is the standby of that one, which outlives it. It replays at once: both have one
        /// database.
        sim_postgres* primary = nullptr;
    };
    sim_postgres(sim_environment& env, sim_network& network, const link_traits& traits, options how);
    ~sim_postgres();

    /// All sessions end with 57P01 (`orderly`) or without a word; nobody gets in until `until`.
    void restart(bool orderly, time_point until);
    /// Its standby takes over: this server dies, and is a standby of the other one when it is back, `until`.
    void fail_over(time_point until);
    bool is_starting() const noexcept { return env_.now() < starting_until_; }
    bool is_standby() const noexcept { return standby_; }
    /// Until then every login fails, as with a wrong password.
    void deny_logins(time_point until) noexcept { denied_until_ = std::max(denied_until_, until); }
    /// Ends the session of one connection, counted among the living ones.
    void terminate_one(std::size_t pick);
    /// The same by pid; says whether there was such a session.
    bool terminate_pid(session_id pid);

    sim_database& database() noexcept { return database_; }
    const pool::endpoint& at() const noexcept { return options_.at; }
    std::size_t connections() const;
    /// The most sessions that were in use at one time.
    std::size_t connections_peak() const noexcept { return peak_; }
    std::uint64_t cancels() const noexcept { return cancels_; }
    /// What sessions keep that waits between requests: open transactions, temporary tables and so on.
    std::vector<std::string> traces() const;

private:
    friend class sim_server_connection;
    void accept(std::unique_ptr<pool::stream> stream);
    void session_started();
    void cancel(std::uint32_t pid, std::string_view key);
    std::uint32_t new_pid() noexcept { return pids_ += 1 + static_cast<std::uint32_t>(env_.dice().below(7)); }
    /// Something changed that concerns others: a lock is free, a notification came, a connection is over.
    void stir() { stirred_.at(env_.now()); }
    void stir_all();
    void stir_now();

    sim_environment& env_;
    sim_network& network_;
    options options_;
    sim_database own_database_;
    sim_database& database_;
    sim_postgres* peer_ = nullptr;
    bool standby_ = false;
    std::vector<std::unique_ptr<sim_server_connection>> connections_;
    std::size_t peak_ = 0;
    std::uint64_t cancels_ = 0;
    std::uint32_t pids_ = 1000;
    time_point starting_until_{};
    time_point denied_until_{};
    world_timer stirred_;
};

}  // namespace pgmend::sim
