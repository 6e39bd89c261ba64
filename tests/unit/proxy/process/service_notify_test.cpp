// What the service manager hears, and when it hears nothing.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "proxy/process/service_notify.hpp"

using namespace pgmend;
using namespace std::chrono_literals;

namespace {

/// The other end of $NOTIFY_SOCKET, at an abstract address of this process's own.
class manager {
public:
    manager() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        const std::string name = "@pgmend-notify-" + std::to_string(::getpid());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path + 1, name.data() + 1, name.size() - 1);
        const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
        REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), length) == 0);
        ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
        ::setenv("WATCHDOG_USEC", "20000", 1);
        ::unsetenv("WATCHDOG_PID");
    }
    manager(const manager&) = delete;
    manager& operator=(const manager&) = delete;
    ~manager() {
        ::close(socket_);
        ::unsetenv("NOTIFY_SOCKET");
        ::unsetenv("WATCHDOG_USEC");
    }

    /// Nothing more goes in until somebody listens.
    void fill() const {
        const int other = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        socklen_t length = sizeof address;
        REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
        while (::sendto(other, "X", 1, 0, reinterpret_cast<const sockaddr*>(&address), length) == 1) {
        }
        ::close(other);
    }

    /// All that comes up to this, which has to come soon.
    std::vector<std::string> heard_until(const std::string& last) const {
        std::vector<std::string> all;
        pollfd readable{socket_, POLLIN, 0};
        while ((all.empty() || all.back() != last) && ::poll(&readable, 1, 30'000) == 1) {
            for (auto& each : heard())
                all.push_back(std::move(each));
        }
        return all;
    }

    /// All that has come; empty when nothing has.
    std::vector<std::string> heard() const {
        std::vector<std::string> all;
        char text[512];
        for (ssize_t length = 0; (length = ::recv(socket_, text, sizeof text, 0)) > 0;)
            all.emplace_back(text, static_cast<std::size_t>(length));
        return all;
    }

private:
    int socket_;
};

}  // namespace

TEST_CASE("service_notify: the watchdog is not fed while a worker stands still") {
    const manager other;
    boost::asio::io_context control;
    proxy::service_notify notify{control};
    bool alive = false;
    notify.ready([&alive] { return alive; });
    control.run_for(200ms);  // ten times the time after which the manager would act
    REQUIRE(other.heard() == std::vector<std::string>{"READY=1\n"});
    alive = true;
    std::vector<std::string> heard;
    while (heard.empty()) {
        control.run_one();
        heard = other.heard();
    }
    REQUIRE(heard.front() == "WATCHDOG=1\n");
}

TEST_CASE("service_notify: who hands the service over says who has it, and nothing more") {
    const manager other;
    boost::asio::io_context control;
    proxy::service_notify notify{control};
    notify.ready([] { return true; });
    (void)other.heard();
    notify.hand_over(4711);
    notify.stopping();
    control.run_for(100ms);
    REQUIRE(other.heard() == std::vector<std::string>{"MAINPID=4711\n"});
}

TEST_CASE("service_notify: a watchdog of another process is not fed") {
    const manager other;
    ::setenv("WATCHDOG_PID", "1", 1);
    boost::asio::io_context control;
    proxy::service_notify notify{control};
    notify.ready([] { return true; });
    control.run_for(100ms);
    ::unsetenv("WATCHDOG_PID");
    REQUIRE(other.heard() == std::vector<std::string>{"READY=1\n"});
}

TEST_CASE("service_notify: a manager that is busy is waited for, and gets everything") {
    const manager other;
    boost::asio::io_context control;
    proxy::service_notify notify{control, 30s};
    other.fill();
    std::vector<std::string> heard;
    std::thread listens{[&other, &heard] {
        ::poll(nullptr, 0, 50);  // how busy it is
        heard = other.heard_until("BARRIER=1\n");
    }};
    notify.store(STDIN_FILENO, "left_behind");
    notify.forget("clients_own");
    const bool settled = notify.settle();
    listens.join();
    CHECK(settled);
    REQUIRE(heard.size() > 3);
    CHECK(heard[heard.size() - 3] == "FDSTORE=1\nFDNAME=left_behind\n");
    CHECK(heard[heard.size() - 2] == "FDSTOREREMOVE=1\nFDNAME=clients_own\n");
}

TEST_CASE("service_notify: what a deaf manager has missed is known, until it hears again") {
    const manager other;
    boost::asio::io_context control;
    proxy::service_notify notify{control, 20ms};
    other.fill();
    notify.store(STDIN_FILENO, "left_behind");
    CHECK_FALSE(notify.settle());
    (void)other.heard();
    // It has room again, and does not get to the barrier.
    CHECK_FALSE(notify.settle());
    REQUIRE(other.heard() == std::vector<std::string>{"BARRIER=1\n"});
}

TEST_CASE("service_notify: a message that got lost is not made good by those that follow") {
    const manager other;
    boost::asio::io_context control;
    proxy::service_notify notify{control, 20ms};
    other.fill();
    notify.store(STDIN_FILENO, "left_behind");
    (void)other.heard();
    notify.store(STDIN_FILENO, "clients_own");
    CHECK_FALSE(notify.settle());
    REQUIRE(other.heard().front() == "FDSTORE=1\nFDNAME=clients_own\n");
}

TEST_CASE("service_notify: without a manager nothing settles") {
    boost::asio::io_context control;
    proxy::service_notify notify{control};
    CHECK_FALSE(notify.listening());
    CHECK_FALSE(notify.settle());
}
