#pragma once
// What people and their tools ask over HTTP: the dashboard, GET /health, POST /health/check, and under /api
// the tables of the console as JSON, what is healed as a stream, and some of its commands. Control thread;
// the server owns it.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proxy/admin/admin_facts.hpp"
#include "proxy/admin/admin_port.hpp"
#include "proxy/admin/healing_feed.hpp"
#include "proxy/admin/health_report.hpp"
#include "proxy/admin/http_door.hpp"
#include "proxy/process/http_exchange.hpp"

namespace pgmend::proxy {

/// Where the answers come from. Results come later, on the control thread, or not at all.
struct api_sources {
    std::function<void(facts_wanted, std::function<void(admin_facts)>)> facts;
    std::function<const health::check_history&()> checks;
    feed_sources feed;
    std::function<void(admin_request, std::function<void(admin_answer)>)>
        command;                      ///< as admin_desk::command
    std::function<void()> check_now;  ///< looks at every server at once
    std::function<std::shared_ptr<const config::settings>()> settings;
    std::function<std::shared_ptr<const secret_book>()> secrets;
};

class http_api {
public:
    http_api(boost::asio::io_context& control, api_sources sources, std::string process_secret);

    /// False when it is none of its paths; then `answer` was not touched.
    bool handle(const http_request& request, http_answer answer);
    /// Who listens to what is healed is told the end.
    void end_streams() { feed_.end(); }

private:
    void route(const http_request& request, const http_verdict& who, http_answer answer);
    void show_overview(const http_verdict& who, http_answer answer);
    void command(const http_request& request, const http_verdict& who, http_answer answer);
    void show_table(const http_request& request, http_answer answer);
    void show_events(const http_request& request, http_answer answer);
    void show_health(const health_wish& wish, http_answer answer);
    void check_health(http_answer answer);
    void await_checks(std::vector<std::uint64_t> before, config::time_point until, http_answer answer);

    boost::asio::io_context& control_;
    api_sources sources_;
    http_door door_;
    const std::int64_t started_ms_;  ///< since 1970
    const std::string process_;      ///< a word of this process alone
    healing_feed feed_;
};

}  // namespace pgmend::proxy
