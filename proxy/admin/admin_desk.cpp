#include "proxy/admin/admin_desk.hpp"

#include <algorithm>
#include <array>

#include <boost/asio/post.hpp>

#include "config/log.hpp"
#include "config/process_stats.hpp"
#include "protocol/sqlstate.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace {

constexpr auto look_interval = std::chrono::milliseconds{20};

admin_error not_in_this_state(std::string message, std::string hint = {}) {
    return {protocol::sqlstate::object_not_in_prerequisite_state, std::move(message), std::move(hint)};
}

database_choice choice_of(const admin_command& command) {
    if (command.argument.empty()) return std::nullopt;
    return command.argument;
}

bool concerns(const database_choice& which, const pool_facts& pool) {
    return !which || *which == pool.database;
}

}  // namespace

/// Something that takes time. It is looked at again and again until it is true.
struct admin_desk::waiting {
    enum class goal : std::uint8_t { no_servers, nothing_recycled, no_clients };

    waiting(boost::asio::io_context& control, goal what, database_choice which)
        : timer(control), wanted(what), database(std::move(which)) {}

    bool reached(const std::vector<worker_facts>& facts) const {
        for (const worker_facts& worker : facts) {
            if (wanted == goal::no_clients && worker.memory.sessions > worker.consoles) return false;
            if (wanted == goal::no_clients) continue;
            for (const pool_facts& pool : worker.pools) {
                if (!concerns(database, pool)) continue;
                if (wanted == goal::no_servers ? !pool.empty : pool.recycling) return false;
            }
        }
        return true;
    }

    boost::asio::steady_timer timer;
    goal wanted;
    database_choice database;
    std::shared_ptr<admin_ticket> ticket;  ///< null: nobody waits for an answer
    bool undo_pause = false;               ///< when it is cancelled
    std::function<void()> then;            ///< when it is reached
};

admin_desk::admin_desk(
    boost::asio::io_context& control, std::shared_ptr<const config::settings> settings,
    address_resolver& names, desk_orders orders
)
    : control_(control),
      settings_(std::move(settings)),
      names_(names),
      orders_(std::move(orders)),
      period_timer_(control) {}

void admin_desk::start(const std::vector<std::unique_ptr<worker>>& workers, std::uint16_t port) {
    for (const auto& each : workers)
        workers_.push_back(each.get());
    port_ = port;
    period_began_ = steady_now();
    plan_averages();
}

console_port admin_desk::port() {
    return [this](admin_request request, std::shared_ptr<admin_ticket> ticket) {
        boost::asio::post(control_, [this, request = std::move(request), ticket = std::move(ticket)] {
            ask(request, ticket);
        });
    };
}

void admin_desk::answer(const std::shared_ptr<admin_ticket>& ticket, admin_answer what) {
    if (!ticket) return;
    if (ticket->taker()) return ticket->taker()(std::move(what));
    workers_[ticket->worker()]->post([ticket, what = std::move(what)](worker_core&) { ticket->deliver(what); }
    );
}

void admin_desk::tell_workers(std::function<void(worker_admin&)> order) {
    for (worker* each : workers_)
        each->post([order](worker_core& core) { order(core.admin()); });
}

template <class Found, class Look>
void admin_desk::collect(Look look, std::function<void(std::vector<Found>)> done) {
    struct collection {
        std::vector<Found> found;
        std::size_t missing;
        std::function<void(std::vector<Found>)> done;
    };
    auto all = std::make_shared<collection>();
    all->found.resize(workers_.size());
    all->missing = workers_.size();
    all->done = std::move(done);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        workers_[i]->post([this, all, look, i](worker_core& core) {
            auto found = std::make_shared<Found>(look(core.admin(), i));
            boost::asio::post(control_, [all, found, i] {
                all->found[i] = std::move(*found);
                if (--all->missing == 0) all->done(std::move(all->found));
            });
        });
    }
}

void admin_desk::gather(facts_wanted wanted, gathered done) {
    collect<worker_facts>(
        [wanted](const worker_admin& admin, std::size_t) { return admin.facts(wanted); }, std::move(done)
    );
}

