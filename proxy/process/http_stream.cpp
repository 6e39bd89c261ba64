#include "proxy/process/http_stream.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <memory>
#include <tuple>
#include <utility>

namespace pgmend::proxy {

namespace {

namespace asio = boost::asio;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

/// The piece that is waited for. Who is to bring it may hold on to it longer than anybody listens.
struct expected_piece {
    explicit expected_piece(asio::io_context& control) : arrival(control) {}
    asio::steady_timer arrival;
    std::optional<std::string> piece;
    bool arrived = false;
    bool gone = false;
};

/// A listener has said all it has to say: when something can be read, it is the end of it.
void notice_departure(asio::ip::tcp::socket& socket, const std::shared_ptr<expected_piece>& waiting) {
    socket.async_wait(
        asio::ip::tcp::socket::wait_read,
        [wanted = std::weak_ptr(waiting)](const boost::system::error_code&) {
            const auto still_wanted = wanted.lock();
            if (!still_wanted) return;
            still_wanted->gone = true;
            still_wanted->arrival.cancel();
        }
    );
}

void ask_for_piece(const http_pieces& pieces, const std::shared_ptr<expected_piece>& waiting) {
    waiting->arrived = false;
    waiting->arrival.expires_at(std::chrono::steady_clock::time_point::max());
    pieces([wanted = std::weak_ptr(waiting)](std::optional<std::string> piece) {
        const auto still_wanted = wanted.lock();
        if (!still_wanted) return;
        still_wanted->piece = std::move(piece);
        still_wanted->arrived = true;
        still_wanted->arrival.cancel();
    });
}

}  // namespace

asio::awaitable<void> write_pieces(
    asio::io_context& control, boost::beast::tcp_stream* stream, http_pieces pieces,
    std::chrono::milliseconds deadline
) {
    const auto waiting = std::make_shared<expected_piece>(control);
    notice_departure(stream->socket(), waiting);
    while (true) {
        ask_for_piece(pieces, waiting);
        if (!waiting->arrived && !waiting->gone) co_await waiting->arrival.async_wait(as_result);
        if (waiting->gone || !waiting->piece) co_return;
        stream->expires_after(deadline);
        const auto written = co_await asio::async_write(*stream, asio::buffer(*waiting->piece), as_result);
        if (std::get<0>(written)) co_return;
    }
}

}  // namespace pgmend::proxy
