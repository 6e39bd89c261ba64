// The HTTP endpoint over a socket of its own: whatever is sent, the answers are HTTP, bounded, and it still
// answers the next one who asks.

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>

#include "proxy/process/http_endpoint.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

/// The endpoint and its loop, turned by the target itself; made once.
class served {
public:
    served() : endpoint_(control_, providers(), limits()) {
        require(!endpoint_.open("127.0.0.1", 0), "the endpoint listens");
    }

    /// Sends `pieces`, closes the sending side, and returns all that is answered.
    std::string ask(std::string_view first, std::string_view second) {
        const int client = connect_client();
        send_all(client, first);
        control_.poll();
        send_all(client, second);
        shutdown(client, SHUT_WR);
        std::string answer;
        char piece[4096];
        for (int turns = 0; turns < 20'000; ++turns) {
            control_.poll();
            const ssize_t got = recv(client, piece, sizeof piece, MSG_DONTWAIT);
            if (got > 0) answer.append(piece, static_cast<std::size_t>(got));
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
                close_at_once(client);
                return answer;
            }
            require(answer.size() < 1'000'000, "answers are bounded");
            // The kernel may have to be waited for, where others want the processor too.
            pollfd readable{client, POLLIN, 0};
            if (turns > 100) poll(&readable, 1, 1);
        }
        require(false, "a connection whose client has said all it will ends");
        return answer;
    }

private:
    static proxy::http_providers providers() {
        const auto well = [] { return proxy::health_answer{true, "well"}; };
        return {.metrics = [] { return std::string("x 1\n"); }, .startup = well, .live = well, .ready = well};
    }
    static proxy::http_limits limits() { return {.connections = 8, .request_bytes = 1024}; }

    int connect_client() const {
        const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        // Loopback has many addresses: from ever new ones, so that no pair of ports is used up.
        static std::uint32_t connections = 0;
        const int late = 1;
        setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + ++connections % 65'000);
        require(bind(client, reinterpret_cast<sockaddr*>(&from), sizeof from) == 0, "it has an address");
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(endpoint_.port());
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        // The fuzzer's own alarm may interrupt it; then it goes on by itself.
        int problem = connect(client, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
        if (problem == EINTR) {
            pollfd writable{client, POLLOUT, 0};
            while (poll(&writable, 1, -1) < 0 && errno == EINTR) {
            }
            socklen_t size = sizeof problem;
            getsockopt(client, SOL_SOCKET, SO_ERROR, &problem, &size);
        }
        require(problem == 0, "a client connects");
        return client;
    }
    static void send_all(int client, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = send(client, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent <= 0) return;  // it has refused and closed
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    /// Without TIME_WAIT, or the ports would be used up.
    static void close_at_once(int client) {
        const linger at_once{1, 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        ::close(client);
    }

    boost::asio::io_context control_{1};
    proxy::http_endpoint endpoint_;
};

}  // namespace

void http(byte_view input) {
    static served server;
    dice from(input);
    const std::size_t cut = from.u8();
    const std::string_view all = from.rest_text();
    const std::string answer = server.ask(all.substr(0, cut), all.substr(std::min(cut, all.size())));
    require(answer.empty() || answer.starts_with("HTTP/1."), "what is answered is HTTP");
    const std::string after = server.ask("GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "");
    require(after.starts_with("HTTP/1.1 200 OK\r\n"), "the next one is answered");
}

}  // namespace pgmend::fuzz
