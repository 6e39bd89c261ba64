#include "proxy/process/health_check.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace pgmend::proxy {

namespace {

constexpr std::string_view whether_alive = "GET /live HTTP/1.0\r\n\r\n";
constexpr std::string_view whether_started = "GET /startup HTTP/1.0\r\n\r\n";
constexpr std::string_view good = "HTTP/1.0 200";
constexpr int asked_again_after_ms = 20;

/// The answer of one address, or nothing.
std::string ask(const addrinfo& where, std::string_view question) {
    const int descriptor = ::socket(where.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return {};
    const timeval patience{2, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::string answer;
    if (::connect(descriptor, where.ai_addr, where.ai_addrlen) == 0 &&
        ::send(descriptor, question.data(), question.size(), MSG_NOSIGNAL) > 0) {
        char part[512];
        // The status is at the beginning, and an answer to this question is short.
        for (auto got = ::recv(descriptor, part, sizeof part, 0); got > 0 && answer.size() < 4096;
             got = ::recv(descriptor, part, sizeof part, 0)) {
            answer.append(part, static_cast<std::size_t>(got));
        }
    }
    ::close(descriptor);
    return answer;
}

/// Every address once.
std::string ask_once(const config::settings& settings, std::string_view question) {
    const std::string& host = settings.http.host();
    const bool everywhere = host == "*" || host == "0.0.0.0" || host == "::";
    const std::string port = std::to_string(settings.http.port());
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    // Without a name and without AI_PASSIVE these are the loopback addresses, of both families.
    if (::getaddrinfo(everywhere ? nullptr : host.c_str(), port.c_str(), &hints, &found) != 0)
        return "no address for http.host '" + host + "'";
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner{found, &::freeaddrinfo};
    std::string problem = "nobody answers on " + host + ":" + port;
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
        const std::string answer = ask(*at, question);
        // Beast answers a question of HTTP/1.0 in that version.
        if (answer.starts_with(good)) return {};
        if (!answer.empty()) problem = answer.substr(0, answer.find('\r'));
    }
    return problem;
}

}  // namespace

std::string check_health(const config::settings& settings, std::chrono::seconds patience) {
    const std::string_view question = patience.count() > 0 ? whether_started : whether_alive;
    std::string problem = ask_once(settings, question);
    pollfd over{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), POLLIN, 0};
    const itimerspec when{{}, {patience.count(), 0}};
    // All zeros would mean that it never ends.
    const bool asks_again = patience.count() > 0 && ::timerfd_settime(over.fd, 0, &when, nullptr) == 0;
    while (asks_again && !problem.empty() && ::poll(&over, 1, asked_again_after_ms) == 0)
        problem = ask_once(settings, question);
    if (over.fd >= 0) ::close(over.fd);
    return problem;
}

}  // namespace pgmend::proxy
