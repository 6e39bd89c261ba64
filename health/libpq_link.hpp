#pragma once
// One connection through libpq, without blocking: its login and its questions, all within one deadline.
// Addresses are resolved by somebody else and passed as hostaddr, as libpq would block in a lookup. Control
// thread.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "health/observation.hpp"

struct pg_conn;
struct pg_result;

namespace pgmend::health {

/// What libpq is told, apart from where: keyword and value.
using probe_parameters = std::vector<std::pair<std::string, std::string>>;
/// The addresses of the server now, as text; empty while its name has none. Empty function: not needed.
using address_source = std::function<std::vector<std::string>()>;
/// What changes while we run, such as passwords, asked anew for each connection: keyword and value. `attempt`
/// grows when the server refused the last ones. Empty function: nothing.
using secret_source = std::function<probe_parameters(std::size_t attempt)>;

class libpq_link {
public:
    struct clear_result {
        void operator()(pg_result* result) const noexcept;
    };
    using answer = std::unique_ptr<pg_result, clear_result>;

    libpq_link(
        boost::asio::io_context& control, probe_parameters parameters, address_source addresses,
        secret_source secrets
    );
    ~libpq_link();
    libpq_link(const libpq_link&) = delete;
    libpq_link& operator=(const libpq_link&) = delete;

    /// Everything up to the next call must be over by then.
    void limit(config::duration timeout) { deadline_.expires_after(timeout); }
    void unlimit() { deadline_.cancel(); }
    /// Logged in, as far as libpq knows.
    bool usable() const noexcept;
    void drop() noexcept { connection_.reset(); }
    /// Logs in; `ok`, or why not.
    boost::asio::awaitable<observation> connect();
    /// The answer to one simple query. Null: none came in time (`timed_out`), or the connection failed. It
    /// may be an error of the server's. Of a COPY, its beginning.
    boost::asio::awaitable<answer> ask(const char* text);
    /// The next piece of a COPY out; nothing at its end, when it fails, and when none came in time.
    boost::asio::awaitable<std::optional<std::string>> copied();
    bool timed_out() const noexcept { return timed_out_; }
    /// What went wrong; `sqlstate`: of the server's error, where there was one.
    observation failure(std::string_view sqlstate) const;

    int socket() const noexcept;
    pg_conn* connection() const noexcept { return connection_.get(); }

private:
    struct finish {
        void operator()(pg_conn* connection) const noexcept;
    };
    enum class direction : std::uint8_t { read, write };

    boost::asio::awaitable<bool> wait(direction what);
    boost::asio::awaitable<bool> fetch();

    boost::asio::io_context& control_;
    boost::asio::steady_timer deadline_;
    probe_parameters parameters_;
    address_source addresses_;
    secret_source secrets_;
    std::size_t refusals_ = 0;
    std::unique_ptr<pg_conn, finish> connection_;
    std::size_t next_address_ = 0;  ///< a host of several addresses: another one after each failure
    bool timed_out_ = false;
};

/// libpq's socket, lent to Asio for a wait: given back, never closed, also when the coroutine is destroyed.
struct lent_socket {
    lent_socket(boost::asio::io_context& control, int socket);
    lent_socket(const lent_socket&) = delete;
    lent_socket& operator=(const lent_socket&) = delete;
    ~lent_socket();
    boost::asio::posix::stream_descriptor descriptor;
};

}  // namespace pgmend::health