void admin_desk::acts(
    std::optional<std::vector<std::uint64_t>> after, std::size_t most,
    std::function<void(std::vector<ledger_page>)> done
) {
    const auto look = [after = std::move(after), most](const worker_admin& admin, std::size_t worker) {
        const bool known = after && worker < after->size();
        return admin.acts(known ? std::optional((*after)[worker]) : std::nullopt, most);
    };
    collect<ledger_page>(look, std::move(done));
}

void admin_desk::command(admin_request request, std::function<void(admin_answer)> done) {
    ask(request, std::make_shared<admin_ticket>(std::move(done)));
}

void admin_desk::facts(facts_wanted wanted, std::function<void(admin_facts)> done) {
    gather(wanted, [this, done = std::move(done)](std::vector<worker_facts> workers) {
        done(facts_with(std::move(workers)));
    });
}

admin_facts admin_desk::facts_with(std::vector<worker_facts> workers) {
    admin_facts facts;
    facts.settings = settings_;
    facts.workers = std::move(workers);
    facts.topology = orders_.topology();
    facts.wal = orders_.wal();
    const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(names_.next_look() - steady_now());
    for (auto& [host, addresses] : names_.names())
        facts.names.push_back({host, addresses, std::max<std::int64_t>(ttl.count(), 0)});
    facts.period = period_;
    for (const auto& [place, standing] : bans_) {
        ban_facts& one = facts.bans.emplace_back();
        one.place = place;
        if (!standing->until) continue;
        const auto left = std::chrono::ceil<std::chrono::seconds>(*standing->until - steady_now());
        one.left_s = std::max<std::int64_t>(left.count(), 0);
    }
    facts.disabled.assign(disabled_.begin(), disabled_.end());
    facts.paused.assign(paused_.begin(), paused_.end());
    facts.all_paused = all_paused_;
    facts.now_s = wall_seconds();
    facts.now_ms = wall_milliseconds();
    facts.now = steady_now();
    facts.resident_bytes = config::process_resident_memory_bytes();
    facts.port = port_;
    orders_.complete(facts);
    return facts;
}

void admin_desk::ask(const admin_request& request, const std::shared_ptr<admin_ticket>& ticket) {
    const admin_command& command = request.command;
    if (command.verb == admin_verb::show) {
        show(command, ticket);
        return;
    }
    gather({}, [this, request, ticket](std::vector<worker_facts> facts) { order(request, ticket, facts); });
}

void admin_desk::show(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket) {
    const show_topic topic = command.topic;
    gather(needs_of(topic), [this, topic, ticket](std::vector<worker_facts> workers) {
        admin_answer made;
        made.rows = rows_of(topic, facts_with(std::move(workers)));
        answer(ticket, std::move(made));
    });
}

void admin_desk::order(
    const admin_request& request, const std::shared_ptr<admin_ticket>& ticket,
    const std::vector<worker_facts>& facts
) {
    const std::string words = std::string(tag_of(request.command)) +
                              (request.command.argument.empty() ? "" : " " + request.command.argument);
    if (auto error = objection(request.command, facts)) {
        log::info(
            "console_refused", {{"user", request.user}, {"command", words}, {"reason", error->message}}
        );
        admin_answer refused;
        refused.error = std::move(error);
        answer(ticket, std::move(refused));
        return;
    }
    log::warning("console_command", {{"user", request.user}, {"command", words}});
    carry_out(request, ticket);
}

