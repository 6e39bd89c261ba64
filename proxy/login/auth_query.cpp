#include "proxy/login/auth_query.hpp"

#include <openssl/crypto.h>

#include <array>

#include "config/log.hpp"
#include "protocol/error_response.hpp"
#include "protocol/frame.hpp"
#include "protocol/message_writer.hpp"
#include "proxy/worker_core.hpp"

namespace pgmend::proxy {

namespace {

constexpr pool::event_mask readable = 1;
constexpr pool::event_mask writable = 2;
constexpr pool::event_mask timed_out = 4;
constexpr std::size_t most_questions = 1000;
constexpr std::size_t longest_answer = 64 * 1024;
constexpr std::size_t longest_secret = 4096;

/// All that is said to the server of a session that asks: nothing of any client's.
const pool::startup_parameters& own_parameters() {
    static const pool::startup_parameters parameters{
        {"application_name", "pgmend auth_query"}, {"search_path", "pg_catalog"}};
    return parameters;
}

}  // namespace

/// One user who is asked about. Waits for a server like a client.
struct auth_query::question final : pool::pool_waiter {
    question(auth_query& asking, std::string name) : owner(asking), user(std::move(name)) {}

    void granted(pool::server_connection& server) override { owner.run(*this, server); }
    void refused(const pool::pool_refusal& why) override { owner.refused(*this, why); }

