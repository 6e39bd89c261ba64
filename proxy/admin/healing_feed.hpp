#pragma once
// What is healed, told as it happens: server-sent events. Each listener is told what its own place in the
// ledgers lacks whenever it has taken what came before, so that nothing is kept for it, and none of it
// concerns a worker but to be asked for its ledger some times a second. Control thread; the server owns it.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "proxy/admin/admin_facts.hpp"
#include "proxy/process/http_exchange.hpp"

namespace pgmend::proxy {

/// Where somebody has got to, one number for each worker's ledger, as the id of an event. `process` is a word
/// of this process alone: numbers of another one mean nothing here.
std::string feed_id(std::string_view process, const std::vector<std::uint64_t>& numbers);
/// The numbers of an id of this process; nothing for any other, or what is none.
std::optional<std::vector<std::uint64_t>> numbers_of(std::string_view process, std::string_view id);

/// One event of the stream; `data` is JSON on one line.
std::string feed_event(std::string_view name, std::string_view id, std::string_view data);

struct feed_sources {
    /// As admin_desk::acts.
    std::function<
        void(std::optional<std::vector<std::uint64_t>>, std::size_t, std::function<void(std::vector<ledger_page>)>)>
        acts;
    std::function<std::shared_ptr<const config::settings>()> settings;
};

class healing_feed {
public:
    healing_feed(boost::asio::io_context& control, feed_sources sources, std::string process);

    /// A stream from the latest `most` acts on, or from where Last-Event-ID says; or why there is none.
    http_reply open(const http_request& request, std::size_t most);
    /// Every listener is told that this is the end, and no other is let in.
    void end();

private:
    struct listener;

    void next(const std::shared_ptr<listener>& who, http_piece_taker taker);
    void look(const std::shared_ptr<listener>& who);
    void look_later(const std::shared_ptr<listener>& who);
    void tell(const std::shared_ptr<listener>& who, std::vector<ledger_page> pages);
    std::string begin(listener& who, const std::vector<ledger_page>& pages) const;
    std::string print(listener& who, const std::vector<ledger_page>& pages) const;

    boost::asio::io_context& control_;
    feed_sources sources_;
    std::string process_;
    std::vector<std::weak_ptr<listener>> listeners_;
    bool ended_ = false;
};

}  // namespace pgmend::proxy
