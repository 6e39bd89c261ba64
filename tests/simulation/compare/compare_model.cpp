// compare_model: plays the simulated clients' scripts against a real PostgreSQL 15 and against the
// simulator's model of it, and compares the answers. The oracles are only as right as the model; this is what
// the model is held to.
//   compare_model HOST PORT DATABASE USER [SEEDS [HABIT]]    the server must trust; tables kv (k text primary
//   key, v text) and audited (v text), whose trigger sets work_mem to v; roles other and third, which USER
//   may take

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/sim/backend_model.hpp"
#include "tests/sim/client_script.hpp"

namespace {

using namespace pgmend::sim;

constexpr std::size_t exchanges = 4;
constexpr timeval answer_timeout{5, 0};

struct target {
    sockaddr_in address{};
    std::string database;
    std::string user;
};

/// What must agree of a message: errors by severity and code, descriptions by the number of columns (the
/// model has one type), the rest to the byte.
std::string essence(const message& what) {
    const std::string type(1, what.type);
    if (what.type == 'E' || what.type == 'N') {
        const auto fields = read_error(what.body);
        return type + " " + fields.severity + " " + fields.code;
    }
    if (what.type == 'T' || what.type == 't' || what.type == 'H' || what.type == 'G') {
        return type + " of " + std::to_string(static_cast<unsigned char>(what.body[1]));
    }
    return type + " " + what.body;
}

/// Their place means nothing, and they carry what is each server's own.
bool is_own(const message& what) {
    return what.type == 'S' || what.type == 'A' || what.type == 'K' || what.type == 'R';
}

/// A connection to the real server that blocks.
class real_session {
public:
    real_session(const target& to, const std::vector<name_value>& parameters)
        : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &answer_timeout, sizeof answer_timeout);
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to.address), sizeof to.address) != 0) {
            std::perror("compare_model: connect");
            std::exit(2);
        }
        send(frontend::startup(parameters));
        for (auto next = receive(); next && next->type != 'Z'; next = receive()) {
        }
    }
    real_session(const real_session&) = delete;
    real_session& operator=(const real_session&) = delete;
    ~real_session() { ::close(socket_); }

    void send(const std::string& bytes) {
        for (std::size_t sent = 0; sent < bytes.size();) {
            const auto count = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) return;
            sent += static_cast<std::size_t>(count);
        }
    }
    /// Nothing when the server is silent or gone.
    std::optional<message> receive() {
        for (;;) {
            if (auto next = next_message(input_, at_)) return next;
            input_.erase(0, std::exchange(at_, 0));
            char block[65536];
            const auto count = ::recv(socket_, block, sizeof block, 0);
            if (count <= 0) return std::nullopt;
            input_.append(block, static_cast<std::size_t>(count));
        }
    }

private:
    int socket_;
    std::string input_;
    std::size_t at_ = 0;
};

void feed(backend_model& model, const std::string& bytes) {
    std::size_t at = 0;
    model.receive(*next_message(bytes, at));
    model.run_through();
}

/// Compares the answers to one script; prints the first difference.
bool agree(const target& to, habit how, std::uint64_t seed) {
    prng dice(seed);
    std::vector<name_value> parameters = {{"user", to.user}, {"database", to.database}};
    std::map<std::string, std::string> defaults = {{"session_authorization", to.user}};
    for (const auto& [name, value] : draw_startup(how, dice)) {
        parameters.emplace_back(name, value);
        const std::string canonical = *canonical_parameter(name);
        defaults[canonical] = *canonical_value(canonical, value);
    }
    // The tag carries the process id, so that keys of an earlier comparison are not in the way.
    const std::string tag = "c" + std::to_string(::getpid()) + "." + std::to_string(seed);
    sim_database database;
    backend_model model(database, 1, "key!", defaults);
    model.welcome();
    model.out.clear();
    real_session real(to, parameters);
    std::string said;
    for (const auto& step : write_script(how, dice, tag, exchanges)) {
        for (const auto& bytes : step.messages) {
            std::size_t at = 0;
            said += "    " + describe(*next_message(bytes, at)) + "\n";
            feed(model, bytes);
            real.send(bytes);
        }
        if (!step.wait) continue;
        std::size_t at = 0;
        while (const auto wanted = next_message(model.out, at)) {
            if (is_own(*wanted)) continue;
            auto got = real.receive();
            while (got && is_own(*got))
                got = real.receive();
            if (got && essence(*got) == essence(*wanted)) continue;
            std::printf(
                "%s, seed %llu:\n%s", std::string(to_string(how)).c_str(),
                static_cast<unsigned long long>(seed), said.c_str()
            );
            std::printf(
                "  the model says {%s}, PostgreSQL {%s}\n", describe(*wanted).c_str(),
                got ? describe(*got).c_str() : "nothing"
            );
            return false;
        }
        model.out.clear();
    }
    return true;
}

}  // namespace

int main(int count, char** words) {
    if (count < 5) {
        std::fprintf(stderr, "usage: compare_model HOST PORT DATABASE USER [SEEDS [HABIT]]\n");
        return 2;
    }
    target to;
    to.address.sin_family = AF_INET;
    to.address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[2])));
    ::inet_pton(AF_INET, words[1], &to.address.sin_addr);
    to.database = words[3];
    to.user = words[4];
    const std::uint64_t seeds = count > 5 ? std::stoull(words[5]) : 20;
    std::size_t passed = 0;
    std::size_t failed = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        for (std::size_t how = 0; how < habits_count; ++how) {
            if (count > 6 && to_string(static_cast<habit>(how)) != words[6]) continue;
            ++(agree(to, static_cast<habit>(how), seed * habits_count + how) ? passed : failed);
        }
    }
    std::printf("%zu passed, %zu failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
