#pragma once
// The part of an HTTP answer that goes on for as long as somebody listens.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include <chrono>

#include "proxy/process/http_exchange.hpp"

namespace pgmend::proxy {

/// Writes piece after piece until there is none, the listener is gone, or a piece is not taken within the
/// deadline. The head has been written. The stream outlives it; `control` runs it.
boost::asio::awaitable<void> write_pieces(
    boost::asio::io_context& control, boost::beast::tcp_stream* stream, http_pieces pieces,
    std::chrono::milliseconds deadline
);

}  // namespace pgmend::proxy
