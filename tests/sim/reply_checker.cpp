#include "tests/sim/reply_checker.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "protocol/bytes.hpp"
#include "tests/sim/startup_model.hpp"

namespace pgmend::sim {

namespace {

constexpr std::string_view protocol_option = "_pq_.";
/// The newest minor of protocol 3 there is.
constexpr std::uint32_t newest_minor = 2;
/// BackendKeyData of every protocol before 3.2.
constexpr std::size_t short_key_data = 8;
constexpr std::size_t long_key_data_max = 4 + 256;

name_value read_parameter(const std::string& body) {
    protocol::byte_reader reader(protocol::as_bytes(body));
    std::string name(reader.cstring());
    return {std::move(name), std::string(reader.cstring())};
}

/// Channel and payload; the pid in front of them is the server's affair.
std::string notification_text(const std::string& body) { return body.size() < 4 ? body : body.substr(4); }

/// Messages whose place in the stream means nothing, or which no two servers give alike.
bool is_asynchronous(char type) { return type == 'S' || type == 'A' || type == 'R' || type == 'K'; }

/// What a client can be told because something broke, and only then.
bool explained_by_faults(const std::string& code) {
    static const std::set<std::string> codes = {"57P01", "57P02", "57P03", "08000", "08001", "08003", "08004",
                                                "08006", "08007", "40001", "40003", "53300", "25006"};
    return codes.contains(code);
}

/// What a transaction that fails does not bring back, so that nobody knows of a lost one whether it was done.
bool outlives_its_transaction(const std::string& text) {
    static constexpr std::array<std::string_view, 5> words = {
        "PREPARE", "DEALLOCATE", "DISCARD", "advisory", "custom."};
    return std::any_of(words.begin(), words.end(), [&text](std::string_view word) {
        return text.find(word) != std::string::npos;
    });
}

/// What is wrong with a Bind is told by a server that has the statement. One that has not cannot be given it
/// in a block that has failed, and tells of that.
bool comes_earlier(const message& wanted, const message& what) {
    return what.type == 'E' && wanted.type == 'E' && read_error(what.body).code == "25P02" &&
           read_error(wanted.body).code == "08P01" && read_error(what.body).severity == "ERROR";
}

/// Whether the statements of a text may begin or end a block.
bool controls_block(const std::string& text) {
    static constexpr std::array<std::string_view, 5> words = {
        "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"};
    return std::any_of(words.begin(), words.end(), [&text](std::string_view word) {
        return text.find(word) != std::string::npos;
    });
}

std::map<std::string, std::string> startup_defaults(const std::vector<name_value>& parameters) {
    std::map<std::string, std::string> defaults;
    take_startup(parameters, defaults);
    return defaults;
}

/// The mark of another connection in `body`, which is written `c<client>.<connection>#` wherever one stands.
bool names_somebody_else(const std::string& body, const std::string& tag) {
    for (std::size_t at = body.find('#'); at != std::string::npos; at = body.find('#', at + 1)) {
        std::size_t from = at;
        while (from > 0 &&
               (std::isdigit(static_cast<unsigned char>(body[from - 1])) != 0 || body[from - 1] == '.')) {
            --from;
        }
        if (from == 0 || from == at || body[from - 1] != 'c') continue;
        if (body.substr(from - 1, at - from + 1) != tag) return true;
    }
    return false;
}

}  // namespace

reply_checker::reply_checker(judge& court, std::string tag, const std::vector<name_value>& parameters)
    : court_(court), tag_(std::move(tag)), defaults_(startup_defaults(parameters)) {
    for (const auto& [name, value] : parameters) {
        if (name.starts_with(protocol_option)) options_.push_back(name);
    }
    begin();
}

/// A reference that has just logged in.
void reply_checker::begin() {
    reference_.reset();
    rows_ = {};
    history_.assign(1, {});
    owed_.clear();
    expected_parameters_.clear();
    expected_notifications_.clear();
    rows_.on_commit([this] {
        commit_places_.push_back(reference_->out.size());
        history_.push_back(rows_.rows());
    });
    reference_.emplace(rows_, 1, "key", defaults_);
    reference_->welcome();
    run_reference();
}

void reply_checker::run_reference() {
    reference_->run_through();
    const std::size_t before = history_.size() - 1 - commit_places_.size();
    std::size_t at = 0;
    for (std::size_t start = 0; auto next = next_message(reference_->out, at); start = at) {
        const auto done =
            std::count_if(commit_places_.begin(), commit_places_.end(), [start](std::size_t place) {
                return place <= start;
            });
        if (next->type == 'Z') ++owed_ready_;
        const auto sight = next->type == 'Z' ? sight_of_group() : std::string_view();
        owed_.push_back({std::move(*next), before + static_cast<std::size_t>(done), unsynced_, sight});
    }
    reference_->out.clear();
    commit_places_.clear();
}

void reply_checker::sent(const message& what) {
    const bool takes = reference_->doing() == backend_model::activity::ready ||
                       reference_->doing() == backend_model::activity::copy_in;
    if (!takes) return;
    reference_->receive(what);
    const std::size_t before = owed_ready_;
    if (what.type == 'S') unsynced_ = false;
    run_reference();
    note_group(what, owed_ready_ > before);
    cancellable_ = false;
    log_.push_back({what, false, owed_ready_ > before});
}

void reply_checker::note_group(const message& what, bool answered) {
    if (std::string_view("PBDEC").find(what.type) != std::string_view::npos) unsynced_ = true;
    if (what.type == 'E') ++group_.executes;
    if (what.type == 'P' && what.body.front() != '\0') ++group_.names;
    if (what.type == 'Q' && !answered) group_.query_swallowed = true;
    if (what.type == 'S') group_ = {};
}

std::string_view reply_checker::sight_of_group() const noexcept {
    if (unsynced_) return "a request behind unsynchronised messages";
    if (group_.query_swallowed) return "a Query swallowed by an error before it";
    if (group_.executes >= 100) return "hundreds of Executes a Sync";
    return group_.names >= 2 && group_.executes >= 3 ? "named statements in a pipeline" : "";
}

void reply_checker::sent_cancellable(const message& what) { undecided_ = what; }

bool reply_checker::satisfied() const noexcept {
    if (undecided_) return false;
    if (degraded_) return owed_ready_ == 0;
    // Expected parameters and notifications that trail the last answer are no reason to wait.
    return std::all_of(owed_.begin(), owed_.end(), [](const expected& one) {
        return is_asynchronous(one.what.type);
    });
}

void reply_checker::skip_asynchronous() {
    while (!owed_.empty() && is_asynchronous(owed_.front().what.type)) {
        note_asynchronous(owed_.front().what);
        owed_.pop_front();
    }
}

void reply_checker::note_asynchronous(const message& what) {
    if (what.type == 'S') {
        const auto [name, value] = read_parameter(what.body);
        expected_parameters_[name] = value;
    }
    if (what.type == 'A') ++expected_notifications_[notification_text(what.body)];
}

answer reply_checker::received(const message& what, bool faults_began) {
    if (what.type == 'S') return check_parameter(what, faults_began);
    if (what.type == 'A') return check_notification(what, faults_began);
    if (what.type == 'v') return check_negotiation(what);
    if (what.type == 'K') {
        if (!cancel_key_.empty()) return wrong(oracle::unexpected_reply, what);
        cancel_key_ = what.body;
        const std::size_t most = minor_ >= newest_minor ? long_key_data_max : short_key_data;
        if (cancel_key_.size() < short_key_data || cancel_key_.size() > most)
            return wrong(oracle::wrong_reply, what);
        // Who asked for what nobody has is told.
        if (!negotiated_ && (minor_ > newest_minor || !options_.empty()))
            return wrong(oracle::wrong_reply, what);
    }
    if (is_asynchronous(what.type)) return answer::fine;
    if (undecided_) {
        const message statement = std::move(*undecided_);
        undecided_.reset();
        cancellable_ = true;
        const bool cancelled = what.type == 'E' && read_error(what.body).code == "57014";
        reference_->receive(statement);
        if (cancelled) reference_->cancel();
        const std::size_t before = owed_ready_;
        run_reference();
        log_.push_back({statement, cancelled, owed_ready_ > before});
    }
    if (degraded_) return received_degraded(what);
    skip_asynchronous();
    if (owed_.empty() || (owed_.front().what != what && !comes_earlier(owed_.front().what, what)))
        return mismatch(what, faults_began);
    acknowledged_ = std::max(acknowledged_, owed_.front().commits);
    if (!owed_.front().sight.empty()) sight_ = owed_.front().sight;
    owed_.pop_front();
    if (what.type == 'Z') {
        --owed_ready_;
        if (logged_in_) ++failed_group_;
        logged_in_ = true;
        settled_ = acknowledged_;
        if (!check_parameters(faults_began)) return answer::wrong;
    }
    return answer::fine;
}

/// After an error that a fault explains what else was asked for may be answered or fail, but each error is
/// followed by ReadyForQuery.
answer reply_checker::received_degraded(const message& what) {
    const bool error = what.type == 'E';
    if (error && read_error(what.body).severity == "FATAL") return answer::farewell;
    if (after_error_ && what.type != 'Z' && what.type != 'N') {
        court_.convict(
            error ? oracle::unexpected_reply : oracle::wrong_reply,
            tag_ + " was sent {" + describe(what) + "} between an error and its ReadyForQuery"
        );
        return answer::wrong;
    }
    after_error_ = error;
    if (what.type == 'Z') {
        status_ = what.body;
        if (owed_ready_ > 0) --owed_ready_;
    }
    return answer::fine;
}

/// Comes before anything else of the server, once, and only where less was to be had than was asked for.
answer reply_checker::check_negotiation(const message& what) {
    protocol::byte_reader reader(protocol::as_bytes(what.body));
    const std::uint32_t version = reader.u32();
    std::vector<std::string> refused;
    for (std::uint32_t left = reader.u32(); left > 0 && !reader.failed(); --left)
        refused.emplace_back(reader.cstring());
    const std::uint32_t newest = version & 0xffff;
    const bool called_for = minor_ > newest || !options_.empty();
    if (negotiated_ || logged_in_ || !cancel_key_.empty() || !called_for || version >> 16 != 3 ||
        reader.failed() || refused != options_)
        return wrong(oracle::wrong_reply, what);
    negotiated_ = true;
    minor_ = std::min(minor_, newest);
    return answer::fine;
}

answer reply_checker::mismatch(const message& what, bool faults_began) {
    if (what.type == 'E') {
        const auto fields = read_error(what.body);
        if (faults_began && (explained_by_faults(fields.code) || excused_.contains(fields.code))) {
            if (fields.severity == "FATAL") return answer::farewell;
            degrade();
            const auto ready = std::find_if(owed_.begin(), owed_.end(), [](const expected& one) {
                return one.what.type == 'Z';
            });
            const std::size_t until = ready != owed_.end() ? ready->commits : history_.size() - 1;
            told_not_done_ = until == acknowledged_ + 1 && fields.code != "08007";
            clear_loss_ = is_clear(fields.code, until);
            after_error_ = true;
            return answer::excused;
        }
        // An answer that broke off is given anew, and meets the client's own cancel late.
        if (fields.code == "57014" && faults_began && cancellable_)
            return degrade(), after_error_ = true, answer::excused;
        if (fields.code == "57014") return wrong(oracle::foreign_cancel, what);
    }
    if (names_somebody_else(what.body, tag_)) return wrong(oracle::crossed_reply, what);
    return wrong(owed_.empty() ? oracle::unexpected_reply : oracle::wrong_reply, what);
}

/// From here on answers are not known one by one.
void reply_checker::degrade() {
    degraded_ = true;
    const auto lacking = std::count_if(owed_.begin(), owed_.end(), [](const expected& one) {
        return one.what.type == 'Z' && one.may_lack;
    });
    owed_ready_ -= static_cast<std::size_t>(lacking);
    unclear_end_ = lacking > 0;
}

answer reply_checker::wrong(oracle which, const message& what) {
    const std::string wanted = owed_.empty() ? "nothing" : describe(owed_.front().what);
    court_.convict(which, tag_ + " was sent {" + describe(what) + "} where PostgreSQL says {" + wanted + "}");
    return answer::wrong;
}

/// A client knows its own notifications by the process that it was told to be its own.
answer reply_checker::check_notification(const message& what, bool faults_began) {
    ++notifications_[notification_text(what.body)];
    const bool own = what.body.find(tag_ + "#") != std::string::npos;
    const bool told_own = what.body.substr(0, 4) == cancel_key_.substr(0, 4);
    if (own && told_own) sight_ = "its own notification";
    if (faults_began || own == told_own) return answer::fine;
    court_.convict(
        oracle::notification, tag_ +
                                  (own ? " was sent its own notification as another's: "
                                       : " was sent another's notification as its own: ") +
                                  describe(what)
    );
    return answer::wrong;
}

/// Each change is told once; behind a fault perhaps by another server again.
answer reply_checker::check_parameter(const message& what, bool faults_began) {
    const auto [name, value] = read_parameter(what.body);
    const auto told = parameters_.find(name);
    if (!faults_began && !half_closed_ && told != parameters_.end() && told->second == value) {
        court_.convict(oracle::parameter_leak, tag_ + " was told again that " + name + " = '" + value + "'");
        return answer::wrong;
    }
    parameters_[name] = value;
    return answer::fine;
}

bool reply_checker::check_parameters(bool faults_began) {
    for (const auto& [name, value] : expected_parameters_) {
        // A fault turns it for every session, and each hears of it when it hears of anything.
        if (faults_began && name == "default_transaction_read_only") continue;
        const auto told = parameters_.find(name);
        if (told != parameters_.end() && told->second == value) continue;
        court_.convict(
            oracle::parameter_leak, tag_ + " was told " + name + " = '" +
                                        (told == parameters_.end() ? "(nothing)" : told->second) +
                                        "' where its session has '" + value + "'"
        );
        return false;
    }
    return true;
}

void reply_checker::finish(bool some_may_lack) {
    skip_asynchronous();
    auto balances = notifications_;
    for (const auto& [text, count] : expected_notifications_)
        balances[text] -= count;
    for (const auto& [text, balance] : balances) {
        if (balance == 0 || (balance < 0 && some_may_lack)) continue;
        court_.convict(
            oracle::notification, tag_ + (balance < 0 ? " missed" : " was sent too often") +
                                      " the notification " + describe({'A', text})
        );
    }
}

std::string reply_checker::owed() const {
    if (undecided_) return "the answer to {" + describe(*undecided_) + "}";
    for (const auto& one : owed_) {
        if (is_asynchronous(one.what.type)) continue;
        return "{" + describe(one.what) + "} and " + std::to_string(owed_.size() - 1) + " more";
    }
    return "nothing";
}

std::vector<reply_checker::rows> reply_checker::possible_rows() const {
    const auto groups = static_cast<std::size_t>(std::count_if(log_.begin(), log_.end(), [](const auto& one) {
        return one.ends_group;
    }));
    if (degraded_ && groups > failed_group_ + 1) return rows_without_failed_group(groups);
    const std::size_t last = told_not_done_ ? acknowledged_ : history_.size() - 1;
    return {
        history_.begin() + static_cast<std::ptrdiff_t>(acknowledged_),
        history_.begin() + static_cast<std::ptrdiff_t>(last + 1)};
}

void reply_checker::take_again(backend_model& reference, const sent_message& one) {
    if (one.lost) return reference.lose(*one.lost);
    reference.receive(one.what);
    if (one.cancelled) reference.cancel();
    reference.run_through();
}

/// The place of the first message that was not answered in full.
std::size_t reply_checker::failed_group_begins() const {
    std::size_t place = 0;
    for (std::size_t group = 0; place < log_.size() && group < failed_group_; ++place)
        group += log_[place].ends_group ? 1U : 0U;
    return place;
}

/// Whether an error with this SQLSTATE means that of the last group nothing was done, and what is the
/// client's; `commits` would have been known at its end.
bool reply_checker::is_clear(const std::string& code, std::size_t commits) const {
    const bool alone = logged_in_ && owed_ready_ == 1 && !log_.empty() && log_.back().ends_group;
    if (!alone || code == "08007" || cancellable_ || acknowledged_ != settled_ || commits > settled_ + 1)
        return false;
    const auto from = log_.begin() + static_cast<std::ptrdiff_t>(failed_group_begins());
    // A Sync inside a COPY is none, but where the COPY never began it is answered.
    const auto syncs =
        std::count_if(from, log_.end(), [](const sent_message& one) { return one.what.type == 'S'; });
    return syncs <= 1 && std::none_of(from, log_.end(), [](const sent_message& one) {
               const auto& [type, body] = one.what;
               const bool names = (type == 'P' && body.front() != '\0') || type == 'C';
               return names || outlives_its_transaction(body);
           });
}

bool reply_checker::goes_on() {
    if (!degraded_ || !clear_loss_ || unclear_end_ || owed_ready_ != 0) return false;
    const auto from = log_.begin() + static_cast<std::ptrdiff_t>(failed_group_begins());
    const bool either =
        std::any_of(from, log_.end(), [](const sent_message& one) { return controls_block(one.what.body); });
    log_.erase(from, log_.end());
    begin();
    for (const sent_message& one : log_) {
        take_again(*reference_, one);
        run_reference();
    }
    const bool failed = status_ == "E";
    const bool in_block = reference_->session().status() != protocol::transaction_status::idle;
    if (status_ == "T" || (failed != in_block && !either)) {
        court_.convict(
            oracle::wrong_reply, tag_ + " was told of a loss and then of the state " + status_ +
                                     (in_block ? ", in a block" : ", outside of a block")
        );
        return false;
    }
    log_.push_back({{}, false, true, failed});
    reference_->lose(failed);
    for (const expected& one : owed_)
        note_asynchronous(one.what);
    owed_.clear();
    owed_ready_ = 0;
    ++failed_group_;
    acknowledged_ = settled_ = history_.size() - 1;
    degraded_ = told_not_done_ = false;
    return true;
}

/// What a pipeline has behind a group that failed runs without it, or fails too: each by itself.
std::vector<reply_checker::rows> reply_checker::rows_without_failed_group(std::size_t groups) const {
    constexpr std::size_t most = 10;  // groups whose fate is not known: two ways each
    const std::size_t open = std::min(groups - failed_group_, most);
    std::vector<rows> possible;
    for (std::size_t done = 0; done < (std::size_t{1} << open); ++done) {
        if (told_not_done_ && (done & 1U) != 0) continue;
        sim_database database;
        backend_model again(database, 1, "key", defaults_);
        again.welcome();
        again.run_through();
        std::size_t group = 0;
        for (const sent_message& one : log_) {
            const std::size_t its = group;
            if (one.ends_group) ++group;
            const bool skipped = its >= failed_group_ &&
                                 (its - failed_group_ >= open || ((done >> (its - failed_group_)) & 1U) == 0);
            if (!skipped) take_again(again, one);
        }
        possible.push_back(database.rows());
    }
    return possible;
}

}  // namespace pgmend::sim
