#pragma once
// The seam between the control plane and whoever names the servers: asks again and again, and hands over each
// good list. What it hands over is a hint; who is alive and who is the primary the monitor finds out. Control
// thread.

#include <chrono>
#include <functional>
#include <string>

#include "health/server_directory.hpp"

namespace pgmend::proxy {

/// What becomes of asking.
struct finder_orders {
    /// A good list, best first; at least one server.
    std::function<void(const health::named_list&)> named;
    /// No answer, or one that is refused: what was known stays. `failed` is for the former.
    std::function<void(bool failed, const std::string& why)> kept;
};

class server_finder {
public:
    virtual ~server_finder() = default;
    /// Begins to ask; the control thread must run.
    virtual void start() = 0;
    virtual void stop() = 0;
    /// Asks soon: there is no primary, or somebody wants to know. Not more often than each second.
    virtual void hurry() = 0;
    /// It has been asked once, with whatever outcome.
    virtual bool settled() const noexcept = 0;
};

}  // namespace pgmend::proxy
