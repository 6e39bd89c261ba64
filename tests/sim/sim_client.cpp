#include "tests/sim/sim_client.hpp"

#include <algorithm>
#include <cstdio>

#include "protocol/bytes.hpp"
#include "protocol/md5_auth.hpp"
#include "tests/sim/conversations.hpp"
#include "tests/sim/startup_model.hpp"

namespace pgmend::sim {

namespace {

constexpr pool::readiness any_event{1, 1};
const std::string wrong_password_code = "28P01";
constexpr std::uint32_t authentication_ok = 0;
constexpr std::uint32_t authentication_cleartext = 3;
constexpr std::uint32_t authentication_md5 = 5;
constexpr std::uint32_t authentication_sasl = 10;
constexpr std::uint32_t authentication_sasl_continue = 11;
constexpr auto retry_after = std::chrono::milliseconds(50);

/// Whether a step's first message takes up what a step before it has begun.
bool continues_exchange(const std::string& first) {
    std::size_t at = 0;
    const auto what = next_message(first, at);
    switch (what->type) {
        case 'Q':
        case 'P':
        case 'F':
            return false;
        case 'B':  // an empty name of a portal, then an empty one of a statement
            return what->body.starts_with(std::string(2, '\0'));
        default:
            return true;
    }
}

}  // namespace

class sim_client::canceller final : private pool::event_sink {
public:
    canceller(sim_client& owner, duration after)
        : owner_(owner), timer_(owner.world_.env, [this] { begin(); }) {
        timer_.after(after);
    }
    /// The cancel was seen through, or its connection is lost.
    bool over() const noexcept { return over_; }

private:
    void begin() {
        stream_ = owner_.world_.network.connect(owner_.world_.server);
        stream_->watch(*this, any_event);
        stream_->arm(pool::interest::write);
        const std::string& key = owner_.checkers_.back()->cancel_key();
        const auto pid = protocol::load_u32(reinterpret_cast<const std::byte*>(key.data()));
        packet_ = frontend::cancel_request(pid, key.substr(4));
    }
    void notify(pool::event_mask) noexcept override {
        if (over_) return;
        std::byte ignored[16];
        while (!packet_.empty()) {
            const iovec piece{packet_.data(), packet_.size()};
            const auto result = stream_->write_some({&piece, 1});
            if (result.status == pool::io_status::would_block) return;
            if (result.status != pool::io_status::ok) return end();
            packet_.erase(0, result.bytes);
        }
        stream_->arm(pool::interest::read);
        const auto result = stream_->read_some(ignored);
        if (result.status == pool::io_status::eof || result.status == pool::io_status::error) end();
    }
    void end() {
        over_ = true;
        stream_->close();
        owner_.timer_.at(owner_.world_.env.now());
    }

