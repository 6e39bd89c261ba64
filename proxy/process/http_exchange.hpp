#pragma once
// A request to our HTTP port and its answer, without the protocol around them: between http_endpoint, which
// speaks HTTP, and those who answer.

#include <functional>
#include <optional>
#include <string>

namespace pgmend::proxy {

struct http_request {
    std::string path;
    std::string query;          ///< behind the '?', as it came
    bool post = false;          ///< else GET or HEAD
    bool from_here = false;     ///< by loopback, and no other proxy says that it stands between
    std::string peer;           ///< its address, without port
    std::string authorization;  ///< the header; empty: none
    std::string host;           ///< the header
    std::string origin;         ///< the header, which browsers send
    std::string fetch_site;     ///< Sec-Fetch-Site: whose page it is that asks, as its browser says
    std::string fetch_dest;     ///< Sec-Fetch-Dest: what for
    std::string accept;         ///< the header
    std::string accept_encoding;
    std::string last_event_id;  ///< the header of a listener that comes again
    bool intended = false;      ///< X-Pgmend-Command is there, which no page of another site can add unasked
};

/// Whether the request comes from a page of another site, as far as browsers tell; a link to the dashboard
/// may stand anywhere.
bool of_another_site(const http_request& request) noexcept;

/// Whether somebody on this machine asks this machine. A page open in a browser here can send requests to
/// loopback too: it is known by the name that it has to call us by.
bool asked_from_here(const http_request& request) noexcept;

/// Takes the next piece of an answer that goes on; nothing is its end. It may be forgotten instead.
using http_piece_taker = std::function<void(std::optional<std::string>)>;
/// Asked for a piece when the one before has been written; so nothing piles up for who reads slowly. What it
/// holds is let go when nobody listens any more.
using http_pieces = std::function<void(http_piece_taker)>;

struct http_reply {
    unsigned status = 200;
    std::string body;
    std::string content_type = "application/json";
    std::string challenge = {};       ///< WWW-Authenticate, of a 401
    std::string encoding = {};        ///< of the body: `gzip`
    std::string content_policy = {};  ///< what a page may load; empty: nothing at all
    http_pieces pieces = {};          ///< what follows the body, until it ends; empty: nothing
};

/// Takes the answer, once, on the control thread; it may be forgotten instead.
using http_answer = std::function<void(http_reply)>;

}  // namespace pgmend::proxy
