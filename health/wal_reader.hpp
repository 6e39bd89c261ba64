#pragma once
// Asks a server by the replication protocol whether its WAL still has a record of ours: of all that an
// ordinary role may ask, nothing says so once it has recovered. Needs a role that may replicate. Control
// thread.

#include "health/libpq_link.hpp"
#include "health/wal_record.hpp"

namespace pgmend::health {

struct wal_reading {
    wal_finding what = wal_finding::not_known;
    std::string why;       ///< it is not known, in words
    bool refused = false;  ///< whoever asks may not: asked again it would say the same
};

/// `link` is that of a connection for replication; it is left without one.
boost::asio::awaitable<wal_reading> read_wal(
    libpq_link& link, const wal_question& asked, config::duration timeout
);
/// Whether it could be asked; `what` says nothing.
boost::asio::awaitable<wal_reading> may_read_wal(libpq_link& link, config::duration timeout);

}  // namespace pgmend::health
