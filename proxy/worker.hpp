#pragma once
// A thread that carries clients: its event loop, its listening sockets, its worker_core. The control plane
// talks to it by `post` alone.

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pool/event_loop.hpp"
#include "pool/handshake_helper.hpp"
#include "pool/socket_stream.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

/// A bound socket that all workers accept from. Owned by the server.
struct listening_socket {
    int descriptor = -1;
    bool local = false;  ///< a Unix socket
};

class worker {
public:
    worker(
        config::metrics::cells& metrics, worker_options options, pool::address_book& addresses,
        std::vector<listening_socket> sockets
    );
    ~worker();

    void start();
    /// Any thread: runs on the worker's.
    void post(std::function<void(worker_core&)> work);
    /// Any thread: a client that another worker has accepted is this one's. Owns the descriptor.
    void adopt(int descriptor, std::string peer, bool local);
    /// Stops accepting; returns at once. The sockets must stay open until `has_stopped_accepting`.
    void stop_accepting();
    bool has_stopped_accepting() const noexcept { return deaf_.load(std::memory_order_acquire); }
    /// Ends the loop and waits for the thread.
    void join();
    std::uint64_t turns() const noexcept { return loop_.turns(); }
    /// What `quiet` said last; asked anew with `ask_quiet`.
    bool was_quiet() const noexcept { return quiet_.load(std::memory_order_acquire); }
    /// Clients connected when it was asked last.
    std::size_t clients() const noexcept { return clients_.load(std::memory_order_acquire); }
    /// Asks the worker for both.
    void ask_quiet();

private:
    struct acceptor : pool::loop_watch {
        worker* owner = nullptr;
        listening_socket socket;
        std::uint64_t last_turn = 0;  ///< of the loop, in which somebody came to it
    };
    static void on_accept(pool::loop_watch& watch, std::uint32_t events) noexcept;
    void accept_from(acceptor& from) noexcept;
    void make_room_for_refusal(int listening) noexcept;

    config::metrics::cells& metrics_;
    pool::event_loop loop_;
    pool::socket_network network_;
    pool::handshake_helper handshakes_;
    worker_core core_;
    std::vector<std::unique_ptr<acceptor>> acceptors_;
    int spare_descriptor_ = -1;  ///< given up when there are no others, so that a client can be turned away
    std::atomic<bool> quiet_{false};
    std::atomic<bool> deaf_{false};
    std::atomic<std::size_t> clients_{0};
    std::thread thread_;
};

}  // namespace pgmend::proxy
