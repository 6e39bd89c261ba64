// The request side of the relay: whatever a client sends, what goes to the server are whole frames a server
// would take, and the same ones however the bytes were cut.

#include <algorithm>

#include "proxy/session/request_relay.hpp"
#include "tests/fuzz/relay_input.hpp"
#include "tests/support/test_server.hpp"

namespace pgmend::fuzz {

namespace {

using proxy::request_result;

constexpr std::size_t held_message = 16384;

struct relay_outcome {
    std::string to_server;
    std::string to_client;
    request_result last = request_result::need_more;
    bool operator==(const relay_outcome&) const = default;
};

/// One client and its server, which answers everything whenever it is waited for.
class relayed_client {
public:
    relayed_client(bool at_once) : relay_(context_, facts_), at_once_(at_once) {
        facts_.startup = facts_.settings = facts_.told = worker_.parameters.empty();
    }

    /// Everything that can be done with `bytes` and what was left over before. False when it is over.
    bool say(std::string_view bytes) {
        unread_ += bytes;
        for (std::size_t flights = 0;; ++flights) {
            require(flights < 10'000, "a message is dealt with in a bounded number of flights");
            // Bytes of their own, so that one read too many is one the sanitizer sees.
            const auto unread = protocol::as_bytes(unread_);
            std::vector<std::byte> data(unread.begin(), unread.end());
            static pool::gather to_server;
            static pool::gather to_client;
            const auto step = relay_.read(data, server_.get(), to_server, to_client);
            require(step.consumed <= data.size(), "no more is consumed than there is");
            test::take_flight(to_server, what.to_server);
            test::take_flight(to_client, what.to_client);
            unread_.erase(0, step.consumed);
            what.last = step.result;
            if (step.result == request_result::flight_full) continue;
            if (step.result == request_result::need_server) {
                server_ = worker_.server(64, 8);
                continue;
            }
            if (step.result == request_result::too_many && server_) {
                answer_all();
                continue;
            }
            if (step.result != request_result::need_more) return false;
            if (at_once_ && server_) answer_all();
            return true;
        }
    }

    relay_outcome what;

private:
    void answer_all() {
        auto& owed = server_->owed;
        while (!owed.empty()) {
            protocol::owed_reply& reply = owed.front();
            if (reply.kind == protocol::reply_kind::parse && reply.statement) {
                reply.statement.prove();
                if (reply.named_on_server) {
                    server_->statements.confirm(reply.statement->id);
                } else {
                    server_->statements.confirm_unnamed(reply.statement->id);
                }
            }
            if (reply.evicted != 0) server_->statements.closed(reply.evicted);
            if (!owed.ready()) owed.pop();
        }
    }

    // Made once, being large: none of it changes what an input does.
    static test::test_worker& shared_worker() {
        static test::test_worker made;
        made.parameters.sweep({});
        return made;
    }
    static protocol::statement_classifier& shared_classifier() {
        static protocol::statement_classifier made({.max_text_bytes = 4096, .cache_entries = 256});
        return made;
    }

    test::test_worker& worker_ = shared_worker();
    protocol::statement_store store_{20};
    protocol::statement_classifier& classifier_ = shared_classifier();
    std::uint64_t epoch_ = 0;
    std::uint64_t doubts_ = 0;
    proxy::sequence_habits habits_;
    pool::leak_suspects suspects_;
    proxy::statement_tallies tallies_{16};
    proxy::relay_context context_{
        .statements = store_,
        .classifier = classifier_,
        .parameters = worker_.parameters,
        .metrics = worker_.metrics,
        .schema_epoch = epoch_,
        .doubts = doubts_,
        .held_message = held_message,
        .client_statements = 10,
        .habits = habits_,
        .suspects = suspects_,
        .tallies = tallies_};
    proxy::session_facts facts_;
    std::unique_ptr<pool::server_connection> server_;
    proxy::request_relay relay_;
    std::string unread_;
    bool at_once_;
};

void check_frames(std::string_view bytes, std::string_view types, const char* property) {
    while (bytes.size() >= 5) {
        const std::size_t size = protocol::load_u32(protocol::as_bytes(bytes).data() + 1) + std::size_t{1};
        require(size >= 5 && types.find(bytes.front()) != types.npos, property);
        if (size > bytes.size()) return;  // passed on in part, the client has not sent the rest
        bytes.remove_prefix(size);
    }
}

/// Whether a message is too long to be held: it is looked into all the same when one read has brought all of
/// it.
bool has_longer_than_held(std::string_view bytes) {
    while (bytes.size() >= 5) {
        const std::size_t size = protocol::load_u32(protocol::as_bytes(bytes).data() + 1) + std::size_t{1};
        if (size > held_message) return true;
        if (size < 5 || size > bytes.size()) return false;
        bytes.remove_prefix(size);
    }
    return false;
}

}  // namespace

void requests(byte_view input) {
    dice from(input);
    const bool at_once = from.coin();
    dice cuts(protocol::as_bytes(from.text(8)));
    const std::string all = from.coin() ? drawn_requests(from, 60) : std::string(from.rest_text());

    // As much at a time as a read of production's may bring.
    relayed_client whole(at_once);
    for (std::string_view rest = all; !rest.empty();) {
        const std::size_t piece = std::min(rest.size(), pool::buffer_pool::scratch_bytes);
        if (!whole.say(rest.substr(0, piece))) break;
        rest.remove_prefix(piece);
    }
    check_frames(whole.what.to_server, "BCDEFHPQSXcdf", "the server is sent messages it knows");
    check_frames(whole.what.to_client, "123CDEGHIKNRSTVZdcntsA", "the client is sent messages it knows");

    // Answers that come meanwhile change what follows, so the cut is compared only where none do.
    if (at_once || has_longer_than_held(all)) return;
    relayed_client cut(at_once);
    for (std::string_view rest = all; !rest.empty();) {
        const std::size_t piece = std::min<std::size_t>(rest.size(), 1 + cuts.u8() * std::size_t{3});
        if (!cut.say(rest.substr(0, piece))) break;
        rest.remove_prefix(piece);
    }
    require(cut.what == whole.what, "the same requests give the same flights however they are cut");
}

}  // namespace pgmend::fuzz