    sim_client& owner_;
    std::unique_ptr<pool::stream> stream_;
    std::string packet_;
    bool over_ = false;
    world_timer timer_;
};

sim_client::sim_client(client_world& world, const client_plan& plan)
    : world_(world),
      plan_(plan),
      dice_(plan.seed),
      timer_(world.env, [this] { tick(); }),
      look_(world.env, [this] {
          looking_away_ = false;
          proceed();
      }) {}

sim_client::~sim_client() = default;

void sim_client::say(const std::string& what) const {
    if (!world_.verbose) return;
    const auto now =
        std::chrono::duration_cast<std::chrono::microseconds>(world_.env.now().time_since_epoch());
    std::printf(
        "%12lld c%u.%zu %s\n", static_cast<long long>(now.count() % 86'400'000'000), plan_.number,
        checkers_.size(), what.c_str()
    );
}

void sim_client::tick() {
    paused_ = false;
    if (phase_ == phase::waiting) return connect();
    proceed();
}

void sim_client::connect() {
    if (checkers_.size() >= connections_max) {
        world_.court.convict(
            oracle::liveness, "c" + std::to_string(plan_.number) + " gave up: every connection was lost"
        );
        phase_ = phase::finished;
        return;
    }
    const std::string tag = "c" + std::to_string(plan_.number) + "." + std::to_string(checkers_.size() + 1);
    std::vector<name_value> parameters = {{"user", "app"}, {"database", "app"}};
    const bool drawn = plan_.conversation.empty();
    for (auto& more : drawn ? draw_startup(plan_.how, dice_) : conversation_startup(plan_.conversation))
        parameters.push_back(std::move(more));
    if (plan_.more_parameters) add_parameters(parameters);
    if (plan_.asks_option) parameters.emplace_back("_pq_.of_the_future", "on");
    checkers_.push_back(std::make_unique<reply_checker>(world_.court, tag, parameters));
    checkers_.back()->asks_minor(plan_.minor);
    challenged_ = false;
    const std::string startup = frontend::startup(parameters, (3U << 16) + plan_.minor);
    const std::size_t left = plan_.exchanges > steps_done_ ? plan_.exchanges - steps_done_ : 1;
    script_ = drawn ? write_script(plan_.how, dice_, tag, left) : write_conversation(plan_.conversation, tag);
    if (plan_.more_parameters) show_parameters();
    step_ = 0;
    waiting_ = true;
    input_.clear();
    input_at_ = 0;
    written_ = 0;
    const bool asks_for_tls = drawn ? dice_.chance(1, 3) : plan_.conversation == login_conversation;
    output_ = asks_for_tls ? frontend::ssl_request() : "";
    if (output_.empty())
        output_ = startup;
    else
        script_.insert(script_.begin(), script_step{{startup}, true, {}, {}});
    phase_ = phase::connecting;
    stream_ = world_.network.connect(world_.server);
    stream_->watch(*this, any_event);
    stream_->arm(pool::interest::write);
    say("connects");
}

/// Drawn apart, so that what a seed means besides stays.
void sim_client::add_parameters(std::vector<name_value>& parameters) {
    prng dice(plan_.seed ^ (0x9a7a + checkers_.size()));
    const drawn_startup drawn = draw_any_startup(dice, checkers_.empty() && dice.chance(1, 6));
    parameters.insert(parameters.end(), drawn.parameters.begin(), drawn.parameters.end());
    given_ = drawn.names;
    std::map<std::string, std::string> ignored;
    const auto error = take_startup(parameters, ignored);
    refusal_ = error ? error->code : "";
}

/// They are there from the beginning, and what RESET and DISCARD go back to.
void sim_client::show_parameters() {
    static constexpr const char* ways[] = {"RESET ALL", "DISCARD ALL", "ROLLBACK"};
    std::vector<std::string> texts;
    for (const std::string& name : given_)
        texts.push_back("SHOW " + name);
    texts.push_back("SET " + given_.front() + " TO DEFAULT");
    texts.emplace_back(ways[plan_.seed % std::size(ways)]);
    texts.push_back("SHOW " + given_.back());
    auto at = script_.begin();
    for (const std::string& text : texts)
        at = script_.insert(at, script_step{{frontend::query(text)}, true, {}, {}}) + 1;
}

void sim_client::arm() {
    const bool reading = !looking_away_;
    const bool writing = !output_.empty() || phase_ == phase::connecting;
    stream_->arm(static_cast<pool::interest>((reading ? 1 : 0) | (writing ? 2 : 0)));
}

void sim_client::proceed() {
    if (!stream_) return;
    if (phase_ == phase::connecting) {
        const auto result = stream_->connected();
        if (result.status == pool::io_status::would_block) return;
        if (result.status == pool::io_status::error) return lost("refused");
        phase_ = phase::logging_in;
    }
    if (!write()) return;
    if (!looking_away_ && !read()) return;
    if (phase_ == phase::running && (!waiting_ || checkers_.back()->satisfied())) next_step();
    if (stream_) arm();
}

bool sim_client::write() {
    while (!output_.empty()) {
        const std::size_t all = output_.size();
        std::size_t count = plan_.write_piece > 0 ? std::min<std::size_t>(plan_.write_piece, all) : all;
        const bool will_vanish = plan_.vanish_after > 0 && checkers_.size() == 1;
        if (will_vanish) count = std::min(count, plan_.vanish_after - written_);
        const iovec piece{output_.data(), count};
        const auto result = stream_->write_some({&piece, 1});
        if (result.status == pool::io_status::would_block) break;
        if (result.status != pool::io_status::ok) return lost("writing failed"), false;
        output_.erase(0, result.bytes);
        written_ += result.bytes;
        if (will_vanish && written_ >= plan_.vanish_after) {
            say("vanishes");
            close_and_retry();
            return false;
        }
        // One piece a turn: others get to see the bytes before more of them come.
        if (plan_.write_piece > 0 && written_ < 2000) break;
    }
    if (phase_ == phase::leaving && output_.empty()) {
        say("leaves");
        stream_.reset();
        phase_ = phase::finished;
        return false;
    }
    return true;
}

bool sim_client::read() {
    std::byte block[16384];
    const auto result = stream_->read_some(block);
    if (result.status == pool::io_status::would_block) return true;
    if (result.status != pool::io_status::ok) return lost("closed"), false;
    if (input_at_ > 0) input_.erase(0, input_at_);
    input_at_ = 0;
    input_.append(reinterpret_cast<const char*>(block), result.bytes);
    if (plan_.read_pause_us > 0) {
        looking_away_ = true;
        look_.after(std::chrono::microseconds(plan_.read_pause_us));
    }
    if (phase_ == phase::logging_in && !script_.empty() && checkers_.back()->cancel_key().empty() &&
        input_[0] == 'N' && written_ == 8) {
        // The answer to SSLRequest is one byte; the startup packet waits as the first step.
        input_.erase(0, 1);
        output_ += script_.front().messages.front();
        script_.erase(script_.begin());
    }
    while (stream_) {
        auto next = next_message(input_, input_at_);
        if (!next) break;
        if (next->type == 0) {
            world_.court.convict(
                oracle::broken_framing, checkers_.back()->tag() + " was sent bytes that are no message"
            );
            break;
        }
        take(*next);
    }
    return stream_ != nullptr;
}

void sim_client::take(const message& what) {
    say("< " + sim::describe(what));
    world_.env.note_text(std::string_view(what.body).substr(0, 64));
    if (phase_ == phase::logging_in && authenticate(what)) return;
    if (world_.env.now() >= world_.first_denial) checkers_.back()->excuse(wrong_password_code);
    if (static_cast<sim_stream&>(*stream_).link().was_cut()) checkers_.back()->half_closed();
    const answer meaning = checkers_.back()->received(what, world_.faults_explain());
    if (what.type == 'E' && (meaning == answer::excused || meaning == answer::farewell)) {
        world_.told.insert(read_error(what.body).code);
    }
    switch (meaning) {
        case answer::fine:
            if (const auto sight = checkers_.back()->take_sight(); !sight.empty()) world_.seen.emplace(sight);
            if (what.type == 'Z' && phase_ == phase::logging_in) come_in();
            if (phase_ == phase::draining && checkers_.back()->satisfied()) after_failure();
            return;
        case answer::excused:
            phase_ = phase::draining;
            if (checkers_.back()->satisfied()) after_failure();
            return;
        case answer::farewell:
            do_again();
            return close_and_retry();
        case answer::wrong:
            return;
    }
}

void sim_client::come_in() {
    phase_ = phase::running;
    if (!refusal_.empty()) {
        world_.court.convict(
            oracle::wrong_reply,
            checkers_.back()->tag() + " was let in with parameters that PostgreSQL refuses"
        );
    }
    if (plan_.more_parameters) world_.seen.insert("startup parameters of any name");
    if (!world_.keys.insert(checkers_.back()->cancel_key()).second) {
        world_.court.convict(
            oracle::crossed_reply, checkers_.back()->tag() + " was given the cancel key of another"
        );
    }
    if (checkers_.back()->negotiated()) world_.seen.insert("negotiation");
    if (checkers_.back()->cancel_key().size() > 8) world_.seen.insert("long key");
    if (challenged_) world_.seen.insert("password taken");
}

bool sim_client::authenticate(const message& what) {
    if (what.type == 'E' && challenged_ && has_wrong_password() &&
        read_error(what.body).code == wrong_password_code) {
        world_.seen.insert("password refused");
        close_and_retry();
        return true;
    }
    if (what.type == 'E' && !refusal_.empty() && read_error(what.body).code == refusal_ &&
        read_error(what.body).severity == "FATAL") {
        world_.seen.insert("startup refused " + refusal_);
        close_and_retry();
        return true;
    }
    if (what.type != 'R') return false;
    protocol::byte_reader reader(protocol::as_bytes(what.body));
    const std::uint32_t code = reader.u32();
    const std::string password = has_wrong_password() ? "a guess" : "secret";
    std::string proof;
    if (code == authentication_ok) {
        if (!challenged_ || !has_wrong_password()) return false;
        world_.court.convict(oracle::admitted, checkers_.back()->tag() + " was let in with a wrong password");
        return true;
    }
    challenged_ = true;
    if (code == authentication_cleartext) {
        proof = password;
    } else if (code == authentication_md5) {
        protocol::md5_salt salt{};
        for (auto& byte : salt)
            byte = static_cast<std::byte>(reader.u8());
        proof = protocol::md5_response(password, "app", salt);
    } else {
        if (code == authentication_sasl)
            scram_ =
                std::make_unique<protocol::scram_client>(password, "a-nonce-of-tests", world_.scram_keys);
        prove_by_scram(code, std::string_view(what.body).substr(4));
        return true;
    }
    message_builder(output_, 'p').string(proof).end();
    return true;
}

void sim_client::prove_by_scram(std::uint32_t code, std::string_view data) {
    if (!scram_) return;
    if (code == authentication_sasl) {
        const auto first = scram_->mechanisms(protocol::as_bytes(data));
        message_builder(output_, 'p').string(scram_->mechanism()).value(first.message).end();
    } else if (code == authentication_sasl_continue) {
        message_builder(output_, 'p').raw(scram_->server_first(data).message).end();
    } else if (scram_->server_final(data).status != protocol::scram_status::done) {
        world_.court.convict(
            oracle::wrong_reply, checkers_.back()->tag() + " was not shown that the password is known"
        );
    }
}

void sim_client::next_step() {
    if (paused_ || (canceller_ && !canceller_->over())) return;
    canceller_.reset();
    while (step_ < script_.size()) {
        script_step& step = script_[step_];
        if (step.pause.count() > 0) {
            paused_ = true;
            timer_.after(std::exchange(step.pause, {}));
            return;
        }
        ++step_;
        ++steps_done_;
        send_step(step);
        if (step.cancel_after) canceller_ = std::make_unique<canceller>(*this, *step.cancel_after);
        waiting_ = step.wait;
        if (waiting_) return;
    }
    checkers_.back()->finish(world_.env.now() >= world_.first_silence);
    phase_ = phase::leaving;
    output_ += frontend::terminate();
}

void sim_client::send_step(const script_step& step) {
    for (const auto& bytes : step.messages) {
        std::size_t at = 0;
        const auto sent = next_message(bytes, at);
        say("> " + sim::describe(*sent));
        if (step.cancel_after) {
            checkers_.back()->sent_cancellable(*sent);
        } else {
            checkers_.back()->sent(*sent);
        }
        output_ += bytes;
    }
}

void sim_client::lost(const std::string& how) {
    say("lost: " + how);
    do_again();
    // What breaks between a client and the subject costs that connection and nobody else anything.
    if (!world_.faults_began() && !static_cast<sim_stream&>(*stream_).link().was_cut()) {
        world_.court.convict(
            oracle::lost_connection, checkers_.back()->tag() + " lost its connection (" + how +
                                         ") while it was owed " + checkers_.back()->owed()
        );
    }
    close_and_retry();
}

/// The step that was not answered is still to be done, by one connection or another.
void sim_client::do_again() {
    if (phase_ == phase::running || phase_ == phase::draining)
        steps_done_ -= std::min<std::size_t>(steps_done_, 1);
}

/// Some applications throw a connection away that has told them of a failure, others use it on: half of the
/// clients do.
void sim_client::after_failure() {
    do_again();
    const bool stays = plan_.seed % 2 == 1;
    if (!stays || !checkers_.back()->goes_on()) return close_and_retry();
    say("goes on");
    world_.seen.insert("a use after a failure");
    // The rest of an exchange speaks of what is lost: its unnamed statement, its portals, its copy.
    while (step_ < script_.size() && continues_exchange(script_[step_].messages.front()))
        ++step_;
    waiting_ = true;
    phase_ = phase::running;
}

void sim_client::close_and_retry() {
    stream_.reset();
    canceller_.reset();
    look_.stop();
    looking_away_ = false;
    output_.clear();
    phase_ = phase::waiting;
    // Longer each time, so that the connections it may open last as long as the longest outage.
    timer_.after(retry_after * (1 << checkers_.size() / 8));
}

std::string sim_client::waiting_for() const {
    static constexpr const char* phases[] = {"to connect",
                                             "for its connection",
                                             "for its login",
                                             "in its script",
                                             "for the ReadyForQuery after a failure",
                                             "to leave",
                                             "for nothing"};
    const std::string name = "c" + std::to_string(plan_.number) + "." + std::to_string(checkers_.size());
    std::string text =
        name + " (" + std::string(to_string(plan_.how)) + ") waits " + phases[static_cast<int>(phase_)];
    if (!checkers_.empty()) text += ", owed " + checkers_.back()->owed();
    return text;
}

}  // namespace pgmend::sim
