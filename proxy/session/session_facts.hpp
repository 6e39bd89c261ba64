#pragma once
// What pgmend knows of one client's session: its settings, what it was told of them, and why it may have to
// keep its server. Statements are noted when they are sent, whatever becomes of them; at the next safe point
// the server itself is asked what is true (HEALING section 4: the server's own word). Pure; one worker
// thread.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/metrics.hpp"
#include "protocol/parameter_set.hpp"
#include "protocol/statement_traits.hpp"
#include "proxy/session/sequence_habits.hpp"

namespace pgmend::proxy {

using config::metrics::pin_reason;

inline constexpr auto all_pin_reasons = [] {
    std::array<pin_reason, config::metrics::pin_reason_words.size()> all{};
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i] = static_cast<pin_reason>(i);
    }
    return all;
}();

/// Why a server stays with a client beyond its request. A set of pin_reason bits.
class pin_set {
public:
    void add(pin_reason reason) noexcept { bits_ = static_cast<std::uint16_t>(bits_ | bit(reason)); }
    void remove(pin_reason reason) noexcept { bits_ = static_cast<std::uint16_t>(bits_ & ~bit(reason)); }
    bool has(pin_reason reason) const noexcept { return (bits_ & bit(reason)) != 0; }
    bool only(pin_reason reason) const noexcept { return bits_ == bit(reason); }
    bool empty() const noexcept { return bits_ == 0; }
    void clear() noexcept { bits_ = 0; }
    bool operator==(const pin_set&) const = default;

private:
    static constexpr std::uint16_t bit(pin_reason reason) noexcept {
        return static_cast<std::uint16_t>(1U << static_cast<unsigned>(reason));
    }
    std::uint16_t bits_ = 0;  // small: every idle client has three
};

/// How one statement reset settings for certain, if nothing went wrong: no need to ask.
enum class certain_reset : std::uint8_t { none, one, all, everything };

/// Both connections meet the mark, each at its own time: what the shared one tells of begins behind it, and
/// what the client's server tells of ends before it.
struct shared_channel {
    bool live = false;  ///< the shared connection tells of it
    bool left = false;  ///< and the client's server does not any more
};

/// What the shared connection hears for one client.
struct shared_channels {
    std::map<std::string, shared_channel, std::less<>> channels;
    /// What UNLISTENs name that were sent and not answered, "*" for all.
    std::vector<std::string> sent_unlistens;
};

class session_facts {
public:
    const protocol::parameter_set* startup = nullptr;   ///< what RESET ALL goes back to
    const protocol::parameter_set* settings = nullptr;  ///< in force now, beyond the server's startup values
    const protocol::parameter_set* told = nullptr;      ///< what the client was told by ParameterStatus
    pin_set pins;
    /// The shape of the last statement that may have drawn from a sequence; zero: none.
    std::uint32_t last_draw = 0;
    sequence_habits* habits = nullptr;  ///< of all clients of the worker; may be null
    shared_channels* shared = nullptr;  ///< null while the shared connection hears nothing for this client

