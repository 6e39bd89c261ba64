#include "tests/sim/sim_postgres.hpp"

#include <algorithm>
#include <cstdio>

#include "protocol/bytes.hpp"
#include "tests/sim/startup_model.hpp"

namespace pgmend::sim {

namespace {

constexpr std::uint32_t ssl_request_code = 80877103;
constexpr std::uint32_t gss_request_code = 80877104;
constexpr std::uint32_t cancel_request_code = 80877102;
constexpr std::uint32_t first_packet_max = 10'000;
/// Sessions of both servers of a pair have numbers of their own.
constexpr std::uint32_t standby_pids = 1'000'000;
constexpr pool::readiness any_event{1, 1};

/// Continues to write `bytes` from `sent`; `ok` when all of it went.
pool::io_status write_rest(pool::stream& stream, std::string& bytes, std::size_t& sent) {
    while (sent < bytes.size()) {
        const iovec piece{bytes.data() + sent, bytes.size() - sent};
        const auto result = stream.write_some({&piece, 1});
        if (result.status != pool::io_status::ok) return result.status;
        sent += result.bytes;
    }
    bytes.clear();
    sent = 0;
    return pool::io_status::ok;
}

std::string fatal_message(const std::string& code, const std::string& text) {
    std::string out;
    message_builder(out, protocol::backend_message::error_response)
        .u8('S')
        .string("FATAL")
        .u8('V')
        .string("FATAL")
        .u8('C')
        .string(code)
        .u8('M')
        .string(text)
        .u8(0)
        .end();
    return out;
}

}  // namespace

// ---- one connection

sim_server_connection::sim_server_connection(sim_postgres& server, std::unique_ptr<pool::stream> stream)
    : server_(server), stream_(std::move(stream)), sleep_(server.env_, [this] {
          if (backend_) backend_->wake();
          proceed();
      }) {
    stream_->watch(*this, any_event);
    stream_->arm(pool::interest::read);
}

void sim_server_connection::end() {
    if (over_) return;
    over_ = true;
    sleep_.stop();
    stream_->close();
    backend_.reset();
    server_.stir();
}

void sim_server_connection::crash() {
    if (over_) return;
    static_cast<sim_stream&>(*stream_).link().cut(cut_kind::reset);
    end();
}

void sim_server_connection::terminate(const std::string& code, const std::string& text) {
    if (over_) return;
    sleep_.stop();
    if (!backend_) return end();
    backend_->terminate(code, text);
    proceed();
}

bool sim_server_connection::in_use() {
    return backend_ && static_cast<sim_stream&>(*stream_).link().held(end_side::opener);
}

bool sim_server_connection::send() {
    std::string& out = backend_ && greeting_.empty() ? backend_->out : greeting_;
    if (out.empty()) return true;
    const auto status = write_rest(*stream_, out, sent_);
    if (status == pool::io_status::ok) return true;
    if (status == pool::io_status::would_block) {
        stream_->arm(pool::interest::write);
    } else {
        end();
    }
    return false;
}

bool sim_server_connection::read() {
    std::byte block[8192];
    const auto result = stream_->read_some(block);
    switch (result.status) {
        case pool::io_status::ok:
            if (input_at_ > 0) {
                input_.erase(0, input_at_);
                input_at_ = 0;
            }
            input_.append(reinterpret_cast<const char*>(block), result.bytes);
            return true;
        case pool::io_status::would_block:
            stream_->arm(pool::interest::read);
            return false;
        case pool::io_status::eof:
        case pool::io_status::error:
            end();
            return false;
    }
    return false;
}

bool sim_server_connection::take_first_packet() {
    const std::string_view bytes = std::string_view(input_).substr(input_at_);
    if (bytes.size() < 8) return read();
    protocol::byte_reader reader(protocol::as_bytes(bytes));
    const std::uint32_t length = reader.u32();
    if (length < 8 || length > first_packet_max) return end(), false;
    if (bytes.size() < length) return read();
    input_at_ += length;
    const std::uint32_t code = reader.u32();
    if (code == ssl_request_code || code == gss_request_code) {
        greeting_ += 'N';
    } else if (code == cancel_request_code) {
        const std::uint32_t pid = reader.u32();
        server_.cancel(pid, protocol::as_text(reader.bytes(length - 12)));
        end();
        return false;
    } else {
        start_session(protocol::byte_reader(protocol::as_bytes(bytes.substr(8, length - 8))), code);
    }
    return true;
}

void sim_server_connection::start_session(protocol::byte_reader body, std::uint32_t version) {
    std::map<std::string, std::string> defaults;
    std::vector<std::string> unsupported;
    std::vector<name_value> parameters;
    std::string refused;
    while (!body.failed()) {
        const std::string name(body.cstring());
        if (name.empty()) break;
        const std::string value(body.cstring());
        if (name.starts_with("_pq_.")) unsupported.push_back(name);
        parameters.emplace_back(name, value);
    }
    if (const auto error = take_startup(parameters, defaults))
        refused = fatal_message(error->code, error->text);
    if (server_.standby_) {
        defaults["in_hot_standby"] = "on";
        defaults["default_transaction_read_only"] = "on";
    }
    if (version >> 16 != 3) refused = fatal_message("0A000", "unsupported frontend protocol");
    if (server_.env_.now() < server_.starting_until_) {
        refused = fatal_message("57P03", "the database system is starting up");
    } else if (server_.connections() >= server_.options_.max_connections) {
        refused = fatal_message("53300", "sorry, too many clients already");
    } else if (server_.env_.now() < server_.denied_until_) {
        refused = fatal_message("28P01", "password authentication failed for user");
    }
    if (!refused.empty()) {
        greeting_ += refused;
        closing_ = true;
        return;
    }
    std::string key(4, '\0');
    for (auto& byte : key)
        byte = static_cast<char>(server_.env_.dice().below(256));
    backend_.emplace(server_.database_, server_.new_pid(), key, std::move(defaults));
    if ((version & 0xffff) != 0 || !unsupported.empty()) {
        message_builder builder(backend_->out, protocol::backend_message::negotiate_protocol_version);
        builder.u32(3U << 16).u32(static_cast<std::uint32_t>(unsupported.size()));
        for (const auto& name : unsupported)
            builder.string(name);
        builder.end();
    }
    backend_->welcome();
    server_.session_started();
}

bool sim_server_connection::step() {
    if (!backend_) {
        if (!send()) return false;
        if (closing_) return end(), false;
        return take_first_packet();
    }
    backend_model& backend = *backend_;
    if (backend.flush_wanted() || backend.out.size() >= output_buffer) {
        if (!send()) return false;
        backend.flushed();
    }
    switch (backend.doing()) {
        case backend_model::activity::gone:
            return end(), false;
        case backend_model::activity::rows:
            backend.produce(output_buffer);
            return true;
        case backend_model::activity::sleeping:
            // A backend that executes does not look at its socket.
            stream_->arm(pool::interest::none);
            if (!sleep_.running()) sleep_.after(std::chrono::microseconds(backend.sleep_us()));
            return false;
        case backend_model::activity::locking:
            stream_->arm(pool::interest::none);
            return false;
        case backend_model::activity::ready:
        case backend_model::activity::copy_in:
            break;
    }
    if (backend.deliver_notifications()) return true;
    auto next = next_message(input_, input_at_);
    if (!next) return read();
    if (next->type == 0) {
        backend.terminate("08P01", "invalid message length");
        return true;
    }
    if (server_.options_.verbose) {
        std::printf("             session %u < %s\n", backend.pid(), describe(*next).c_str());
    }
    backend.receive(*next);
    return true;
}

void sim_server_connection::proceed() {
    if (over_) return;
    while (!over_ && step()) {
    }
}

// ---- the server

sim_postgres::sim_postgres(sim_environment& env, sim_network& network, const link_traits& traits, options how)
    : env_(env),
      network_(network),
      options_(std::move(how)),
      database_(options_.primary != nullptr ? options_.primary->database_ : own_database_),
      peer_(options_.primary),
      standby_(options_.primary != nullptr),
      stirred_(env, [this] { stir_now(); }) {
    if (peer_ != nullptr) {
        peer_->peer_ = this;
        pids_ += standby_pids;
    } else {
        database_.on_unlock([this] { stir_all(); });
        database_.on_end_session([this](session_id pid) {
            return terminate_pid(pid) || (peer_ != nullptr && peer_->terminate_pid(pid));
        });
    }
    network_.listen(options_.at, link_group::server, traits, [this](std::unique_ptr<pool::stream> stream) {
        accept(std::move(stream));
    });
}

// Sessions free their locks in the shared tables when they go; nobody is to be woken by that any more.
sim_postgres::~sim_postgres() {
    network_.stop_listening(options_.at);
    if (peer_ != nullptr) peer_->peer_ = nullptr;
    database_.on_unlock(nullptr);
    database_.on_end_session(nullptr);
    connections_.clear();
}

void sim_postgres::stir_all() {
    stir();
    if (peer_ != nullptr) peer_->stir();
}

void sim_postgres::accept(std::unique_ptr<pool::stream> stream) {
    connections_.push_back(std::make_unique<sim_server_connection>(*this, std::move(stream)));
}

void sim_postgres::session_started() {
    const auto used = std::count_if(connections_.begin(), connections_.end(), [](const auto& one) {
        return one->in_use();
    });
    peak_ = std::max(peak_, static_cast<std::size_t>(used));
}

std::size_t sim_postgres::connections() const {
    return static_cast<std::size_t>(std::count_if(
        connections_.begin(), connections_.end(),
        [](const auto& one) { return !one->over() && one->backend() != nullptr; }
    ));
}

void sim_postgres::cancel(std::uint32_t pid, std::string_view key) {
    ++cancels_;
    for (const auto& one : connections_) {
        backend_model* backend = one->backend();
        if (backend == nullptr || backend->pid() != pid || backend->key() != key) continue;
        backend->cancel();
        one->proceed();
        return;
    }
}

void sim_postgres::stir_now() {
    std::erase_if(connections_, [](const auto& one) { return one->over(); });
    for (std::size_t place = 0; place < connections_.size(); ++place) {
        if (backend_model* backend = connections_[place]->backend()) backend->try_lock();
        connections_[place]->proceed();
    }
}

void sim_postgres::restart(bool orderly, time_point until) {
    starting_until_ = until;
    for (std::size_t place = 0; place < connections_.size(); ++place) {
        if (orderly) {
            connections_[place]->terminate("57P01", "terminating connection due to administrator command");
        } else {
            connections_[place]->crash();
        }
    }
    database_.recover();
}

void sim_postgres::fail_over(time_point until) {
    restart(false, until);
    standby_ = true;
    peer_->standby_ = false;
    database_.promote();
}

void sim_postgres::terminate_one(std::size_t pick) {
    std::vector<sim_server_connection*> living;
    for (const auto& one : connections_) {
        if (one->backend() != nullptr) living.push_back(one.get());
    }
    if (living.empty()) return;
    living[pick % living.size()]->terminate("57P01", "terminating connection due to administrator command");
}

bool sim_postgres::terminate_pid(session_id pid) {
    for (std::size_t place = 0; place < connections_.size(); ++place) {
        const backend_model* backend = connections_[place]->backend();
        if (backend == nullptr || backend->pid() != pid) continue;
        connections_[place]->terminate("57P01", "terminating connection due to administrator command");
        return true;
    }
    return false;
}

std::vector<std::string> sim_postgres::traces() const {
    std::vector<std::string> found;
    for (const auto& one : connections_) {
        if (one->backend() == nullptr) continue;
        for (const auto& trace : one->backend()->session().traces()) {
            found.push_back("server session " + std::to_string(one->backend()->pid()) + " keeps " + trace);
        }
    }
    return found;
}

}  // namespace pgmend::sim