    auth_query& owner;
    std::string user;
    pool::intrusive_list<auth_asker> askers;
    pool::event_gate* gate = nullptr;  ///< of the exchange, while there is one
};

auth_query::auth_query(worker_core& worker) noexcept : worker_(worker) {}

auth_query::~auth_query() {
    for (const auto& [user, asked] : questions_) {
        while (auth_asker* asker = asked->askers.front())
            pool::intrusive_list<auth_asker>::remove(*asker);
    }
}

bool auth_query::enabled() const noexcept { return !worker_.settings().auth.query.user().empty(); }

void auth_query::ask(const std::string& user, auth_asker& asker) {
    const auto& settings = worker_.settings().auth.query;
    asker.state_ = auth_asker::state::answered;
    if (worker_.users().asked_within(user, worker_.env().now(), settings.cache_ttl())) return;
    const auto known = questions_.find(user);
    if (known == questions_.end() && questions_.size() >= most_questions) {
        asker.state_ = auth_asker::state::failed;
        return;
    }
    asker.state_ = auth_asker::state::waiting;
    if (known != questions_.end()) {
        known->second->askers.push_back(asker);
        return;
    }
    auto made = std::make_unique<question>(*this, user);
    question& asked = *made;
    questions_.emplace(user, std::move(made));
    asked.askers.push_back(asker);
    pool::server_pool& pool = worker_.auth_pool();
    asked.partition = pool.partition("auth_query", own_parameters());
    asked.parameters = worker_.parameters().empty();
    if (pool::server_connection* server = pool.acquire(asked)) run(asked, *server);
}

void auth_query::stop() {
    for (auto it = questions_.begin(); it != questions_.end();) {
        question& asked = *(it++)->second;
        if (asked.gate != nullptr) {
            asked.gate->set(timed_out);
        } else {
            worker_.auth_pool().withdraw(asked);
            over(asked, false);
        }
    }
}

void auth_query::refused(question& asked, const pool::pool_refusal& why) {
    log::warning(
        "auth_query_failed", {{"user", asked.user}, {"reason", why.message}, {"detail", why.detail}}
    );
    over(asked, false);
}

/// Tells everybody who asked. `asked` is gone afterwards.
void auth_query::over(question& asked, bool good) {
    const auto& settings = worker_.settings().auth.query;
    // While the database cannot be asked, what it said last is better than nobody coming in.
    good = good || worker_.users().asked_within(asked.user, worker_.env().now(), settings.outage_ttl());
    while (auth_asker* asker = asked.askers.front()) {
        pool::intrusive_list<auth_asker>::remove(*asker);
        asker->state_ = good ? auth_asker::state::answered : auth_asker::state::failed;
        asker->gate_.set(asker->bit_);
    }
    questions_.erase(questions_.find(asked.user));
}

bool auth_query::send(pool::server_connection& server, const std::string& user) {
    std::vector<std::byte> out;
    protocol::message_writer writer{out};
    constexpr std::array<std::byte, 2> no_types{};
    writer.parse("", worker_.settings().auth.query.sql(), no_types);
    writer.bind_text(user);
    writer.execute_all();
    writer.sync();
    pool::gather flight;
    flight.add(out);
    return server.out.send(*server.io, flight);
}

pool::detached auth_query::run(question& asked, pool::server_connection& server) {
    auth_answer answer{asked.user};
    auth_answer::state state = auth_answer::state::more;
    {
        pool::event_gate gate{worker_.env()};
        asked.gate = &gate;
        pool::gate_timer deadline{worker_.env(), gate, timed_out};
        deadline.after(worker_.settings().auth.query.timeout());
        server.io->watch(gate, {readable, writable});
        server.io->arm(pool::interest::read);
        if (!send(server, asked.user)) state = auth_answer::state::broken;
        while (state == auth_answer::state::more) {
            const auto bytes = server.in.bytes();
            std::size_t want = protocol::frame_header_size;
            if (bytes.size() >= want) {
                if (!protocol::valid_length(bytes.data())) break;
                const auto header = protocol::decode_header(bytes.data());
                want = header.size();
                if (want > longest_answer) break;
                if (bytes.size() >= want) {
                    state = answer.read(header.type, bytes.subspan(protocol::frame_header_size, header.body));
                    server.in.consume(want);
                    continue;
                }
            }
            const pool::io_result result = server.in.fill(*server.io, want);
            server.in.keep();
            if (result.status == pool::io_status::ok) continue;
            if (result.status != pool::io_status::would_block) break;
            server.io->arm(server.out.blocked() ? pool::interest::read_write : pool::interest::read);
            if ((co_await gate.wait() & timed_out) != 0) break;
            if (!server.out.drain(*server.io)) break;
        }
        server.in.keep();
        asked.gate = nullptr;
    }
    const bool whole = state == auth_answer::state::done;
    if (whole && answer.problem().empty()) {
        worker_.users().asked(
            asked.user, std::move(answer.secret()), worker_.env().now(),
            worker_.settings().auth.query.cache_size()
        );
        over(asked, true);
    } else {
        const std::string reason =
            whole ? answer.problem() : "the server did not answer in order and in time";
        log::warning("auth_query_failed", {{"user", asked.user}, {"reason", reason}});
        over(asked, false);
    }
    pool::server_pool& pool = server.pool;
    if (whole) {
        pool.release(server, false);
    } else {
        server.broken = true;
        pool.discard(server, config::metrics::server_close::lost_in_use);
    }
}

auth_answer::state auth_answer::read(char type, protocol::byte_view body) {
    switch (type) {
        case 'D':
            read_row(body);
            return state::more;
        case 'E':
            problem_ = protocol::read_error(body).message;
            if (problem_.empty()) problem_ = "the server refuses the query";
            return state::more;
        case 'Z':
            // A transaction left open would be the next question's.
            return body.size() == 1 && body[0] == std::byte{'I'} ? state::done : state::broken;
        case '1':
        case '2':
        case 'C':
        case 'n':
        case 'T':
        case 'N':
        case 'S':
        case 'A':
            return state::more;
        default:
            return state::broken;
    }
}

void auth_answer::read_row(protocol::byte_view body) {
    protocol::byte_reader reader{body};
    const std::uint16_t columns = reader.u16();
    if (columns < 2) {
        problem_ = "the query must give two columns, the user and the secret";
        return;
    }
    if (++rows_ > 1) {
        problem_ = "the query gives several rows for one user";
        OPENSSL_cleanse(secret_.data(), secret_.size());
        secret_.clear();
        return;
    }
    const std::int32_t name_size = reader.i32();
    const auto name =
        name_size < 0 ? protocol::byte_view{} : reader.bytes(static_cast<std::size_t>(name_size));
    const std::int32_t size = reader.i32();
    const auto secret = size < 0 ? protocol::byte_view{} : reader.bytes(static_cast<std::size_t>(size));
    // A function with OUT parameters gives a row of NULLs for nobody.
    if (!reader.failed() && size < 0) return;
    if (reader.failed() || protocol::as_text(name) != user_ || secret.size() > longest_secret) {
        problem_ = "the query gives a row that is not of this user";
        return;
    }
    secret_ = protocol::as_text(secret);
}

}  // namespace pgmend::proxy