std::optional<admin_error> admin_desk::objection(
    const admin_command& command, const std::vector<worker_facts>& facts
) const {
    const std::string& database = command.argument;
    if (command.verb == admin_verb::set) {
        const config::setting_base* known = settings_->find(own_setting(database));
        if (known != nullptr && known->reload() == config::reload_class::restart)
            return admin_error{
                protocol::sqlstate::cannot_change_now,
                "parameter \"" + database + "\" cannot be changed without restarting pgmend",
                "SHOW CONFIG says in its last column what can."};
        if (known != nullptr) return std::nullopt;
        const std::string near = settings_->nearest(database);
        return admin_error{
            protocol::sqlstate::undefined_object, "unrecognized configuration parameter \"" + database + '"',
            near.empty() ? "SHOW CONFIG lists all of them." : "Did you mean " + near + "?"};
    }
    if (command.verb == admin_verb::kill_client || command.verb == admin_verb::reload ||
        command.verb == admin_verb::reset_statements)
        return std::nullopt;
    if (shutting_down_) return not_in_this_state("pgmend is shutting down");
    if (command.verb == admin_verb::ban || command.verb == admin_verb::unban)
        return ban_objection(command, facts);
    if (command.verb == admin_verb::shutdown) return std::nullopt;
    if (is_console(database))
        return not_in_this_state(
            "the console itself cannot be the object of " + std::string(tag_of(command))
        );
    const bool known =
        database.empty() || database == settings_->upstream.database() || paused_.contains(database) ||
        disabled_.contains(database) ||
        std::ranges::any_of(facts, [&](const worker_facts& each) { return each.traffic.contains(database); });
    if (!known && command.verb != admin_verb::disable)
        return admin_error{
            protocol::sqlstate::undefined_database, "no such database: " + database,
            "SHOW DATABASES lists those that clients have used."};
    if (command.verb == admin_verb::pause || command.verb == admin_verb::kill) {
        if (all_paused_) return not_in_this_state("already paused", "RESUME ends it.");
        if (command.verb == admin_verb::pause && paused_.contains(database))
            return not_in_this_state("database " + database + " is already paused", "RESUME ends it.");
    }
    if (command.verb == admin_verb::resume) {
        if (!database.empty() && !paused_.contains(database))
            return not_in_this_state(
                "database " + database + " is not paused",
                all_paused_ ? "All of them are: RESUME without a database ends it." : ""
            );
        if (database.empty() && !all_paused_ && paused_.empty())
            return not_in_this_state("nothing is paused");
    }
    return std::nullopt;
}

void admin_desk::carry_out(const admin_request& request, const std::shared_ptr<admin_ticket>& ticket) {
    const admin_command& command = request.command;
    const database_choice which = choice_of(command);
    switch (command.verb) {
        case admin_verb::pause: {
            pause(which);
            auto wait = std::make_shared<waiting>(control_, waiting::goal::no_servers, which);
            wait->ticket = ticket;
            wait->undo_pause = true;
            wait_for(std::move(wait));
            return;
        }
        case admin_verb::wait_close: {
            auto wait = std::make_shared<waiting>(control_, waiting::goal::nothing_recycled, which);
            wait->ticket = ticket;
            wait_for(std::move(wait));
            return;
        }
        case admin_verb::kill_client:
            kill_client(command.argument, ticket);
            return;
        case admin_verb::reload:
            reload(ticket);
            return;
        case admin_verb::set:
            set(command, ticket);
            return;
        case admin_verb::shutdown:
            shut_down(command, ticket);
            return;
        case admin_verb::resume:
            resume(which);
            break;
        case admin_verb::reconnect:
            tell_workers([which](worker_admin& admin) { admin.reconnect(which); });
            break;
        case admin_verb::ban:
            ban(command, request.user);
            break;
        case admin_verb::unban:
            if (const auto place = server_named(command.argument))
                end_ban(*place, "unbanned", "by " + request.user);
            break;
        case admin_verb::reset_statements:
            tell_workers([](worker_admin& admin) { admin.reset_statements(); });
            break;
        case admin_verb::disable:
            disabled_.insert(*which);
            tell_workers([which](worker_admin& admin) { admin.disable(*which); });
            break;
        case admin_verb::enable:
            disabled_.erase(*which);
            tell_workers([which](worker_admin& admin) { admin.enable(*which); });
            break;
        case admin_verb::kill:
            pause(which);
            tell_workers([which](worker_admin& admin) { admin.kill(which); });
            break;
        case admin_verb::show:
        case admin_verb::select_number:
        case admin_verb::select_version:
        case admin_verb::begin:
        case admin_verb::commit:
        case admin_verb::rollback:
            break;
    }
    answer(ticket, {});
}

void admin_desk::pause(const database_choice& which) {
    if (which) {
        paused_.insert(*which);
    } else {
        all_paused_ = true;
    }
    tell_workers([which](worker_admin& admin) { admin.pause(which); });
}

void admin_desk::resume(const database_choice& which) {
    if (which) {
        paused_.erase(*which);
    } else {
        all_paused_ = false;
        paused_.clear();
    }
    tell_workers([which](worker_admin& admin) { admin.resume(which); });
}

