#pragma once
// Between a session that has lost the answer to its COMMIT, on a worker's thread, and whoever reads a
// server's WAL for it, on the control thread: the question goes one way by post, its ticket comes back the
// other.

#include <functional>
#include <memory>

#include "health/wal_record.hpp"
#include "pool/event_gate.hpp"
#include "pool/stream.hpp"

namespace pgmend::proxy {

/// One question under way. The session may leave before it is answered. Its worker's thread.
class wal_ticket {
public:
    wal_ticket(unsigned worker, pool::event_gate& gate, pool::event_mask bit) noexcept
        : worker_(worker), gate_(&gate), bit_(bit) {}

    unsigned worker() const noexcept { return worker_; }
    void leave() noexcept { gate_ = nullptr; }
    void deliver(health::wal_finding what) {
        answered_ = true;
        what_ = what;
        if (gate_ != nullptr) gate_->set(bit_);
    }
    bool answered() const noexcept { return answered_; }
    health::wal_finding what() const noexcept { return what_; }

private:
    const unsigned worker_;
    pool::event_gate* gate_;
    const pool::event_mask bit_;
    bool answered_ = false;
    health::wal_finding what_ = health::wal_finding::not_known;
};

/// A session's claim to a ticket: it leaves by itself.
class wal_claim {
public:
    wal_claim() = default;
    wal_claim(health::wal_question asked, std::shared_ptr<wal_ticket> ticket) noexcept
        : asked_(std::move(asked)), ticket_(std::move(ticket)) {}
    wal_claim(const wal_claim&) = delete;
    wal_claim& operator=(const wal_claim&) = delete;
    wal_claim(wal_claim&& other) noexcept
        : asked_(std::move(other.asked_)), ticket_(std::exchange(other.ticket_, nullptr)) {}
    wal_claim& operator=(wal_claim&& other) noexcept {
        if (ticket_) ticket_->leave();
        asked_ = std::move(other.asked_);
        ticket_ = std::exchange(other.ticket_, nullptr);
        return *this;
    }
    ~wal_claim() {
        if (ticket_) ticket_->leave();
    }

    bool is_of(const health::wal_question& asked) const noexcept { return ticket_ && asked_ == asked; }
    bool answered() const noexcept { return ticket_ && ticket_->answered(); }
    health::wal_finding what() const noexcept {
        return ticket_ ? ticket_->what() : health::wal_finding::not_known;
    }

private:
    health::wal_question asked_;
    std::shared_ptr<wal_ticket> ticket_;
};

/// Asks the server at `where`.
using wal_port = std::function<
    void(const pool::endpoint& where, health::wal_question asked, std::shared_ptr<wal_ticket> ticket)>;

}  // namespace pgmend::proxy
