#pragma once
// The seam between the monitor and a server: one look. Production asks by libpq; tests answer what they like.
// Control thread.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "health/observation.hpp"

namespace pgmend::health {

class prober {
public:
    virtual ~prober() = default;
    /// Looks at the server once; ends within `timeout`.
    virtual boost::asio::awaitable<observation> probe(config::duration timeout) = 0;
    /// Parks on `timer` until it expires, is cancelled, or the server ends the standing connection. True in
    /// the last case: the server is gone or has thrown us out.
    virtual boost::asio::awaitable<bool> idle(boost::asio::steady_timer& timer) = 0;
};

}  // namespace pgmend::health
