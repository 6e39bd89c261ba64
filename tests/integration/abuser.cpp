// Logins that are malformed, wrong or never finished, at a rate, until a line comes on standard input.
//
//     abuser ADDRESS PORT ATTEMPTS_A_SECOND clear|tls
//
// It stands beside clients who are measured, on the same processors, so it costs as little as it can: one
// thread, one wait for all connections, and a TLS of its own (tls_guest.hpp), which makes a server do all of
// a handshake for a small part of its price. It goes on at its rate whether it is answered or not. Ends with
// a line of JSON: how many it made, how many of each kind, how many found no ear, in how many seconds, and
// how many of processor it took.

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tls_guest.hpp"

namespace {

constexpr std::size_t held_open = 100;  // what was made last is left as it is
constexpr std::string_view client_first = "n,,n=,r=clientnonceclientnonce";

std::string number(std::uint32_t value) {
    const std::uint32_t big = htonl(value);
    return {reinterpret_cast<const char*>(&big), sizeof big};
}

std::string numbers(std::initializer_list<std::uint32_t> values) {
    std::string made;
    for (const std::uint32_t value : values)
        made += number(value);
    return made;
}

constexpr std::uint32_t protocol_3_0 = 196608;
const std::string ssl_request = numbers({8, 80877103});

std::string message(char type, const std::string& body) {
    return type + number(static_cast<std::uint32_t>(body.size()) + 4) + body;
}

std::string startup(const std::string& user) {
    using namespace std::string_literals;
    const std::string body = number(protocol_3_0) + "user\0"s + user + "\0database\0app\0\0"s;
    return number(static_cast<std::uint32_t>(body.size()) + 4) + body;
}

std::string sasl(std::string_view data, std::size_t length) {
    using namespace std::string_literals;
    return message('p', "SCRAM-SHA-256\0"s + number(static_cast<std::uint32_t>(length)) + std::string(data));
}

/// What an attempt does: how far it goes into TLS, then what it sends at once; and whether it then answers
/// the server's challenge with a proof that proves nothing.
struct kind {
    enum class tls : std::uint8_t { none, half_way, inside };
    std::string name;
    std::string sends;
    tls secured = tls::none;
    bool guesses = false;
    std::size_t made = 0;
};

std::vector<kind> messages() {
    using namespace std::string_literals;
    const std::string login = startup("app");
    return {
        {"nothing", ""},
        {"length without end", number(8)},
        {"two gigabytes", number(0x7FFFFFFF)},
        {"HTTP", "GET / HTTP/1.1\r\n\r\n"},
        {"zeros", std::string(300, '\0')},
        {"TLS record", "\x16\x03\x01"},
        {"half a startup packet", login.substr(0, 20)},
        {"startup packet", login},
        {"unknown user", startup("nobody") + message('p', std::string(50, 'x'))},
        {"SASL longer than its message", login + sasl("n,,", 1U << 30U)},
        {"client-first", login + sasl(client_first, client_first.size())},
        {"query instead of password", login + message('Q', "SELECT 1\0"s)},
        {"9 kB of parameters", numbers({10000, protocol_3_0}) + "user\0"s + std::string(9000, 'x')},
        {"cancel of nobody", numbers({16, 80877102, 1}) + "1234"},
        {"wrong password", login + sasl(client_first, client_first.size()), kind::tls::none, true},
    };
}

std::vector<kind> all_kinds(const tls_guest_kit* kit) {
    std::vector<kind> kinds = messages();
    if (kit == nullptr) {
        kinds.push_back({"SSLRequest", ssl_request});
        return kinds;
    }
    for (kind& each : kinds) {
        each.name += ", over TLS";
        each.secured = kind::tls::inside;
    }
    kinds.push_back({"SSLRequest", "", kind::tls::half_way});
    kinds.push_back({"half a ClientHello", kit->hello().substr(0, 100), kind::tls::half_way});
    kinds.push_back({"ClientHello", kit->hello(), kind::tls::half_way});
    kinds.push_back({"garbage for a ClientHello", std::string(200, '\0'), kind::tls::half_way});
    kinds.push_back({"ClientHello at once", kit->hello()});
    return kinds;
}

/// One connection. What it waits for is where it is.
class attempt {
public:
    attempt(int descriptor, const kind& what, const tls_guest_kit* kit)
        : descriptor_(descriptor), what_(what), kit_(kit) {
        if (what.secured != kind::tls::none) {
            put(ssl_request);
            return;
        }
        asked_ = true;
        put(what.sends);
    }
    attempt(const attempt&) = delete;
    attempt& operator=(const attempt&) = delete;
    ~attempt() { ::close(descriptor_); }
    int descriptor() const { return descriptor_; }

