#pragma once
// One connection to a PostgreSQL server: its stream, what it still owes, what it has prepared, how it is set
// up. Whoever holds it (a session, or the pool that cleans it) drives its traffic; nobody else touches it.
// One worker thread.

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "pool/channel.hpp"
#include "pool/commit_evidence.hpp"
#include "pool/leak_suspects.hpp"
#include "pool/pool_ledger.hpp"
#include "pool/request_record.hpp"
#include "pool/server_state.hpp"
#include "pool/server_statements.hpp"
#include "protocol/parameter_set.hpp"
#include "protocol/reply_digest.hpp"
#include "protocol/reply_queue.hpp"

namespace pgmend::pool {

class server_pool;

/// What a CancelRequest needs, and what the client is told of its backend.
struct backend_key {
    std::uint32_t pid = 0;
    std::vector<std::byte> secret;
};

class server_connection final : public ledger_server, public event_sink {
public:
    server_connection(
        server_pool& owner, buffer_pool& buffers, endpoint to, std::size_t max_owed,
        std::size_t max_statements
    )
        : in(buffers),
          out(buffers),
          owed(max_owed),
          statements(max_statements),
          pool(owner),
          where(std::move(to)) {}

    // Traffic.
    std::unique_ptr<stream> io;
    inbound in;
    outbound out;
    protocol::reply_queue owed;
    /// Bytes of a server message still to come whose header has been dealt with, and whether they are
    /// forwarded.
    std::size_t body_left = 0;
    bool body_forward = false;
    /// Of the client that has it, where its request began with it.
    request_record request;
    /// What that client was shown of the answer.
    protocol::reply_digest shown;
    /// Where that client counts the statement it has sent last, and the one because of which it keeps this
    /// server, as far as that was known when it was sent; 0: none.
    std::uint32_t tally = 0;
    std::uint32_t pinned_by = 0;
    void begin_request(std::size_t most_bytes) noexcept {
        request.begin(most_bytes);
        shown.begin();
        if (evidence) evidence->begin_request();
    }
    /// Of what that client's transactions have become; null while nobody wants to know.
    std::unique_ptr<commit_evidence> evidence;

    // What the server is like now.
    protocol::transaction_status status = protocol::transaction_status::idle;
    const protocol::parameter_set* reported = nullptr;  ///< by ParameterStatus
    const protocol::parameter_set* settings =
        nullptr;  ///< session settings in force beyond its startup values
    const protocol::parameter_set* reported_at_login = nullptr;
    server_statements statements;
    /// Whether it writes nothing for its session's sake: who says so, where it has said so at login. Asked
    /// before it is used for the first time.
    enum class read_only_by : std::uint8_t {
        nobody,
        not_asked,
        server,
        login
    } read_only = read_only_by::nobody;
    backend_key key;
    /// Closed instead of pooled: it had temporary objects, whose traces stay visible, or is not to be
    /// trusted.
    bool close_when_free = false;
    bool broken = false;  ///< protocol out of step, or the stream failed: only closing is left

    /// It is only read from, and not where its client is at home: `reply_sink::refused_write` judges whatever
    /// error it answers with.
    bool standby = false;

    server_pool& pool;
    const endpoint where;
    std::uint64_t id = 0;  ///< for SHOW
    server_state state = server_state::connecting;
    /// Cancel requests on their way to this backend; it changes hands only when they have been seen through.
    std::uint32_t cancels_under_way = 0;
    bool cancel_again = false;              ///< another was asked for meanwhile
    event_sink* cancel_listener = nullptr;  ///< told `on_cancel_over` by whoever waits for that
    event_mask on_cancel_over = 0;
    /// Where it is noted when this server was last heard; null when nobody wants to know.
    std::atomic<config::time_point::rep>* heard = nullptr;
    /// Where it is counted what this server has been through with; null when nobody wants to know.
    std::uint64_t* served = nullptr;
    /// Not read from: what it says proves nothing until it has been asked who it is now.
    bool muted = false;
    /// Its client is told of notifications by a shared connection: see reply_sink::before_ready.
    bool hold_ready = false;
    config::time_point logged_in_at{};
    config::time_point checked_at{};  ///< when it was asked last whether something was left in it
    bool used_since_check = false;
    recent_shapes ran;            ///< since then
    std::uint64_t last_user = 0;  ///< the client that had it last; zero: none

    /// Whether the server reports this parameter as on now.
    bool reports_on(std::string_view name) const noexcept {
        const std::string* value = reported->find(name);
        return value != nullptr && *value == "on";
    }

    /// Readiness while nobody holds it: an idle server that speaks or closes.
    void notify(event_mask bits) noexcept override;
    /// At a point where it may change hands.
    bool at_safe_point() const noexcept {
        return owed.settled() && body_left == 0 && !broken && status == protocol::transaction_status::idle &&
               !owed.in_doubt();
    }
    /// The same, but for a ReadyForQuery that may still come and belongs to nobody.
    bool settled_in_doubt() const noexcept {
        return owed.settled() && body_left == 0 && !broken && status == protocol::transaction_status::idle &&
               owed.in_doubt();
    }
};

}  // namespace pgmend::pool
