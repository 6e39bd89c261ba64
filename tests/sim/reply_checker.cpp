#include "tests/sim/reply_checker.hpp"

#include <algorithm>
#include <set>

#include "protocol/bytes.hpp"

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

std::map<std::string, std::string> startup_defaults(const std::vector<name_value>& parameters) {
    std::map<std::string, std::string> defaults;
    for (const auto& [name, value] : parameters) {
        if (name == "user") defaults["session_authorization"] = value;
        const auto canonical = canonical_parameter(name);
        if (!canonical) continue;
        if (const auto accepted = canonical_value(*canonical, value)) defaults[*canonical] = *accepted;
    }
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
    : court_(court),
      tag_(std::move(tag)),
      defaults_(startup_defaults(parameters)),
      reference_(rows_, 1, "key", defaults_) {
    history_.emplace_back();
    for (const auto& [name, value] : parameters) {
        if (name.starts_with(protocol_option)) options_.push_back(name);
    }
    rows_.on_commit([this] {
        commit_places_.push_back(reference_.out.size());
        history_.push_back(rows_.rows());
    });
    reference_.welcome();
    run_reference();
}

void reply_checker::run_reference() {
    reference_.run_through();
    const std::size_t before = history_.size() - 1 - commit_places_.size();
    std::size_t at = 0;
    for (std::size_t start = 0; auto next = next_message(reference_.out, at); start = at) {
        const auto done =
            std::count_if(commit_places_.begin(), commit_places_.end(), [start](std::size_t place) {
                return place <= start;
            });
        if (next->type == 'Z') ++owed_ready_;
        owed_.push_back({std::move(*next), before + static_cast<std::size_t>(done)});
    }
    reference_.out.clear();
    commit_places_.clear();
}

void reply_checker::sent(const message& what) {
    const bool takes = reference_.doing() == backend_model::activity::ready ||
                       reference_.doing() == backend_model::activity::copy_in;
    if (!takes) return;
    reference_.receive(what);
    const std::size_t before = owed_ready_;
    run_reference();
    cancellable_ = false;
    log_.push_back({what, false, owed_ready_ > before});
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
        const message& what = owed_.front().what;
        if (what.type == 'S') {
            const auto [name, value] = read_parameter(what.body);
            expected_parameters_[name] = value;
        }
        if (what.type == 'A') --notifications_[notification_text(what.body)];
        owed_.pop_front();
    }
}

answer reply_checker::received(const message& what, bool faults_began) {
    if (what.type == 'S') {
        const auto [name, value] = read_parameter(what.body);
        parameters_[name] = value;
        return answer::fine;
    }
    if (what.type == 'A') {
        ++notifications_[notification_text(what.body)];
        return answer::fine;
    }
    if (what.type == 'v') return check_negotiation(what);
    if (what.type == 'K') {
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
        reference_.receive(statement);
        if (cancelled) reference_.cancel();
        const std::size_t before = owed_ready_;
        run_reference();
        log_.push_back({statement, cancelled, owed_ready_ > before});
    }
    if (degraded_) {
        if (what.type == 'Z' && owed_ready_ > 0) --owed_ready_;
        return what.type == 'E' && read_error(what.body).severity == "FATAL" ? answer::farewell
                                                                             : answer::fine;
    }
    skip_asynchronous();
    if (owed_.empty() || owed_.front().what != what) return mismatch(what, faults_began);
    acknowledged_ = std::max(acknowledged_, owed_.front().commits);
    owed_.pop_front();
    if (what.type == 'Z') {
        --owed_ready_;
        if (logged_in_) ++failed_group_;
        logged_in_ = true;
        if (!check_parameters(faults_began)) return answer::wrong;
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
            degraded_ = true;
            const auto ready = std::find_if(owed_.begin(), owed_.end(), [](const expected& one) {
                return one.what.type == 'Z';
            });
            const std::size_t until = ready != owed_.end() ? ready->commits : history_.size() - 1;
            told_not_done_ = until == acknowledged_ + 1 && fields.code != "08007";
            return answer::excused;
        }
        // An answer that broke off is given anew, and meets the client's own cancel late.
        if (fields.code == "57014" && faults_began && cancellable_) return degraded_ = true, answer::excused;
        if (fields.code == "57014") return wrong(oracle::foreign_cancel, what);
    }
    if (names_somebody_else(what.body, tag_)) return wrong(oracle::crossed_reply, what);
    return wrong(owed_.empty() ? oracle::unexpected_reply : oracle::wrong_reply, what);
}

answer reply_checker::wrong(oracle which, const message& what) {
    const std::string wanted = owed_.empty() ? "nothing" : describe(owed_.front().what);
    court_.convict(which, tag_ + " was sent {" + describe(what) + "} where PostgreSQL says {" + wanted + "}");
    return answer::wrong;
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
    for (const auto& [text, balance] : notifications_) {
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
        for (const auto& [what, cancelled, ends_group] : log_) {
            const std::size_t its = group;
            if (ends_group) ++group;
            const bool skipped = its >= failed_group_ &&
                                 (its - failed_group_ >= open || ((done >> (its - failed_group_)) & 1U) == 0);
            if (skipped) continue;
            again.receive(what);
            if (cancelled) again.cancel();
            again.run_through();
        }
        possible.push_back(database.rows());
    }
    return possible;
}

}  // namespace pgmend::sim
