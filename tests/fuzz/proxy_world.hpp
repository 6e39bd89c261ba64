#pragma once
// The proxy itself, production's worker_core, on the simulated clock and network, with clients made of bytes.
// What stands behind it is the target's affair. One input, one world.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/metrics.hpp"
#include "proxy/worker_core.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/sim/sim_network.hpp"

namespace pgmend::fuzz {

/// How pgmend asks clients who they are.
enum class login_method : std::uint8_t { trust, scram, md5, password };

/// A client that sends what it is given, in pieces of a given size, reads all that comes, and checks that it
/// is what a server may say: whole frames of known types, one error a request, silence after a FATAL, never
/// more answers than questions.
class raw_client final : private pool::event_sink {
public:
    struct plan {
        std::string bytes;
        std::size_t piece = 0;     ///< bytes it sends at a time; 0: all there is
        bool checks_order = true;  ///< whether what stands behind the proxy keeps PostgreSQL's order
        bool hears_tls = false;    ///< answers may turn to TLS, of which only the records are looked at
    };
    raw_client(sim::sim_environment& env, sim::sim_network& network, const pool::endpoint& to, plan what);
    ~raw_client();

    bool open() const noexcept { return stream_ != nullptr; }
    void close();
    /// Everything was sent, or cannot be.
    bool said_all() const noexcept { return !open() || left_.empty(); }
    std::size_t received() const noexcept { return received_; }

private:
    void notify(pool::event_mask) noexcept override { proceed(); }
    void proceed();
    bool write();
    void read();
    void check(char type, std::string_view body);
    bool turns_to_tls(std::string_view& rest) noexcept;
    static void check_records(std::string_view& rest);
    static std::size_t count_questions(std::string_view bytes);

    /// A client that has read so much has seen enough.
    static constexpr std::size_t reads_at_most = 4 << 20;

    sim::sim_environment& env_;
    plan plan_;
    std::string_view left_;
    std::unique_ptr<pool::stream> stream_;
    bool connected_ = false;
    std::string input_;
    std::size_t received_ = 0;
    std::size_t negotiations_ = 0;  ///< first packets that are answered by one byte
    bool framed_ = false;           ///< a message has come in clear
    bool encrypted_ = false;
    std::size_t questions_ = 0;  ///< what may be answered by ReadyForQuery
    std::size_t ready_ = 0;
    std::size_t errors_ = 0;  ///< since the last ReadyForQuery
    bool farewell_ = false;
    sim::world_timer step_;
};

/// Does steps of handshakes a little later, as a thread beside the worker would.
class later_desk final : public pool::handshake_desk {
public:
    explicit later_desk(sim::sim_environment& env) : env_(env), timer_(env, [this] { work(); }) {}
    bool take(std::shared_ptr<pool::handshake_step> step) noexcept override;

private:
    void work();
    sim::sim_environment& env_;
    sim::world_timer timer_;
    std::vector<std::shared_ptr<pool::handshake_step>> steps_;
};

class proxy_world {
public:
    /// With a context, clients may ask for TLS.
    proxy_world(
        std::uint64_t seed, login_method method, std::size_t pool_size,
        std::shared_ptr<const pool::tls_context> towards_clients = nullptr
    );
    /// Of the console, for clients of this machine: whose user may change something, or only look.
    proxy_world(std::uint64_t seed, bool may_change, proxy::console_port console);
    ~proxy_world();

    sim::sim_environment& env() noexcept { return env_; }
    sim::sim_network& network() noexcept { return network_; }
    static pool::endpoint server() { return {"db1", 5432}; }
    static pool::endpoint proxy() { return {"pgmend", 6432}; }
    void add_client(raw_client::plan what);
    /// Runs until every client has said all and had `patience` to be answered.
    void play(config::duration patience);
    void close_clients();
    /// No client is left, so no session may be.
    void check_left();
    /// The proxy stops, and nothing of it may be left.
    void end();

    static sim::link_traits links();

private:
    void begin(proxy::worker_options options, bool same_machine);
    void turn(const std::function<bool()>& until, config::duration at_most);

    sim::sim_environment env_;
    sim::sim_network network_;
    config::metrics::cells metrics_;
    later_desk desk_{env_};
    std::unique_ptr<proxy::worker_core> core_;
    std::vector<std::unique_ptr<raw_client>> clients_;
};

}  // namespace pgmend::fuzz
