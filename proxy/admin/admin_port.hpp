#pragma once
// Between a console, on a worker's thread, and the desk that answers it, on the control thread: a request
// goes one way by post, its ticket comes back the other.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "pool/event_gate.hpp"
#include "proxy/admin/admin_command.hpp"
#include "proxy/admin/admin_table.hpp"

namespace pgmend::proxy {

struct admin_request {
    admin_command command;
    std::string user;  ///< for the log
};

struct admin_answer {
    std::optional<admin_error> error;
    table_rows rows;     ///< of a SHOW
    std::string notice;  ///< goes ahead of the rest; empty: none
    std::string notice_detail;
};

/// One request under way. The console may leave before it is answered.
class admin_ticket {
public:
    admin_ticket(unsigned worker, pool::event_gate& gate, pool::event_mask bit) noexcept
        : worker_(worker), gate_(&gate), bit_(bit) {}
    /// Of somebody on the control thread, who is told there.
    explicit admin_ticket(std::function<void(admin_answer)> taker)
        : worker_(0), gate_(nullptr), bit_(0), taker_(std::move(taker)) {}

    unsigned worker() const noexcept { return worker_; }
    /// Empty: a console's, on its worker's thread.
    const std::function<void(admin_answer)>& taker() const noexcept { return taker_; }

    // The console's thread.
    void leave() noexcept { gate_ = nullptr; }
    void deliver(admin_answer answer) {
        if (gate_ == nullptr) return;
        answer_ = std::move(answer);
        gate_->set(bit_);
    }
    std::optional<admin_answer>& answer() noexcept { return answer_; }

    // Any thread.
    /// Who asked does not want it any more: a wait ends, and what it waited for is taken back.
    void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
    bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

private:
    const unsigned worker_;
    pool::event_gate* gate_;
    const pool::event_mask bit_;
    const std::function<void(admin_answer)> taker_;
    std::optional<admin_answer> answer_;
    std::atomic<bool> cancelled_{false};
};

/// Hands a request to the desk. Called on a worker's thread; the answer comes by a later turn of its loop.
using console_port = std::function<void(admin_request, std::shared_ptr<admin_ticket>)>;

}  // namespace pgmend::proxy
