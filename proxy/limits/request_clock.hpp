#pragma once
// How long a client's statement and transaction have been under way, and how much it was answered, against
// the limits it is under: what is over, what is to be done about it, and when to look again. Pure: the time
// is an argument. One session, and only one that is under such limits.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "config/environment.hpp"
#include "config/modes.hpp"

namespace pgmend::proxy {

/// What a client is allowed; zero: anything.
struct request_bounds {
    config::duration query{};
    config::duration idle_transaction{};
    config::duration transaction{};
    std::uint64_t result_bytes = 0;

    bool any() const noexcept {
        return query.count() != 0 || idle_transaction.count() != 0 || transaction.count() != 0 ||
               result_bytes != 0;
    }
};

class request_clock {
public:
    /// How long a cancel may take until it is sent once more.
    static constexpr config::duration patience = std::chrono::seconds{5};
    /// How long until what was not to be interrupted is looked at again, if there is no news of it before.
    static constexpr config::duration postponed = std::chrono::seconds{1};

    enum class deed : std::uint8_t {
        nothing,
        cancel,  ///< what runs, at its server; its error then means that it was over the limit
        end,     ///< the client's connection
    };
    struct verdict {
        deed what = deed::nothing;
        config::request_limit why{};
        std::optional<config::time_point> again;  ///< later than now; none: when there is news
    };

    /// Something of the client's goes to its server.
    void sent(config::time_point now) noexcept;
    /// So much of the answer goes to the client. True: that makes it too much, and what runs is to be
    /// cancelled.
    bool answered(
        const request_bounds& bounds, std::size_t bytes, bool nothing_owed, config::time_point now
    ) noexcept;
    /// ReadyForQuery. `more`: another request is under way behind it.
    void ready(bool in_block, bool more, bool cancel_under_way, config::time_point now) noexcept;
    /// What is over at `now`. `ours`: what runs is not to be interrupted, as a commit.
    verdict look(const request_bounds& bounds, bool ours, config::time_point now) noexcept;

    /// The limit by which the statement was cancelled that has just failed with query_canceled; none: it was
    /// somebody else's cancel. `late`: it was meant for the one before.
    struct cause {
        config::request_limit which{};
        bool late = false;
    };
    std::optional<cause> cancelled() noexcept;
    /// When `look` will have something to say.
    std::optional<config::time_point> due(const request_bounds& bounds) const noexcept;
    /// The server is gone, or the client asks for nothing.
    void stop() noexcept { *this = {}; }
    std::uint64_t shown_bytes() const noexcept { return shown_; }

private:
    using moment = std::optional<config::time_point>;

    verdict cancel(config::request_limit why, const request_bounds& bounds, config::time_point now) noexcept;

    moment running_;                             ///< since when; none: nothing is
    moment idle_;                                ///< since when, inside a transaction
    moment began_;                               ///< the transaction
    moment cancel_at_;                           ///< sent last
    std::optional<config::request_limit> by_;    ///< what runs was cancelled
    std::optional<config::request_limit> late_;  ///< something that has ended before its cancel came
    std::uint64_t shown_ = 0;                    ///< bytes of this answer
    bool new_answer_ = false;                    ///< a ReadyForQuery is in what goes to the client next
};

}  // namespace pgmend::proxy
