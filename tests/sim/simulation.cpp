#include "tests/sim/simulation.hpp"

#include <algorithm>
#include <cctype>

#include "tests/sim/sim_postgres.hpp"

namespace pgmend::sim {

namespace {

/// Within this much virtual time after the last fault every client must have done all it wanted.
constexpr auto liveness_bound = std::chrono::seconds(120);
/// Within this much a subject must have tidied up after the last client.
constexpr auto tidy_bound = std::chrono::seconds(60);

class world {
public:
    world(const fault_schedule& schedule, const subject_factory& make, bool verbose);
    run_report run();

private:
    void set_faults();
    void set_reloads();
    void strike(const fault& one);
    void strike_link(const fault& one);
    void break_link(sim_link& link, link_group group, const fault& one);
    void turn_read_only(const fault& one);
    void leave_half_open(const fault& one);
    std::unique_ptr<sim_postgres> make_standby(bool verbose);
    void promote(const fault& one);
    /// Health checks look at the servers.
    void look_at_servers_at(time_point moment);
    void look_at_servers();
    /// Where standbys are read from: they replay what was committed, and are checked, now and then.
    void begin_replay();
    void replay();
    void look_at_positions();
    std::size_t connections() const;
    std::vector<std::string> traces() const;
    /// All that are set by then.
    std::vector<name_value> settings_until(std::uint32_t at_us) const;
    void play();
    void tidy_up();
    void check_rows();
    void check_rows_of(const reply_checker& checker);
    bool ended_well(run_end how, oracle otherwise, const std::string& meaning);
    time_point at(std::uint32_t microseconds) const {
        return start_ + std::chrono::microseconds(microseconds);
    }
    time_point later(duration by) const { return env_.now() + by; }

