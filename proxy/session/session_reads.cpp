// The part of client_session that reads from standbys (HEALING section 8, reads.mode). What may go there is
// decided before a server is taken; then the standby gets these messages and nothing behind them. Where it is
// lost, or answers with an error, the primary carries them out; of what was shown all must come out the same,
// as after any loss. The client goes on being told of the primary alone.

#include <algorithm>
#include <array>

#include "config/log.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

/// While there is no primary, and no standby will do yet: what changes that is no news of its own.
constexpr auto look_again_after = std::chrono::milliseconds{100};

}  // namespace

/// The client may read from standbys, by connections of `from`.
void client_session::may_read(
    pool::server_pool& from, std::string_view partition_key, const pool::startup_parameters& startup
) {
    reads_ = true;
    standby_reader& reader = worker_.reads().add(id_, from, gate_, worker_.settings().reads.mode());
    reader.partition = from.partition(partition_key, startup);
}

/// It is all that goes to that server: what stands behind it is looked at when the server has been given
/// back.
bool client_session::standby_has_request() const noexcept {
    return on_standby() && !requests_.mid_request() && !server_->owed.group_open() &&
           !server_->request.bytes().empty();
}

/// Where what is in front goes; nothing where that is no question.
std::optional<read_route> client_session::route_now(standby_reader& reader) {
    read_facts facts;
    facts.mode = reader.mode;
    facts.primary_there = worker_.cluster().any_serves();
    if (facts.mode == config::read_mode::prefer_primary && facts.primary_there) return std::nullopt;
    facts.front = requests_.what_keeps_at_primary(in_.bytes());
    // What a standby refuses is carried out once more, from the record.
    if (in_.size() > worker_.settings().retry.max_bytes().bytes) facts.front = read_route::not_alone;
    const auto* catalog = requests_.catalog();
    facts.plain_session = facts_.pins.empty() && !facts_.unverified() && !listening_ &&
                          !requests_.materialized() && requests_.block() == request_relay::lost_block::none;
    facts.judged = catalog != nullptr && !catalog->stale() &&
                   (!facts.primary_there || !catalog->due(worker_.env().now()));
    if (!mishap_) reader.refused_there = false;
    facts.lost = mishap_ != nullptr;
    facts.refused = reader.refused_there || replaying() || resolving() ||
                    (mishap_ && (mishap_->ghost || mishap_->writes));
    facts.caught_up = worker_.reads().source.any_has(reader.wrote_at());
    facts.standbys = worker_.reads().source.best();
    return route_of(facts);
}

/// A connection that this client may read from, at once; else it stands in line for one.
pool::server_connection* client_session::free_standby(standby_reader& reader) {
    reader.parameters = facts_.settings;
    pool::server_connection* server = reader.stand_in_line(retry_due);
    if (server == nullptr) return nullptr;
    const standby_source& source = worker_.reads().source;
    if (source.has(*server, reader.wrote_at())) return server;
    const bool serves = source.may_serve(server->where);
    reader.pool.release(*server, false);
    reader.route = serves ? read_route::own_write : read_route::lagging;
    if (!serves) reader.pool.reconsider();  // others are to have its place
    return nullptr;
}

/// As `want_server`, for a client that may read from standbys.
bool client_session::want_read_server() {
    in_.keep();
    pool::server_connection* server = standby_for_request();
    may_be_shed = mishap_ == nullptr;
    if (server == nullptr) server = pool_->acquire(*this);
    if (server == nullptr) {
        phase_ = session_phase::waiting;
        return false;
    }
    read_taken(*server);
    return take_server(*server);
}

/// A standby's connection for the request in front, or null: then it waits for the primary, and where a
/// standby will do for that too.
pool::server_connection* client_session::standby_for_request() {
    standby_reader& reader = worker_.reads().of(id_);
    reader.stop_waiting();
    const auto route = route_now(reader);
    reader.asked = route.has_value();
    if (!route) return nullptr;
    reader.route = *route;
    if (leads_to_standby(*route)) {
        if (pool::server_connection* server = free_standby(reader)) return server;
    }
    if (!worker_.cluster().any_serves()) reader.look_again(retry_due, look_again_after);
    return nullptr;
}

/// A standby's connection has become free for it, or it is time to ask again whether one will do.
void client_session::standby_offered() {
    standby_reader& reader = worker_.reads().of(id_);
    pool::server_connection* server = reader.take_offer();
    const bool waits = phase_ == session_phase::waiting && server_ == nullptr && refusal_ == nullptr;
    if (server != nullptr && waits && leads_to_standby(reader.route) &&
        worker_.reads().source.has(*server, reader.wrote_at())) {
        pool_->withdraw(*this);
        granted(*server);
        return;
    }
    if (server != nullptr) reader.pool.release(*server, false);
    if (waits) rethink_read();
}