    /// Whether what the client sets is known, by pool.session_state.
    bool follows_settings() const noexcept { return !keeps_server_ && !forgets_; }
    /// pool.session_state: pin.
    void keep_server() noexcept { keeps_server_ = true; }
    /// pool.session_state: off.
    void forget_requests() noexcept { forgets_ = true; }
    /// A statement is under way that may leave something nobody knows of: the server is asked.
    void suspect() noexcept {
        if (forgets_) {
            left_something_ = true;
        } else {
            review_pins_ = true;
        }
    }
    /// Whether a suspicion is looked into: what is thrown away with the request is not.
    bool looks_into_suspicions() const noexcept { return !forgets_; }
    /// The client has a server; `foreign`: somebody else had it since, and may have used sequences.
    void server_taken(bool foreign) noexcept { foreign_sequences_ = foreign; }
    /// Whether what sequences gave others must be forgotten before this statement. Told once.
    bool take_foreign_sequences(const protocol::statement_traits& traits, std::string_view text) noexcept;
    /// A statement goes to the server. `idle`: it begins a request of its own. Constant time for nearly all.
    void note(const protocol::statement_traits& traits, std::string_view text, bool idle);
    /// Whether the server must be asked before it may be given back.
    bool in_doubt() const noexcept { return review_pins_ || !touched_.empty(); }
    /// Whether a Parse now means what it means to others with the same settings: not while some may hold for
    /// the transaction alone.
    bool parses_like_others() const noexcept { return !in_doubt() && !local_settings_ && !left_something_; }
    /// The request is over, and with it what held for its transaction.
    void request_over() noexcept { local_settings_ = server_turned_ = false; }
    /// Whether the server has begun or ceased to take writes during the request, by its own word.
    bool server_turned() const noexcept { return server_turned_; }
    /// While sessions are not followed: the request has changed its session, which ends with it.
    bool leaves_something() const noexcept { return left_something_; }
    /// The server was given back.
    void server_left() noexcept { left_something_ = false; }
    /// Whether something may be left in the server's session that this object does not know.
    bool unverified() const noexcept {
        return in_doubt() || !pins.empty() || reset_ != certain_reset::none || left_something_;
    }
    /// The request was lost with its server, and nothing of it happened: what it may have left there is gone.
    /// Only while no pin is older than the request.
    void rewound() noexcept {
        const bool session_mode = pins.has(pin_reason::session_mode);
        pins.clear();
        if (session_mode) pins.add(pin_reason::session_mode);
        reset_ = completed_ = certain_reset::none;
        review_pins_ = local_settings_ = had_temporary_objects_ = server_turned_ = false;
        touched_.clear();
    }
    /// Whether this text asks for channels that only the shared connection knows of: then the server is told
    /// of them first.
    bool asks_channels(std::string_view text) const noexcept;
    /// The server listens to the client's channels again.
    void listens_again() noexcept {
        pins.add(pin_reason::listen);
        review_pins_ = true;
    }
    /// A statement changed the schema since the last call.
    bool take_schema_change() noexcept { return std::exchange(schema_changed_, false); }
    /// The server the client has holds temporary objects, told once: the client's next server does not.
    bool take_temporary_objects() noexcept { return std::exchange(had_temporary_objects_, false); }

    /// What is known of the server the client has.
    struct server_view {
        const protocol::parameter_set*& settings;  ///< in force, beyond its startup values
        const protocol::parameter_set* reported_at_login;
    };
    /// A statement ended without an error, with this CommandComplete tag.
    void completed(std::string_view tag, const server_view& server, protocol::parameter_store& store);
    void failed() noexcept { reset_ = certain_reset::none; }
    /// ReadyForQuery.
    void ready() noexcept { completed_ = certain_reset::none; }
    /// A server reported a parameter during the client's request: somebody set it, if only a trigger, or the
    /// server's configuration has changed meanwhile.
    void note_reported(std::string_view name);
    /// What the client is to be told where a server, which began with `at_login`, reports `value`: RESET
    /// takes application_name to the server's default, which is not this client's.
    std::string_view reported(
        std::string_view name, std::string_view value, const protocol::parameter_set& at_login
    ) const noexcept;

    /// The question for the server, empty when nothing is in doubt: one or two rows answer it.
    std::string review_query(std::string_view login_user) const;
    /// Takes the answer, the columns of all its rows in order, NULL as nullopt: what is pinned by evidence
    /// stays, what was in doubt is settled.
    void reviewed(
        const std::vector<std::optional<std::string>>& columns, const server_view& server,
        protocol::parameter_store& store
    );
    /// The question could not be answered: keep the server for good.
    void review_failed() noexcept;

private:
    void doubt_reset();
    void note_changes(const protocol::statement_traits& traits, std::string_view text, bool idle);
    /// The statement, `alone` in its request, takes one parameter back to the client's start.
    void note_reset(std::string_view name, bool alone);

    void discarded() noexcept;
    void note_unlistens(std::string_view text);
    void note_sequences(const protocol::statement_traits& traits, std::string_view text);

    /// Parameters whose value is not known for certain.
    enum class touch : std::uint8_t {
        set,
        reset,     ///< by the last statement that named it
        reported,  ///< no statement named it: the server is asked who set it
    };
    std::map<std::string, touch, std::less<>> touched_;
    std::unique_ptr<std::string> reset_name_;    ///< set while one of the two below is `one`
    certain_reset reset_ = certain_reset::none;  ///< sent, not answered yet
    certain_reset completed_ =
        certain_reset::none;  ///< answered; what it changed is reported before ReadyForQuery
    bool review_pins_ = false;
    bool schema_changed_ = false;
    bool local_settings_ = false;
    bool had_temporary_objects_ = false;
    bool foreign_sequences_ = false;
    // Bits: an idle client is to be small.
    bool keeps_server_ : 1 = false;
    bool forgets_ : 1 = false;
    bool server_turned_ : 1 = false;
    bool left_something_ : 1 = false;  ///< while it forgets: the server is cleaned at the end of the request
};

}  // namespace pgmend::proxy
