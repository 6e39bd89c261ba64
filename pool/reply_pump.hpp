#pragma once
// Reads what a server sends, message by message, and sorts it: what belongs to the client goes into a flight
// untouched, what we asked for ourselves goes to the sink, the queue of owed replies is kept. Bodies are
// looked at only where they must be. Used by sessions and by the cleaning of servers alike. Pure but for the
// buffers; one worker thread.

#include <optional>
#include <string>
#include <string_view>

#include "pool/channel.hpp"
#include "pool/server_connection.hpp"
#include "protocol/error_response.hpp"

namespace pgmend::pool {

/// What the pump tells whoever holds the server. Views are valid during the call.
class reply_sink {
public:
    /// A ParameterStatus that is not of our own query: the value that goes on, none when nothing is news.
    virtual std::optional<std::string> reported(std::string_view name, std::string_view value) = 0;
    /// A row of a query we asked for ourselves.
    virtual void own_row(protocol::byte_view body) = 0;
    /// An error; `own` when the query was ours.
    virtual void error(std::string_view sqlstate, std::string_view message, bool fatal, bool own) = 0;
    /// What the client is told instead of the error of something it ran; empty: the server's own words. Valid
    /// until the next call. `last`: nothing of what the server has said behind it goes on.
    virtual protocol::byte_view instead_of(const protocol::error_view&, bool& last) {
        last = false;
        return {};
    }
    /// After an error of our own: the server is to be left, and nothing of what it has said behind it goes
    /// on.
    virtual bool leaving() const { return false; }
    /// The server takes its leave by 57P01, 57P02 or 57P03: an error, or a mere notice before it closes.
    /// True: the sink deals with it, and it is neither shown to the client nor counted as an answer.
    virtual bool farewell(std::string_view sqlstate, std::string_view message, bool is_error) = 0;
    /// The client's prepared `statement` is not on the server any more, or its result has changed there.
    /// `untold`: nothing of this flight has gone to the client. True: the sink sends the group again; its
    /// error and what was skipped by it are shown to nobody.
    virtual bool stale_plan(const protocol::statement_ref& statement, bool untold) = 0;
    /// The server takes no writes (25006), or it is a standby that is read from, with `error`, the whole
    /// message. True: the sink judges it at the end of the group, which must be all that is owed; neither is
    /// shown to the client.
    virtual bool refused_write(protocol::byte_view) { return false; }
    /// CommandComplete of something the client ran.
    virtual void command_complete(std::string_view tag) = 0;
    /// Something the client ran ended otherwise: suspended, or empty.
    virtual void ended_without_tag() {}
    /// ReadyForQuery; `server.status` is up to date.
    virtual void ready() = 0;
    /// A notification: whether it goes on to the client, and as what; its length must stay.
    virtual bool notification(std::span<std::byte>) { return true; }
    /// Where `server.hold_ready` says so: what goes to the client before a ReadyForQuery outside a block; it
    /// stays valid until the flight was sent. `wait`: the message itself is not dealt with yet; pump again.
    virtual protocol::byte_view before_ready(bool& wait) {
        wait = false;
        return {};
    }
    /// An extended message was skipped by the server: the client's map goes back to what it was.
    virtual void undone(protocol::owed_reply& reply) = 0;

protected:
    ~reply_sink() = default;
};

enum class pump_result : std::uint8_t {
    drained,      ///< everything that can be understood has been; more bytes are needed
    flight_full,  ///< send the flight and call again
    violation,    ///< the server does not speak the protocol: close it
};

struct pump_limits {
    std::size_t held_message = 1 << 20;
};

struct pump_step {
    pump_result result;
    std::size_t consumed =
        0;                 ///< of `server.in`; take them out once the flight was sent, it still points there
    std::size_t want = 0;  ///< size of the message that is waited for, 0 when none is begun
};
/// Deals with the bytes in `server.in`. Afterwards send the flight, consume, and `keep()` before anybody else
/// reads.
pump_step pump_replies(
    server_connection& server, reply_sink& sink, gather& flight, protocol::parameter_store& parameters,
    pump_limits limits
);

/// Answers that are ours to give and whose turn has come. False when the flight is full.
bool emit_synthesized(server_connection& server, gather& flight);

}  // namespace pgmend::pool