void admin_desk::kill_client(const std::string& id, const std::shared_ptr<admin_ticket>& ticket) {
    struct search {
        std::size_t missing;
        bool found = false;
    };
    auto all = std::make_shared<search>();
    all->missing = workers_.size();
    const std::uint64_t wanted = std::stoull(id);
    for (worker* each : workers_) {
        each->post([this, all, wanted, ticket](worker_core& core) {
            const bool found = core.admin().kill_client(wanted);
            boost::asio::post(control_, [this, all, found, wanted, ticket] {
                all->found = all->found || found;
                if (--all->missing != 0) return;
                admin_answer made;
                if (!all->found) {
                    made.error = admin_error{
                        protocol::sqlstate::undefined_object,
                        "client " + std::to_string(wanted) + " not found",
                        "SHOW CLIENTS has the ids in its last column."};
                }
                answer(ticket, std::move(made));
            });
        });
    }
}

void admin_desk::set(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket) {
    const std::string key = own_setting(command.argument);
    const std::string value = own_value(command.argument, command.value, *settings_->find(key));
    const std::vector<std::string> problems = orders_.set(key, value);
    admin_answer made;
    if (!problems.empty())
        made.error = admin_error{protocol::sqlstate::invalid_parameter_value, problems.front(), {}};
    answer(ticket, std::move(made));
}

void admin_desk::reload(const std::shared_ptr<admin_ticket>& ticket) {
    const std::vector<std::string> problems = orders_.reload();
    admin_answer made;
    if (!problems.empty()) {
        std::string rest;
        for (std::size_t i = 1; i < problems.size() && i < 10; ++i)
            rest += (rest.empty() ? "" : "\n") + problems[i];
        made.error = admin_error{
            protocol::sqlstate::config_file_error, "RELOAD failed, nothing has changed: " + problems.front(),
            rest};
    }
    answer(ticket, std::move(made));
}

void admin_desk::shut_down(const admin_command& command, const std::shared_ptr<admin_ticket>& ticket) {
    shutting_down_ = true;
    if (command.wait == shutdown_wait::none) {
        answer(ticket, {});
        orders_.end();
        return;
    }
    orders_.stop_accepting();
    const bool for_servers = command.wait == shutdown_wait::for_servers;
    if (for_servers) pause(std::nullopt);
    const auto goal = for_servers ? waiting::goal::no_servers : waiting::goal::no_clients;
    auto wait = std::make_shared<waiting>(control_, goal, std::nullopt);
    wait->then = orders_.end;
    wait_for(std::move(wait));
    answer(ticket, {});
}

void admin_desk::wait_for(std::shared_ptr<waiting> what) {
    gather({}, [this, what](std::vector<worker_facts> facts) { look_again(what, facts); });
}

void admin_desk::look_again(const std::shared_ptr<waiting>& what, const std::vector<worker_facts>& facts) {
    if (what->ticket && what->ticket->cancelled()) {
        if (what->undo_pause) resume(what->database);
        admin_answer made;
        made.error = admin_error{
            protocol::sqlstate::query_canceled, "canceling statement due to user request",
            what->undo_pause ? "What was paused goes on." : ""};
        answer(what->ticket, std::move(made));
        return;
    }
    // RESUME from another console ends the wait of PAUSE as well.
    const bool resumed =
        what->undo_pause && !all_paused_ && (!what->database || !paused_.contains(*what->database));
    if (resumed || what->reached(facts)) {
        answer(what->ticket, {});
        if (what->then) what->then();
        return;
    }
    what->timer.expires_after(look_interval);
    what->timer.async_wait([this, what](const boost::system::error_code& error) {
        if (!error) wait_for(what);
    });
}

void admin_desk::plan_averages() {
    period_timer_.expires_after(settings_->admin.stats_period());
    period_timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) take_averages();
    });
}

void admin_desk::take_averages() {
    gather({}, [this](std::vector<worker_facts> facts) {
        const auto now = steady_now();
        period_.older = std::move(period_.newer);
        period_.newer.clear();
        for (const worker_facts& each : facts)
            for (const auto& [database, traffic] : each.traffic)
                period_.newer[database] += traffic;
        period_.seconds = std::chrono::duration<double>(now - period_began_).count();
        period_began_ = now;
        plan_averages();
    });
}

void admin_desk::note(healing_event act) {
    if (workers_.empty()) return;
    workers_.front()->post([act = std::move(act)](worker_core& core) { core.admin().note(act); });
}

}  // namespace pgmend::proxy
