#include "proxy/worker.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "config/log.hpp"

namespace pgmend::proxy {

namespace {

constexpr int accepts_per_turn = 32;

worker_options with_desk(worker_options options, pool::handshake_desk& desk) {
    options.handshakes = &desk;
    return options;
}

int open_spare() noexcept { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

worker::worker(
    config::metrics::cells& metrics, worker_options options, pool::address_book& addresses,
    std::vector<listening_socket> sockets
)
    : metrics_(metrics),
      network_(loop_, addresses, {}),
      handshakes_(loop_),
      core_(loop_, network_, metrics, with_desk(std::move(options), handshakes_)),
      spare_descriptor_(open_spare()) {
    for (const auto& socket : sockets) {
        auto made = std::make_unique<acceptor>();
        made->ready = &on_accept;
        made->owner = this;
        made->socket = socket;
        // Linux gives an accepted connection the options of the socket it came to.
        if (!socket.local) pool::apply_options(socket.descriptor, {});
        if (const int error = loop_.add(socket.descriptor, EPOLLIN | EPOLLEXCLUSIVE, *made); error != 0) {
            throw std::system_error(error, std::generic_category(), "listening socket");
        }
        acceptors_.push_back(std::move(made));
    }
}

worker::~worker() {
    if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
}

void worker::start() {
    thread_ = std::thread{[this] {
        ::prctl(PR_SET_NAME, "pgmend-worker", 0, 0, 0);
        if (const std::size_t bytes = core_.options().ring_bytes; bytes != 0) {
            // It is this thread's alone, so it cannot be had before.
            if (const std::string why = loop_.use_ring(bytes); !why.empty())
                log::warning(
                    "relay_engine", {{"engine", "epoll"}, {"worker", core_.options().index}, {"reason", why}}
                );
        }
        core_.users().prepare();
        loop_.run();
    }};
}

void worker::post(std::function<void(worker_core&)> work) {
    loop_.post([this, work = std::move(work)] { work(core_); });
}

void worker::stop_accepting() {
    loop_.post([this] {
        for (const auto& from : acceptors_) {
            loop_.remove(from->socket.descriptor, *from);
        }
        acceptors_.clear();
        deaf_.store(true, std::memory_order_release);
    });
}

void worker::ask_quiet() {
    loop_.post([this] {
        clients_.store(core_.sessions(), std::memory_order_release);
        quiet_.store(core_.quiet(), std::memory_order_release);
    });
}

void worker::join() {
    loop_.stop();
    if (thread_.joinable()) thread_.join();
}

void worker::on_accept(pool::loop_watch& watch, std::uint32_t) noexcept {
    auto& self = static_cast<acceptor&>(watch);
    self.owner->accept_from(self);
}

/// To ask once more mostly finds nobody, at half the price of finding somebody. Who has come meanwhile lets
/// the loop turn at once; then all who stand in line are taken together.
void worker::accept_from(acceptor& from) noexcept {
    const std::uint64_t turn = loop_.turns();
    const bool crowd = std::exchange(from.last_turn, turn) + 1 == turn;
    for (int i = 0; i < (crowd ? accepts_per_turn : 1); ++i) {
        sockaddr_storage address{};
        socklen_t length = sizeof address;
        const int descriptor = ::accept4(
            from.socket.descriptor, reinterpret_cast<sockaddr*>(&address), &length,
            SOCK_NONBLOCK | SOCK_CLOEXEC
        );
        if (descriptor < 0) {
            if (errno == EMFILE || errno == ENFILE) make_room_for_refusal(from.socket.descriptor);
            if (errno == ECONNABORTED || errno == EINTR) continue;
            return;
        }
        const worker_options& options = core_.options();
        const unsigned whose = options.clients ? options.clients->place(options.index) : options.index;
        if (whose != options.index) {
            options.hand_over(whose, descriptor, pool::address_text(address), from.socket.local);
            continue;
        }
        core_.accept(
            pool::make_socket_stream(loop_, descriptor, false), pool::address_text(address), from.socket.local
        );
    }
}

void worker::adopt(int descriptor, std::string peer, bool local) {
    loop_.post([this, descriptor, peer = std::move(peer), local]() mutable {
        core_.accept(pool::make_socket_stream(loop_, descriptor, false), std::move(peer), local);
    });
}

/// Without a descriptor left the listening socket would stay readable for ever: accept one client and turn it
/// away.
void worker::make_room_for_refusal(int listening) noexcept {
    metrics_.clients_refused.add(config::metrics::refusal::descriptors);
    log::error("no_descriptors_left", {});
    if (spare_descriptor_ >= 0) ::close(spare_descriptor_);
    const int descriptor = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor >= 0) ::close(descriptor);
    spare_descriptor_ = open_spare();
    errno = EMFILE;
}

}  // namespace pgmend::proxy