    /// Reads and answers. False when there is nothing more to come.
    bool go_on() {
        char bytes[16384];
        const auto count = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count < 0) return errno == EAGAIN;
        if (count == 0) return false;
        std::string_view got(bytes, static_cast<std::size_t>(count));
        if (!asked_) {
            asked_ = true;
            if (got[0] != 'S') return false;
            got.remove_prefix(1);
            if (what_.secured == kind::tls::half_way) {
                put(what_.sends);
                return true;
            }
            guest_ = std::make_unique<tls_guest>(*kit_);
            put(kit_->hello());
        }
        if (!guest_) {
            answer_ += got;
        } else {
            const bool was_ready = guest_->ready();
            std::string out;
            if (!guest_->take(got, out, answer_)) return false;
            if (guest_->ready() && !was_ready) out += guest_->sealed(what_.sends);
            put(out);
        }
        if (what_.guesses && !guessed_) guess();
        return true;
    }

private:
    void put(const std::string& bytes) {
        if (!bytes.empty())
            (void)::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    /// The server's challenge is there when its salt is; its nonce stands before it.
    void guess() {
        const std::size_t nonce = answer_.find("r="), salt = answer_.find(",s=");
        if (nonce == std::string::npos || salt == std::string::npos) return;
        guessed_ = true;
        const std::string proof = std::string(42, 'A') + "8=";
        const std::string body = "c=biws," + answer_.substr(nonce, salt - nonce) + ",p=" + proof;
        put(guest_ ? guest_->sealed(message('p', body)) : message('p', body));
    }

    int descriptor_;
    const kind& what_;
    const tls_guest_kit* kit_;
    std::unique_ptr<tls_guest> guest_;
    std::string answer_;
    bool asked_ = false, guessed_ = false;
};

class abuser {
public:
    abuser(const char* address, int port, double rate, bool tls)
        : kit_(tls ? std::make_unique<tls_guest_kit>() : nullptr),
          kinds_(all_kinds(kit_.get())),
          rate_(rate) {
        place_.sin_family = AF_INET;
        place_.sin_port = htons(static_cast<std::uint16_t>(port));
        if (::inet_pton(AF_INET, address, &place_.sin_addr) != 1) std::abort();
        epoll_event told{EPOLLIN, {.ptr = nullptr}};
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &told);
    }

    void run() {
        while (!over_) {
            while (due() <= 0)
                begin();
            epoll_event events[64];
            const int count =
                ::epoll_wait(epoll_, events, 64, static_cast<int>(std::ceil(std::max(due(), 0.0) * 1000)));
            for (int i = 0; i < count; ++i)
                happened(static_cast<attempt*>(events[i].data.ptr));
        }
        seconds_ = since_beginning();
        held_.clear();
    }

    void print() const {
        rusage used{};
        ::getrusage(RUSAGE_SELF, &used);
        const auto seconds = [](const timeval& time) {
            return double(time.tv_sec) + double(time.tv_usec) / 1e6;
        };
        std::printf(
            "{\"made\": %zu, \"failed\": %zu, \"seconds\": %.3f, \"cpu\": %.3f, \"kinds\": {", made_, failed_,
            seconds_, seconds(used.ru_utime) + seconds(used.ru_stime)
        );
        for (const kind& each : kinds_)
            std::printf("%s\"%s\": %zu", &each == &kinds_.front() ? "" : ", ", each.name.c_str(), each.made);
        std::printf("}}\n");
    }

private:
    double since_beginning() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
    }
    /// Seconds until the next attempt.
    double due() const { return double(made_ + failed_) / rate_ - since_beginning(); }

    void begin() {
        kind& next = kinds_[(made_ + failed_) % kinds_.size()];
        const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (descriptor < 0 ||
            ::connect(descriptor, reinterpret_cast<const sockaddr*>(&place_), sizeof place_) != 0) {
            if (descriptor >= 0) ::close(descriptor);
            ++failed_;
            return;
        }
        ++made_;
        ++next.made;
        held_.push_back(std::make_unique<attempt>(descriptor, next, kit_.get()));
        epoll_event watched{EPOLLIN, {.ptr = held_.back().get()}};
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &watched);
        if (held_.size() > held_open) held_.pop_front();
    }

    void happened(attempt* where) {
        if (where == nullptr) {
            over_ = true;
        } else if (!where->go_on()) {
            ::epoll_ctl(epoll_, EPOLL_CTL_DEL, where->descriptor(), nullptr);
        }
    }

    std::unique_ptr<tls_guest_kit> kit_;
    std::vector<kind> kinds_;
    double rate_;
    sockaddr_in place_{};
    int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    std::deque<std::unique_ptr<attempt>> held_;
    std::size_t made_ = 0, failed_ = 0;
    double seconds_ = 0;
    bool over_ = false;
};

}  // namespace

int main(int count, char** words) {
    if (count != 5) return 2;
    abuser all(words[1], std::atoi(words[2]), std::atof(words[3]), std::string_view(words[4]) == "tls");
    std::puts("running");
    std::fflush(stdout);
    all.run();
    all.print();
}
