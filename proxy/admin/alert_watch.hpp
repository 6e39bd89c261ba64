#pragma once
// Looks at pgmend's health now and then, and tells of what is the matter: the log, the ledger, and the
// webhook of the policy. Control thread; the server owns it.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "proxy/admin/alert_book.hpp"
#include "proxy/admin/alert_conditions.hpp"
#include "proxy/process/webhook.hpp"

namespace pgmend::proxy {

/// Where it learns what it has to. Facts come later, on the control thread, or not at all.
struct alert_sources {
    std::function<void(facts_wanted, std::function<void(admin_facts)>)> facts;
    std::function<std::shared_ptr<const config::settings>()> settings;
    std::function<std::uint64_t()> errors;  ///< that clients were told, since the start
    /// Into the ledger.
    std::function<void(const alert_notice&)> note;
};

class alert_watch {
public:
    alert_watch(boost::asio::io_context& control, config::metrics::cells& cells, alert_sources sources);

    void start() { look_later(); }
    /// pgmend ends: that is no alert.
    void stop();

private:
    void look_later();
    void look();
    void judge(const admin_facts& facts);
    void tell(const alert_notice& notice, const config::settings& settings);
    request_tally requests_since(const admin_facts& facts);

    alert_sources sources_;
    config::metrics::cells& cells_;
    boost::asio::steady_timer timer_;
    alert_book book_;
    webhook webhook_;
    std::optional<request_tally> before_;  ///< since the start, at the last look
    const std::int64_t epoch_ms_;
    bool stopped_ = false;
};

/// What is posted: one JSON object. `epoch_ms`: the wall clock's milliseconds less the steady clock's, asked
/// once, as an alert has the same id whenever it is told of.
std::string alert_message(
    const alert_notice& notice, std::string_view instance, config::time_point now, std::int64_t now_ms,
    std::int64_t epoch_ms
);

}  // namespace pgmend::proxy
