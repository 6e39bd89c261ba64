#include "tests/fuzz/proxy_world.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "config/loader.hpp"
#include "protocol/error_response.hpp"

namespace pgmend::fuzz {

namespace {

constexpr pool::readiness any_event{1, 1};
constexpr std::array<const char*, 4> method_words = {"trust", "scram-sha-256", "md5", "password"};

constexpr const char* admins = "PGMEND_ADMIN_USERS";
constexpr const char* onlookers = "PGMEND_ADMIN_STATS_USERS";

/// Made once for each combination: reading settings takes longer than most inputs. `consoles`: the variable
/// that has the user.
const proxy::worker_options& options_for(
    login_method method, std::size_t pool_size, const char* consoles = nullptr
) {
    static std::map<std::tuple<login_method, std::size_t, const char*>, proxy::worker_options> made;
    auto& found = made[{method, pool_size, consoles}];
    if (found.settings) return found;
    config::load_sources sources;
    sources.os_user = "app";
    sources.environment = {
        {"DATABASE_URL", "postgres://app:secret@db1:5432/app?sslmode=disable"},
        {"PGMEND_AUTH_METHOD", method_words[static_cast<std::size_t>(method)]},
        {"PGMEND_USERS", "[{name: app, password: secret}]"},
        {"PGMEND_POOL_SIZE", std::to_string(pool_size)},
    };
    if (consoles != nullptr) sources.environment.emplace(consoles, "app");
    const auto result = config::load(sources);
    for (const auto& error : result.errors)
        std::fprintf(stderr, "settings: %s\n", error.c_str());
    require(result.value != nullptr, "the settings of the world are sound");
    found.settings = result.value;
    found.process_secret = "a secret of the fuzzer";
    proxy::read_live_facts(*found.settings, found.live);
    return found;
}

}  // namespace

// ---- one client

raw_client::raw_client(
    sim::sim_environment& env, sim::sim_network& network, const pool::endpoint& to, plan what
)
    : env_(env), plan_(std::move(what)), left_(plan_.bytes), step_(env, [this] { proceed(); }) {
    questions_ = 1 + count_questions(plan_.bytes);
    stream_ = network.connect(to);
    stream_->watch(*this, any_event);
    stream_->arm(pool::interest::write);
}

raw_client::~raw_client() = default;

void raw_client::close() {
    step_.stop();
    stream_.reset();
}

/// An upper bound that needs no understanding of the stream: bytes that could be the type of a message which
/// ReadyForQuery answers.
std::size_t raw_client::count_questions(std::string_view bytes) {
    return static_cast<std::size_t>(std::count_if(bytes.begin(), bytes.end(), [](char each) {
        return each == 'Q' || each == 'S' || each == 'F';
    }));
}

void raw_client::proceed() {
    if (!stream_) return;
    if (!connected_) {
        const auto result = stream_->connected();
        if (result.status == pool::io_status::would_block) return;
        if (result.status == pool::io_status::error) return close();
        connected_ = true;
    }
    if (!write()) return close();
    read();
    if (stream_)
        stream_->arm(left_.empty() || plan_.piece > 0 ? pool::interest::read : pool::interest::read_write);
}

bool raw_client::write() {
    while (!left_.empty()) {
        const std::size_t count = plan_.piece > 0 ? std::min(plan_.piece, left_.size()) : left_.size();
        const iovec piece{const_cast<char*>(left_.data()), count};
        const auto result = stream_->write_some({&piece, 1});
        if (result.status == pool::io_status::would_block) {
            if (plan_.piece > 0) step_.after(std::chrono::milliseconds(1));
            return true;
        }
        // Refused by a proxy that has hung up: its last words are still to be read.
        if (result.status != pool::io_status::ok) {
            left_ = {};
            return true;
        }
        left_.remove_prefix(result.bytes);
        if (plan_.piece > 0) {
            if (!left_.empty()) step_.after(std::chrono::microseconds(200));
            return true;
        }
    }
    return true;
}

void raw_client::read() {
    std::byte block[16384];
    while (stream_) {
        const auto result = stream_->read_some(block);
        if (result.status == pool::io_status::would_block) return;
        if (result.status != pool::io_status::ok) return close();
        received_ += result.bytes;
        env_.progress();
        input_.append(reinterpret_cast<const char*>(block), result.bytes);
        std::string_view rest = input_;
        // The answer to an SSLRequest is a byte of its own, before the first message.
        while (ready_ == 0 && negotiations_ < 3 && !rest.empty() && rest.front() == 'N' && rest.size() < 5) {
            rest.remove_prefix(1);
            ++negotiations_;
        }
        if (turns_to_tls(rest)) check_records(rest);
        while (!encrypted_ && rest.size() >= 5) {
            framed_ = true;
            const std::size_t size = protocol::load_u32(protocol::as_bytes(rest).data() + 1) + std::size_t{1};
            require(size >= 5, "a client is sent frames");
            if (rest.size() < size) break;
            check(rest.front(), rest.substr(5, size - 5));
            rest.remove_prefix(size);
        }
        input_.erase(0, input_.size() - rest.size());
        if (received_ > reads_at_most) return close();
    }
}

/// A hello as the first byte, or the `S` that answers a request, before any message.
bool raw_client::turns_to_tls(std::string_view& rest) noexcept {
    if (!plan_.hears_tls || encrypted_ || framed_) return encrypted_;
    if (plan_.bytes.starts_with('\x16')) {
        encrypted_ = true;
    } else if (rest.starts_with('S')) {
        rest.remove_prefix(1);
        encrypted_ = true;
    }
    return encrypted_;
}

void raw_client::check_records(std::string_view& rest) {
    constexpr std::size_t longest = 16384 + 256;
    while (rest.size() >= 5) {
        require(rest[0] >= 20 && rest[0] <= 23 && rest[1] == 3, "TLS speaks in records");
        const auto high = static_cast<unsigned char>(rest[3]);
        const std::size_t size = std::size_t{high} * 256 + static_cast<unsigned char>(rest[4]);
        require(size <= longest, "a record has a bounded length");
        if (rest.size() < size + 5) return;
        rest.remove_prefix(size + 5);
    }
}

void raw_client::check(char type, std::string_view body) {
    constexpr std::string_view known = "123ACDEGHIKNRSTVWZcdnstv";
    require(known.find(type) != known.npos, "a client is sent messages it knows");
    require(!farewell_, "nothing follows a FATAL");
    if (type == 'Z') {
        ++ready_;
        errors_ = 0;
        require(ready_ <= questions_, "no more is answered than was asked");
        require(
            body.size() == 1 && std::string_view("ITE").find(body[0]) != std::string_view::npos, "a status"
        );
    }
    if (type != 'E') return;
    farewell_ = protocol::read_error(protocol::as_bytes(body)).fatal();
    if (!farewell_ && plan_.checks_order) require(++errors_ == 1, "one request has one error");
}

// ---- the world

bool later_desk::take(std::shared_ptr<pool::handshake_step> step) noexcept {
    steps_.push_back(std::move(step));
    timer_.at(env_.now() + std::chrono::microseconds(300));
    return true;
}

void later_desk::work() {
    for (const auto& step : std::exchange(steps_, {})) {
        step->run();
        step->give_back();
    }
}

proxy_world::proxy_world(
    std::uint64_t seed, login_method method, std::size_t pool_size,
    std::shared_ptr<const pool::tls_context> towards_clients
)
    : env_(seed), network_(env_) {
    proxy::worker_options options = options_for(method, pool_size);
    options.live.towards_clients = std::move(towards_clients);
    if (seed % 2 == 0) options.handshakes = &desk_;
    begin(std::move(options), false);
}

proxy_world::proxy_world(std::uint64_t seed, bool may_change, proxy::console_port console)
    : env_(seed), network_(env_) {
    proxy::worker_options options = options_for(login_method::trust, 1, may_change ? admins : onlookers);
    options.console = std::move(console);
    begin(std::move(options), true);
}

void proxy_world::begin(proxy::worker_options options, bool same_machine) {
    core_ = std::make_unique<proxy::worker_core>(env_, network_, metrics_, std::move(options));
    network_.listen(
        proxy(), sim::link_group::client, links(),
        [this, same_machine](std::unique_ptr<pool::stream> client) {
            core_->accept(std::move(client), "fuzzed", same_machine);
        }
    );
}

proxy_world::~proxy_world() = default;

sim::link_traits proxy_world::links() {
    sim::link_traits traits;
    traits.latency = std::chrono::microseconds(50);
    traits.buffer = 16384;
    return traits;
}

void proxy_world::add_client(raw_client::plan what) {
    clients_.push_back(std::make_unique<raw_client>(env_, network_, proxy(), std::move(what)));
}

void proxy_world::turn(const std::function<bool()>& until, config::duration at_most) {
    const auto how = env_.run(until, env_.now() + at_most);
    require(how != sim::run_end::spinning, "the loop is not woken without end for nothing");
}

void proxy_world::play(config::duration patience) {
    const auto all = [this](auto holds) {
        return [this, holds] {
            return std::all_of(clients_.begin(), clients_.end(), [&](const auto& each) {
                return holds(*each);
            });
        };
    };
    turn(all([](const raw_client& each) { return each.said_all(); }), std::chrono::minutes(5));
    turn(all([](const raw_client& each) { return !each.open(); }), patience);
}

void proxy_world::close_clients() {
    for (const auto& each : clients_)
        each->close();
}

void proxy_world::check_left() {
    // Who waits for a server does not read, and so sees that its client has left only when it gets one or
    // `pool.wait_timeout` is over; and it waits anew when the server it got was lost before it was of any
    // use.
    const auto left = [this] { return core_->sessions() == 0; };
    turn(left, std::chrono::minutes(10));
    require(left(), "a session ends when its client does");
}

void proxy_world::end() {
    network_.stop_listening(proxy());
    core_->drain();
    core_->kill_all();
    core_->close_pools();
    const auto gone = [this] {
        return core_->quiet() && core_->server_connections() == 0 &&
               network_.open_links(sim::link_group::server) == 0 && env_.subject_timers() == 0;
    };
    turn(gone, std::chrono::minutes(2));
    require(core_->buffers().leased_blocks() == 0, "no buffer stays leased");
    require(gone(), "nothing is left when the proxy has stopped");
}

}  // namespace pgmend::fuzz
