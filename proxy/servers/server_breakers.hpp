#pragma once
// The breakers of all servers as one worker has them: two for each, one for what happens on the way to it
// and one for what it says of itself. Feeds them with what the traffic meets, and tells of what they do. One
// worker thread.

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"
#include "health/breaker.hpp"
#include "pool/server_login.hpp"
#include "proxy/session/healing_ledger.hpp"

namespace pgmend::proxy {

using config::metrics::breaker_class;

/// One breaker as it is shown.
struct breaker_facts {
    std::size_t place = 0;  ///< of the server (health::server_directory)
    breaker_class counted = breaker_class::local;
    health::breaker_state state = health::breaker_state::closed;
    std::string_view reason;  ///< empty: it has never changed
    health::breaker::counts recent;
    std::uint32_t in_a_row = 0;
    std::uint32_t trials = 0;
    std::uint64_t opened = 0;
    config::duration open_for{};  ///< still; of an open one
};

class server_breakers final : private config::deferred_node {
public:
    server_breakers(const config::breaker_settings& settings, config::environment& env);
    server_breakers(const server_breakers&) = delete;
    server_breakers& operator=(const server_breakers&) = delete;
    ~server_breakers();

    /// One more server, at the next place.
    void add(std::string name);
    /// Another server has this place now: what was known of the last one is forgotten.
    void replace(std::size_t place, std::string name);
    /// Where changes are counted and told; `room` is called, later, when more logins are let through.
    void connect(config::metrics::cells& metrics, healing_ledger& ledger, std::function<void()> room);

    bool admits(std::size_t place) const noexcept;
    /// The same where there is no other server: one at a time, however often it failed.
    bool admits_if_alone(std::size_t place) const noexcept;
    /// Time has passed.
    void settle();
    /// A login begins; `over` follows with its ticket.
    std::uint64_t begin(std::size_t place);
    void over(std::uint64_t ticket, const pool::login_outcome& outcome);
    /// A health check has found the server up again.
    void probed(std::size_t place);
    /// A connection that was opened at that time broke.
    void reset(std::size_t place, config::time_point opened_at);
    /// A client was told an error: classes 53, 58 and XX say something of the server.
    void told_error(std::size_t place, std::string_view sqlstate);
    /// Where requests are counted that the server has been through with.
    std::uint64_t* served(std::size_t place) noexcept { return &servers_[place].served; }

    std::vector<breaker_facts> facts() const;

private:
    struct server {
        std::string name;
        health::breaker local;
        health::breaker resource;
        config::time_point last_reset{};
        std::uint64_t served = 0;
        std::uint64_t served_before = 0;  ///< as many when it told of trouble last
    };
    /// A login under way.
    struct attempt {
        std::size_t place;
        health::breaker::pass local;
        health::breaker::pass resource;
    };
    static health::breaker& of(server& one, breaker_class what) noexcept {
        return what == breaker_class::local ? one.local : one.resource;
    }
    /// Has `act` change a breaker, and tells of it when it did.
    template <class Act>
    void change(server& one, breaker_class what, Act act);
    void tell(const server& one, breaker_class what, const health::breaker& its, health::breaker_change to);

    config::environment& env_;
    health::breaker_limits limits_;
    std::deque<server> servers_;                 ///< by place; what `served` gave stays where it is
    std::map<std::uint64_t, attempt> attempts_;  ///< by ticket
    std::uint64_t last_ticket_ = 0;
    config::metrics::cells* metrics_ = nullptr;
    healing_ledger* ledger_ = nullptr;
    std::function<void()> room_;
};

}  // namespace pgmend::proxy
