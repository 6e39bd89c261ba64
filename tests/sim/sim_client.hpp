#pragma once
// A simulated client: connects, logs in, plays its script through one connection after the other, and gives
// every answer to its checker. It may be slow, send byte by byte, or vanish in the middle of a message. One
// thread.

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "protocol/scram.hpp"
#include "tests/sim/client_script.hpp"
#include "tests/sim/reply_checker.hpp"
#include "tests/sim/sim_network.hpp"

namespace pgmend::sim {

/// What a client is, as data of a schedule.
struct client_plan {
    std::uint32_t number = 0;  ///< its mark is c<number>
    habit how = habit::simple;
    std::uint64_t seed = 0;
    std::uint32_t exchanges = 5;
    std::uint32_t minor = 0;      ///< it asks for protocol 3.<minor>
    bool asks_option = false;     ///< and for a protocol option that nobody knows
    bool wrong_password = false;  ///< which it notices when it is refused, and has the right one then
    bool more_parameters =
        false;  ///< its startup packet has parameters of any name, at first perhaps bad ones
    std::string conversation = {};  ///< a fixed one, whose name this is, in place of drawn exchanges
    std::uint32_t start_us = 0;
    std::uint32_t write_piece = 0;    ///< bytes it sends at a time; 0: all there is
    std::uint32_t read_pause_us = 0;  ///< it looks away for this long after each read
    std::uint32_t vanish_after =
        0;  ///< bytes sent on its first connection before it closes without a word; 0: never
};

/// What the clients of a run share.
struct client_world {
    sim_environment& env;
    sim_network& network;
    pool::endpoint server;
    judge& court;
    /// From then on connections may be lost.
    time_point first_fault = time_point::max();
    bool verbose = false;
    /// SQLSTATEs that clients were told because of a fault.
    std::set<std::string> told = {};
    /// What clients have seen that not every one sees.
    std::set<std::string> seen = {};
    /// From then on the server may have refused a login of the subject's.
    time_point first_denial = time_point::max();
    /// From then on a server connection may have been silent for longer than anybody waits for notifications.
    time_point first_silence = time_point::max();
    protocol::scram_key_cache scram_keys{16};
    /// Every BackendKeyData so far: none is given twice.
    std::set<std::string> keys = {};

    /// When the last fault is over.
    time_point healed = time_point::max();

    bool faults_began() const noexcept { return env.now() >= first_fault; }
    /// Whether an error can still be a fault's doing: what was broken is found and mended within a minute.
    bool faults_explain() const noexcept {
        return faults_began() && env.now() - std::chrono::minutes(1) <= healed;
    }
};

class sim_client final : private pool::event_sink {
public:
    sim_client(client_world& world, const client_plan& plan);
    ~sim_client();

    void start() { timer_.after(std::chrono::microseconds(plan_.start_us)); }
    bool finished() const noexcept { return phase_ == phase::finished; }
    /// What it waits for, for the report of a run that hangs.
    std::string waiting_for() const;
    /// The checkers of all its connections, which know what the rows must be.
    const std::vector<std::unique_ptr<reply_checker>>& connections() const noexcept { return checkers_; }

private:
    enum class phase : std::uint8_t {
        waiting,  ///< for its time to connect
        connecting,
        logging_in,  ///< startup was sent, ReadyForQuery not yet seen
        running,
        draining,  ///< was told of a failure; leaves, or goes on, at the last ReadyForQuery owed
        leaving,   ///< Terminate is being sent
        finished,
    };
    /// A CancelRequest under way on a connection of its own.
    class canceller;

    static constexpr std::uint32_t connections_max = 60;

    void notify(pool::event_mask) noexcept override { proceed(); }
    void tick();
    void connect();
    void proceed();
    bool read();
    bool write();
    void take(const message& what);
    /// What comes before AuthenticationOk. True when it was about that and is dealt with.
    bool authenticate(const message& what);
    void prove_by_scram(std::uint32_t code, std::string_view data);
    bool has_wrong_password() const noexcept { return plan_.wrong_password && checkers_.size() == 1; }
    void come_in();
    void add_parameters(std::vector<name_value>& parameters);
    void show_parameters();
    void next_step();
    void send_step(const script_step& step);
    void lost(const std::string& how);
    void do_again();
    void after_failure();
    void close_and_retry();
    void arm();
    void say(const std::string& what) const;

    client_world& world_;
    client_plan plan_;
    prng dice_;
    phase phase_ = phase::waiting;
    std::unique_ptr<pool::stream> stream_;
    std::vector<std::unique_ptr<reply_checker>> checkers_;
    std::vector<std::string> given_;  ///< names of parameters that it wants to see
    std::vector<script_step> script_;
    std::size_t step_ = 0;
    std::size_t steps_done_ = 0;  ///< over all connections; what has failed is to be done again
    std::string output_;
    std::size_t written_ = 0;  ///< on this connection
    std::string input_;
    std::size_t input_at_ = 0;
    bool waiting_ = true;  ///< the last step wants its answers before the next one
    bool looking_away_ = false;
    bool paused_ = false;
    std::string refusal_;      ///< SQLSTATE with which its startup parameters are to be refused
    bool challenged_ = false;  ///< it was asked for its password on this connection
    std::unique_ptr<protocol::scram_client> scram_;
    std::unique_ptr<canceller> canceller_;
    world_timer timer_;
    world_timer look_;
};

}  // namespace pgmend::sim
