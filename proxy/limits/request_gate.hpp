#pragma once
// Where a client's requests begin and end, seen from the types and lengths of its messages alone: a request
// is a simple Query or function call, or all messages up to a Sync. Pure; one session. Only for clients whose
// requests are limited: others are not walked twice.

#include <cstddef>
#include <cstdint>
#include <span>

namespace pgmend::proxy {

class request_gate {
public:
    using bytes = std::span<const std::byte>;

    /// What is seen from now on begins with a message.
    void start() noexcept {
        *this = {};
        started_ = true;
    }
    bool started() const noexcept { return started_; }

    /// Whether `data`, which stands behind what has passed, begins with a request that was not let in yet.
    bool at_beginning(bytes data) const noexcept;
    void let_in() noexcept { inside_ = true; }
    /// How much of `data` may be read before the next request has to be let in.
    std::size_t reach(bytes data) const noexcept;
    /// This much was read. Nothing is noted before `start`.
    void passed(bytes data) noexcept;
    /// `count` bytes that have passed come once more, from the beginning of a message: they were let in.
    void again(std::size_t count) noexcept;

    /// The request in front is refused: `drop` says what of it is thrown away. True when the client waits for
    /// no Sync, and ReadyForQuery is to follow the error at once.
    bool refuse(bytes data) noexcept;
    bool dropping() const noexcept { return dropping_; }
    struct dropped {
        std::size_t count = 0;
        bool ready = false;  ///< it ended with its Sync: ReadyForQuery is owed
    };
    dropped drop(bytes data) noexcept;

private:
    /// Whether the request is over with the message under way.
    enum class ending : std::uint8_t { no, alone, sync };
    struct place {
        std::size_t left = 0;  ///< of the message under way
        ending ends = ending::no;
        bool open = false;  ///< messages of the extended protocol have come whose Sync has not
    };
    struct stretch {
        std::size_t length = 0;
        bool over = false;  ///< it ends with the end of a request
    };
    /// To the end of the first request in front, or as far as there are whole headers.
    static stretch walk(bytes data, place& from, bool to_sync) noexcept;

    place place_;
    std::size_t again_ = 0;  ///< of these bytes everything was let in
    bool inside_ = false;    ///< the request under way was let in
    bool dropping_ = false;
    bool started_ = false;
};

}  // namespace pgmend::proxy
