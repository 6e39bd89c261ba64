#pragma once
// Answers what consoles ask: gathers facts from every worker, gives them orders, waits for what takes time
// (PAUSE, WAIT_CLOSE, SHUTDOWN). Knows which databases are paused and disabled, and
// which servers are banned. Control thread; owned by the
// server.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/admin/admin_port.hpp"
#include "proxy/servers/address_resolver.hpp"
#include "proxy/worker.hpp"

namespace pgmend::proxy {

/// What the desk asks of the server.
struct desk_orders {
    std::function<health::topology_snapshot()> topology;
    /// Which servers let their WAL be read; those that were asked long ago are asked again.
    std::function<std::vector<wal_access>()> wal;
    /// No further client comes in, and /ready says so.
    std::function<void()> stop_accepting;
    /// The process ends now.
    std::function<void()> end;
    /// Reads everything that may change again: what is wrong, a line each; nothing when all was taken.
    std::function<std::vector<std::string>()> reload;
    /// The same with one setting at another value, until the next reload.
    std::function<std::vector<std::string>(const std::string& key, const std::string& value)> set;
    /// Adds what is neither the workers' nor the desk's: checks, memory, whether pgmend drains.
    std::function<void(admin_facts&)> complete;
};

class admin_desk {
public:
    admin_desk(
        boost::asio::io_context& control, std::shared_ptr<const config::settings> settings,
        address_resolver& names, desk_orders orders
    );
    admin_desk(const admin_desk&) = delete;
    admin_desk& operator=(const admin_desk&) = delete;

    /// Begins to answer, and to take averages. The workers must outlive the control thread's run.
    void start(const std::vector<std::unique_ptr<worker>>& workers, std::uint16_t port);
    /// Another server has this place now.
    void forget_ban(std::size_t place) {
        if (bans_.contains(place)) end_ban(place, "unbanned", "the server is gone");
    }
    void adopt(std::shared_ptr<const config::settings> settings) { settings_ = std::move(settings); }
    /// What SHOW is made of, for others than the console. The answer comes later, on the control thread.
    void facts(facts_wanted wanted, std::function<void(admin_facts)> done);
    /// Of each worker a part of its ledger: what is behind these numbers, one a worker, or the latest acts
    /// where there are none. At most `most` of each; later, on the control thread.
    void acts(
        std::optional<std::vector<std::uint64_t>> after, std::size_t most,
        std::function<void(std::vector<ledger_page>)> done
    );
    /// Carries out a command that is no SHOW, for others than the console: the answer comes on the control
    /// thread, and of PAUSE only when it is through.
    void command(admin_request request, std::function<void(admin_answer)> done);
    /// What concerns the whole process, into the ledger of the first worker.
    void note(healing_event act);
    /// For workers' consoles; any thread may call it.
    console_port port();

private:
    using gathered = std::function<void(std::vector<worker_facts>)>;
    struct waiting;
    struct standing_ban {
        explicit standing_ban(boost::asio::io_context& control) : timer(control) {}
        boost::asio::steady_timer timer;
        std::optional<config::time_point> until;  ///< nothing: until UNBAN
    };

    void ask(const admin_request& request, const std::shared_ptr<admin_ticket>& ticket);
    void show(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket);
    void order(
        const admin_request& request, const std::shared_ptr<admin_ticket>& ticket,
        const std::vector<worker_facts>& facts
    );
    /// What forbids the command now; nothing when it may be carried out.
    std::optional<admin_error> objection(const admin_command& command, const std::vector<worker_facts>& facts)
        const;
    void carry_out(const admin_request& request, const std::shared_ptr<admin_ticket>& ticket);
    void pause(const database_choice& which);
    void resume(const database_choice& which);
    void kill_client(const std::string& id, const std::shared_ptr<admin_ticket>& ticket);
    void set(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket);
    void reload(const std::shared_ptr<admin_ticket>& ticket);
    void shut_down(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket);
    /// The place of a server among upstream.servers, by what SHOW TOPOLOGY calls it or by its host alone.
    std::optional<std::size_t> server_named(std::string_view name) const;
    std::optional<admin_error> ban_objection(
        const admin_command& command, const std::vector<worker_facts>& facts
    ) const;
    void ban(const admin_command& command, const std::string& user);
    void end_ban(std::size_t place, std::string_view outcome, const std::string& cause);
    void wait_for(std::shared_ptr<waiting> what);
    void look_again(const std::shared_ptr<waiting>& what, const std::vector<worker_facts>& facts);
    /// What `look` finds at each worker, on its thread; all of it together, in their order, to `done`.
    template <class Found, class Look>
    void collect(Look look, std::function<void(std::vector<Found>)> done);
    void gather(facts_wanted wanted, gathered done);
    void tell_workers(std::function<void(worker_admin&)> order);
    void answer(const std::shared_ptr<admin_ticket>& ticket, admin_answer what);
    void take_averages();
    void plan_averages();
    admin_facts facts_with(std::vector<worker_facts> workers);

    boost::asio::io_context& control_;
    std::shared_ptr<const config::settings> settings_;
    address_resolver& names_;
    desk_orders orders_;
    boost::asio::steady_timer period_timer_;
    std::vector<worker*> workers_;
    std::uint16_t port_ = 0;
    std::set<std::string> paused_;
    std::set<std::string> disabled_;
    std::map<std::size_t, std::unique_ptr<standing_ban>> bans_;  ///< by place in upstream.servers
    bool all_paused_ = false;
    bool shutting_down_ = false;
    traffic_period period_;
    std::chrono::steady_clock::time_point period_began_{};
};

}  // namespace pgmend::proxy