    const fault_schedule& schedule_;
    sim_environment env_;
    time_point start_;
    sim_network network_;
    judge court_;
    sim_postgres server_;
    std::unique_ptr<sim_postgres> standby_;
    sim_postgres* primary_ = &server_;
    std::unique_ptr<subject> subject_;
    client_world shared_;
    std::vector<std::unique_ptr<sim_client>> clients_;
    std::vector<std::unique_ptr<world_timer>> fault_timers_;
    time_point read_only_until_{};
    std::optional<prng> replay_dice_;  ///< of a run whose standby lags
    std::unique_ptr<world_timer> replay_timer_;
    std::unique_ptr<world_timer> look_timer_;
    std::unique_ptr<world_timer> answer_timer_;
    std::vector<seen_position> answers_;  ///< of the check under way
    std::set<std::string> struck_;
};

world::world(const fault_schedule& schedule, const subject_factory& make, bool verbose)
    : schedule_(schedule),
      env_(schedule.seed),
      start_(env_.now()),
      network_(env_),
      server_(env_, network_, schedule.traits(), {{"db1", 5432}, 100, verbose}),
      standby_(make_standby(verbose)),
      subject_(make(
          {env_, network_, server_.at(), schedule.traits(), schedule.server_connections, schedule.seed,
           standby_ ? std::optional(standby_->at()) : std::nullopt, settings_until(0),
           [this](const std::string& token) { return server_.database().has_record(token); }}
      )),
      shared_{env_, network_, subject_->client_endpoint(), court_, time_point::max(), verbose, {}} {
    network_.shuffle_readiness(schedule.shuffle);
    for (const auto& one : schedule.faults) {
        if (one.disrupts()) shared_.first_fault = std::min(shared_.first_fault, at(one.at_us));
    }
    shared_.healed = at(schedule.healed_us());
    for (const auto& plan : schedule.clients) {
        clients_.push_back(std::make_unique<sim_client>(shared_, plan));
        clients_.back()->start();
    }
    set_faults();
    set_reloads();
    look_at_servers();
    begin_replay();
}

void world::set_faults() {
    for (const fault& one : schedule_.faults) {
        if (one.nth > 0) {
            network_.when_opened(one.group, one.nth, [this, &one](sim_link& link) {
                break_link(link, one.group, one);
            });
            continue;
        }
        fault_timers_.push_back(std::make_unique<world_timer>(env_, [this, &one] { strike(one); }));
        fault_timers_.back()->at(at(one.at_us));
    }
}

void world::set_reloads() {
    std::set<std::uint32_t> moments;
    for (const auto& change : schedule_.settings) {
        if (change.at_us > 0) moments.insert(change.at_us);
    }
    for (const std::uint32_t moment : moments) {
        fault_timers_.push_back(std::make_unique<world_timer>(env_, [this, moment] {
            struck_.insert("reload");
            subject_->reload(settings_until(moment));
        }));
        fault_timers_.back()->at(at(moment));
    }
}

std::vector<name_value> world::settings_until(std::uint32_t at_us) const {
    std::map<std::string, std::string> set;
    for (const auto& change : schedule_.settings) {
        if (change.at_us <= at_us) set[change.key] = change.value;
    }
    return {set.begin(), set.end()};
}

void world::strike(const fault& one) {
    struck_.insert(std::string(to_string(one.kind)));
    env_.note(0xfa017 + static_cast<std::uint64_t>(one.kind));
    switch (one.kind) {
        case fault_kind::cut:
        case fault_kind::stall:
        case fault_kind::slow:
            return strike_link(one);
        case fault_kind::refuse:
            return network_.refuse_servers(at(one.end_us()));
        case fault_kind::hang:
            return network_.hang_servers(at(one.end_us()));
        case fault_kind::restart:
        case fault_kind::crash:
            // Whoever watches the servers sees it come back, where it was seen down or not.
            look_at_servers_at(at(one.end_us()));
            // Where standbys are read from it matters whether it was.
            if (replay_dice_)
                look_at_servers_at(later(std::chrono::microseconds(replay_dice_->below(20'000))));
            return primary_->restart(one.kind == fault_kind::restart, at(one.end_us()));
        case fault_kind::terminate:
            return primary_->terminate_one(one.pick);
        case fault_kind::read_only:
            return turn_read_only(one);
        case fault_kind::half_open:
            return leave_half_open(one);
        case fault_kind::drain:
            return subject_->hand_over(std::chrono::microseconds(one.for_us));
        case fault_kind::deny:
            shared_.first_denial = std::min(shared_.first_denial, env_.now());
            return primary_->deny_logins(at(one.end_us()));
        case fault_kind::promote:
            return promote(one);
    }
}

std::unique_ptr<sim_postgres> world::make_standby(bool verbose) {
    if (!schedule_.standby) return nullptr;
    sim_postgres::options how{{"db2", 5432}, 100, verbose};
    how.primary = &server_;
    return std::make_unique<sim_postgres>(env_, network_, schedule_.traits(), how);
}

/// The primary is gone at once; that it is, and who has taken its place, is known later.
void world::promote(const fault& one) {
    if (!standby_ || !subject_->follows_primary()) return primary_->restart(false, at(one.end_us()));
    if (primary_ == standby_.get()) return;
    primary_->fail_over(at(one.end_us()));
    primary_ = standby_.get();
    look_at_servers_at(env_.now() + std::chrono::microseconds(one.bytes));
    look_at_servers_at(at(one.end_us()));
}

void world::look_at_servers_at(time_point moment) {
    fault_timers_.push_back(std::make_unique<world_timer>(env_, [this] { look_at_servers(); }));
    fault_timers_.back()->at(moment);
}

void world::look_at_servers() {
    if (!standby_) return;
    std::vector<seen_server> seen;
    for (const sim_postgres* each : {&server_, standby_.get()})
        seen.push_back({each->is_starting(), !each->is_standby()});
    subject_->servers_seen(seen, server_.database().timeline());
}

void world::begin_replay() {
    const bool reads = std::ranges::any_of(schedule_.settings, [](const setting_change& each) {
        return each.key == "reads.mode" && each.value != "primary";
    });
    if (!standby_ || !reads) return;
    replay_dice_.emplace(schedule_.seed);
    const auto timer = [this](void (world::*what)()) {
        return std::make_unique<world_timer>(env_, [this, what] { (this->*what)(); });
    };
    replay_timer_ = timer(&world::replay);
    look_timer_ = timer(&world::look_at_positions);
    answer_timer_ = std::make_unique<world_timer>(env_, [this] {
        for (const seen_position& each : answers_)
            subject_->position_seen(each);
    });
    replay();
    look_at_positions();
}

/// Mostly soon, sometimes late.
void world::replay() {
    server_.database().replay();
    const auto most = replay_dice_->chance(1, 8) ? 500'000U : 5'000U;
    replay_timer_->at(later(std::chrono::microseconds(100 + replay_dice_->below(most))));
}

/// What a server tells is of some moment between the question and the answer.
void world::look_at_positions() {
    answers_.clear();
    const sim_database& database = server_.database();
    for (const sim_postgres* each : {&server_, standby_.get()}) {
        if (each->is_starting()) continue;
        const bool primary = !each->is_standby();
        const auto commits = primary ? database.commits() : database.replayed_commits();
        const auto earlier = std::chrono::microseconds(replay_dice_->below(2'000));
        answers_.push_back(
            {each == &server_ ? std::size_t{0} : std::size_t{1}, primary, 1 + commits, database.timeline(),
             env_.now() - earlier}
        );
    }
    answer_timer_->at(later(std::chrono::microseconds(replay_dice_->below(2'000))));
    look_timer_->at(later(std::chrono::microseconds(2'500 + replay_dice_->below(20'000))));
}

std::size_t world::connections() const {
    return server_.connections() + (standby_ ? standby_->connections() : 0);
}

std::vector<std::string> world::traces() const {
    auto found = server_.traces();
    if (!standby_) return found;
    for (auto& trace : standby_->traces())
        found.push_back(std::move(trace));
    return found;
}

void world::turn_read_only(const fault& one) {
    server_.database().set_read_only(true);
    read_only_until_ = std::max(read_only_until_, at(one.end_us()));
    fault_timers_.push_back(std::make_unique<world_timer>(env_, [this] {
        if (env_.now() >= read_only_until_) server_.database().set_read_only(false);
    }));
    fault_timers_.back()->at(at(one.end_us()));
}

/// Nothing arrives any more, until whoever looks after such connections resets it.
void world::leave_half_open(const fault& one) {
    const auto links = network_.living(one.group);
    if (links.empty()) return;
    const auto link = links[one.pick % links.size()];
    link->toward(end_side::opener).stall(at(one.end_us()));
    link->toward(end_side::acceptor).stall(at(one.end_us()));
    if (one.group == link_group::server) {
        shared_.first_fault = std::min(shared_.first_fault, env_.now());
        shared_.first_silence = std::min(shared_.first_silence, env_.now());
    }
    std::weak_ptr<sim_link> weak = link;
    fault_timers_.push_back(std::make_unique<world_timer>(env_, [weak] {
        if (const auto still = weak.lock()) still->cut(cut_kind::reset);
    }));
    fault_timers_.back()->at(at(one.end_us()));
}

void world::strike_link(const fault& one) {
    link_group group = one.group;
    auto links = network_.living(group);
    if (links.empty()) links = network_.living(group = link_group::server);
    if (links.empty()) return;
    const auto link = links[one.pick % links.size()];
    if (one.kind != fault_kind::slow) return break_link(*link, group, one);
    link->toward(one.toward).slow_down(one.bytes);
    std::weak_ptr<sim_link> weak = link;
    fault_timers_.push_back(std::make_unique<world_timer>(env_, [weak, toward = one.toward] {
        if (const auto still = weak.lock()) still->toward(toward).slow_down(0);
    }));
    fault_timers_.back()->at(at(one.end_us()));
}

void world::break_link(sim_link& link, link_group group, const fault& one) {
    pipe& direction = link.toward(one.toward);
    if (one.kind == fault_kind::stall) {
        if (one.nth == 0) return direction.stall(at(one.end_us()));
        return direction.stall_after(one.bytes, std::chrono::microseconds(one.for_us));
    }
    direction.cut_after(one.bytes, one.how);
    if (group == link_group::client) return;
    link.when_cut([this] { shared_.first_fault = std::min(shared_.first_fault, env_.now()); });
}

bool world::ended_well(run_end how, oracle otherwise, const std::string& meaning) {
    if (court_.convicted()) return false;
    if (how == run_end::done) return true;
    if (how == run_end::spinning) {
        court_.convict(oracle::spinning, "a stream is reported ready again and again and nobody acts");
    } else {
        court_.convict(otherwise, meaning);
    }
    return false;
}

void world::play() {
    const auto all_finished = [this] {
        return court_.convicted() || std::all_of(clients_.begin(), clients_.end(), [](const auto& client) {
                   return client->finished();
               });
    };
    const auto how = env_.run(all_finished, at(schedule_.healed_us()) + liveness_bound);
    std::string waiting;
    for (const auto& client : clients_) {
        if (!client->finished()) waiting += (waiting.empty() ? "" : "; ") + client->waiting_for();
    }
    ended_well(how, oracle::liveness, waiting);
}

void world::tidy_up() {
    // Sessions that slept when their client vanished, or whose stream was cut when some bytes more had come,
    // end late.
    const auto clean = [this] { return traces().empty() && subject_->clients_remaining().empty(); };
    auto how = env_.run(clean, later(tidy_bound));
    std::string remains;
    for (const auto& trace : traces())
        remains += trace + "; ";
    for (const auto& trace : subject_->clients_remaining())
        remains += trace + "; ";
    if (!ended_well(how, oracle::leftover, "after the clients left: " + remains)) return;
    const std::size_t allowed = schedule_.server_connections + subject_->beyond_budget();
    // What is allowed is allowed at each server.
    const std::size_t most =
        std::max(server_.connections_peak(), standby_ ? standby_->connections_peak() : std::size_t{0});
    if (subject_->keeps_budget() && most > allowed) {
        court_.convict(
            oracle::budget,
            std::to_string(most) + " server connections where " + std::to_string(allowed) + " are allowed"
        );
    }
    subject_->stop();
    const auto gone = [this] {
        return network_.open_links(link_group::client) == 0 && network_.open_links(link_group::server) == 0 &&
               connections() == 0 && subject_->leftovers().empty() && env_.subject_timers() == 0;
    };
    how = env_.run(gone, later(tidy_bound));
    remains = std::to_string(network_.open_links(link_group::client)) + " client and " +
              std::to_string(network_.open_links(link_group::server)) + " server connections, " +
              std::to_string(env_.subject_timers()) + " timers";
    for (const auto& trace : subject_->leftovers())
        remains += ", " + trace;
    ended_well(how, oracle::leftover, "after the subject stopped: " + remains);
}

void world::check_rows_of(const reply_checker& checker) {
    // '$' follows '#' in no key, and every key of a connection starts with its tag and '#'.
    const std::string from = checker.tag() + "#";
    std::map<std::string, std::string> actual;
    const auto& rows = server_.database().rows();
    for (auto row = rows.lower_bound(from); row != rows.end() && row->first.starts_with(from); ++row) {
        actual.insert(*row);
    }
    const auto possible = checker.possible_rows();
    if (std::find(possible.begin(), possible.end(), actual) != possible.end()) return;
    std::string text = checker.tag() + " has rows {";
    for (const auto& [key, value] : actual)
        text += key + "=" + value + " ";
    text += "} but was promised {";
    for (const auto& [key, value] : possible.front())
        text += key + "=" + value + " ";
    court_.convict(oracle::atomicity, text + "} or " + std::to_string(possible.size() - 1) + " later states");
}

void world::check_rows() {
    for (const auto& client : clients_) {
        for (const auto& checker : client->connections())
            check_rows_of(*checker);
    }
}

run_report world::run() {
    play();
    if (!court_.convicted()) tidy_up();
    if (!court_.convicted()) check_rows();
    run_report report;
    report.broken = court_.first();
    report.event_hash = env_.event_hash();
    report.turns = env_.turns();
    report.server_connections_peak = server_.connections_peak();
    for (const auto& client : clients_)
        report.connections += client->connections().size();
    for (const auto& sight : shared_.seen)
        report.marks.insert("seen " + sight);
    for (const auto& change : schedule_.settings) {
        if (std::isalpha(static_cast<unsigned char>(change.value.front())) != 0)
            report.marks.insert("set " + change.key + " " + change.value);
    }
    for (const auto& what : struck_)
        report.marks.insert("struck " + what);
    report.client_links = network_.carried(link_group::client);
    report.server_links = network_.carried(link_group::server);
    for (auto& mark : subject_->marks())
        report.marks.insert(std::move(mark));
    for (const auto& sqlstate : shared_.told)
        report.marks.insert("told " + sqlstate);
    return report;
}

}  // namespace

run_report run_schedule(const fault_schedule& schedule, const subject_factory& make, bool verbose) {
    return world(schedule, make, verbose).run();
}

run_report run_checked(
    const fault_schedule& schedule, const subject_factory& make, bool twice, bool verbose
) {
    auto report = run_schedule(schedule, make, verbose);
    if (!report.broken && twice && run_schedule(schedule, make).event_hash != report.event_hash) {
        report.broken = violation{oracle::nondeterminism, "the second run of the schedule went another way"};
    }
    for (const auto& mark : schedule.expected) {
        if (!report.broken && !report.marks.contains(mark))
            report.broken = violation{oracle::scenario, "the run did not reach: " + mark};
    }
    return report;
}

}  // namespace pgmend::sim