/// It waits for the primary, and what is known of the servers may have changed.
void client_session::rethink_read() {
    if (phase_ != session_phase::waiting || server_ != nullptr || worker_.cluster().any_serves()) return;
    standby_reader& reader = worker_.reads().of(id_);
    reader.look_again(retry_due, look_again_after);
    if (reader.waits()) return;
    const auto route = route_now(reader);
    if (!route) return;
    reader.asked = true;
    reader.route = *route;
    if (!leads_to_standby(*route)) return;
    pool::server_connection* server = free_standby(reader);
    if (server == nullptr) return;
    pool_->withdraw(*this);
    granted(*server);
}

/// False when the client's request has to wait.
bool client_session::take_granted() {
    if (!reads_) return take_server(*server_);
    if (server_->standby && requests_.what_keeps_at_primary(in_.bytes())) {
        // The client has sent more meanwhile.
        pool::server_connection& standby = *std::exchange(server_, nullptr);
        standby.pool.release(standby, false);
        phase_ = session_phase::idle;
        gate_.set(client_readable);
        return false;
    }
    read_taken(*server_);
    return take_server(*server_);
}

/// A request that might have been read from a standby has a server.
void client_session::read_taken(const pool::server_connection& server) {
    standby_reader& reader = worker_.reads().of(id_);
    reader.stop_waiting();
    // Until all that the standby is to have was sent to it the client is not read (paused).
    reads_both_ = reads_both_ && !server.standby;
    if (!std::exchange(reader.asked, false)) return;
    const bool gave_up = leads_to_standby(reader.route) && !server.standby;
    worker_.reads().went(gave_up ? read_route::no_connection : reader.route);
}

/// Whether the client, who knows what the primary reports, reads the standby's answers rightly.
bool client_session::standby_speaks_alike() const {
    static constexpr std::array<std::string_view, 4> of_the_server{
        "in_hot_standby", "default_transaction_read_only", "server_version", "is_superuser"};
    const auto differs = [](const auto& one) {
        return std::ranges::find(of_the_server, one.first) == of_the_server.end();
    };
    const auto change = protocol::difference(*facts_.told, *server_->reported);
    return std::ranges::none_of(change.set, differs);
}

/// The request in front goes to the primary after all; nothing of it was sent. Always false: it has to wait.
bool client_session::leave_standby() {
    standby_reader& reader = worker_.reads().of(id_);
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    reader.refused_there = true;
    worker_.reads().went(read_route::other_settings);
    phase_ = session_phase::idle;
    give_back(false);
    gate_.set(client_readable);
    return false;
}

/// The answer of a standby is an error. Unless somebody has asked for it, the primary is to say whether it
/// is one. False: the client gets it.
bool client_session::standby_refused(std::string_view sqlstate) {
    if (sqlstate == protocol::sqlstate::query_canceled || phase_ != session_phase::active) return false;
    if (!server_->request.whole() || requests_.mid_request()) return false;
    pool::gather& flight = worker_.flight_to_client();
    const bool unsaid = !shown_ && may_be_unsaid(flight, server_->request);
    if (!unsaid && what_hinders(replay_facts_now())) return false;
    if (unsaid) flight.clear();
    shown_ = shown_ || !flight.empty();
    // What it has of a plan may be the reason.
    const bool plan = sqlstate == protocol::sqlstate::invalid_sql_statement_name ||
                      sqlstate == protocol::sqlstate::feature_not_supported;
    server_->close_when_free = server_->close_when_free || plan;
    log::debug(
        "standby_refused", {{"client", peer_}, {"server", server_->where.to_string()}, {"sqlstate", sqlstate}}
    );
    if (!mishap_) mishap_ = std::make_unique<mishap>();
    phase_ = session_phase::refused_write;
    return true;
}

/// The standby has come to the end of what it could not do. False when the session is over.
bool client_session::read_elsewhere() {
    const std::vector<std::byte> request = take_refused_request();
    if (!replaying()) mishap_->again.reset();  // no server was lost
    request_failed_ = false;
    forget_answers();
    row_.reset();
    own_over_ = false;
    server_want_ = 0;
    phase_ = session_phase::active;
    give_back(false);
    facts_.rewound();
    read_again(request);
    worker_.reads().of(id_).refused_there = true;
    phase_ = session_phase::idle;
    return consume_requests();
}

/// A request is over on the primary, or was lost with it.
void client_session::note_read_over(bool may_have_written) {
    standby_reader& reader = worker_.reads().of(id_);
    reader.refused_there = false;
    if (may_have_written && !on_standby()) reader.wrote();
}

bool client_session::must_leave_server() const noexcept {
    const backend_cluster& cluster = worker_.cluster();
    // Of a standby that does not answer another one can be asked.
    return cluster.must_leave(server_->where) || (server_->standby && cluster.is_silent(server_->where));
}

}  // namespace pgmend::proxy
