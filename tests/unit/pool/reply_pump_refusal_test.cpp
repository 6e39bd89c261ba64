#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "pool/reply_pump.hpp"
#include "tests/support/messages.hpp"
#include "tests/support/test_server.hpp"

using namespace pgmend::pool;
using namespace pgmend::test;
using pgmend::protocol::owed_reply;
using pgmend::protocol::reply_action;
using pgmend::protocol::reply_kind;
using pgmend::protocol::transaction_status;

namespace {

/// Who waits until a server takes writes, or not.
class refused final : public reply_sink {
public:
    bool waits = false;
    std::string calls;
    std::string error_kept;

    std::optional<std::string> reported(std::string_view, std::string_view value) override {
        calls += 'S';
        return std::string{value};
    }
    void own_row(pgmend::protocol::byte_view) override {}
    void error(std::string_view sqlstate, std::string_view, bool, bool) override {
        calls += "e" + std::string{sqlstate} + ' ';
    }
    bool farewell(std::string_view, std::string_view, bool) override { return false; }
    bool stale_plan(const pgmend::protocol::statement_ref&, bool) override { return false; }
    bool refused_write(pgmend::protocol::byte_view error) override {
        calls += 'w';
        error_kept = pgmend::protocol::as_text(error);
        return waits;
    }
    void command_complete(std::string_view) override { calls += 'c'; }
    void ready() override { calls += 'r'; }
    void undone(owed_reply& reply) override { calls += reply.failed ? 'U' : 'u'; }
};

std::string said(std::string_view sqlstate, std::string_view severity = "ERROR") {
    return message('E', "S" + z(severity) + "V" + z(severity) + "C" + z(sqlstate) + "M" + z("no") + '\0');
}

struct seen {
    std::string to_client;
    refused sink;
    std::size_t owed;
    transaction_status status;
};

seen meets(const std::string& bytes, const std::vector<reply_kind>& owed, bool waits) {
    test_worker worker;
    const auto server = worker.server();
    for (const reply_kind kind : owed)
        server->owed.push(kind);
    seen what;
    what.sink.waits = waits;
    byte_source source;
    source.bytes = bytes;
    REQUIRE(server->in.fill(source, 0).status == io_status::ok);
    const auto step = pump_replies(*server, what.sink, worker.flight, worker.parameters, {1 << 20});
    CHECK(step.result == pump_result::drained);
    take_flight(worker.flight, what.to_client);
    what.owed = server->owed.size();
    what.status = server->status;
    return what;
}

}  // namespace

TEST_CASE("reply pump: a server that takes no writes is told to whoever may wait, and to the client otherwise"
) {
    const std::vector<reply_kind> simple{reply_kind::query};
    const std::vector<reply_kind> extended{
        reply_kind::parse, reply_kind::bind, reply_kind::execute, reply_kind::sync};
    const std::string no = said("25006");
    // Kept back with the end of its group; what is reported in between is the session's.
    const auto status = parameter_status("default_transaction_read_only", "on");
    const seen waits = meets(no + status + ready('I'), simple, true);
    CHECK(types_of(waits.to_client) == "S");
    CHECK(waits.sink.calls == "wSr");
    CHECK(waits.sink.error_kept == no);
    CHECK(waits.owed == 0);
    const seen in_block = meets(no + ready('E'), simple, true);
    CHECK(in_block.to_client.empty());
    CHECK(in_block.status == transaction_status::failed);
    const seen group = meets(message('1', "") + message('2', "") + no + ready('I'), extended, true);
    CHECK(types_of(group.to_client) == "12");
    CHECK(group.sink.calls == "wUr");
    CHECK(group.owed == 0);
    // Shown as ever.
    const seen shown = meets(message('1', "") + message('2', "") + no + ready('I'), extended, false);
    CHECK(types_of(shown.to_client) == "12EZ");
    CHECK(shown.sink.calls == "we25006 Ur");
    CHECK(types_of(meets(no + ready('I'), simple, false).to_client) == "EZ");
}

TEST_CASE("reply pump: no other error makes anybody wait, and none of our own queries") {
    CHECK(meets(said("25001") + ready('I'), {reply_kind::query}, true).sink.calls == "e25001 r");
    CHECK(meets(said("25006", "FATAL"), {reply_kind::query}, true).sink.calls == "e25006 ");
    test_worker worker;
    const auto server = worker.server();
    server->owed.push(reply_kind::query, reply_action::own);
    refused sink;
    sink.waits = true;
    byte_source source;
    source.bytes = said("25006") + ready('I');
    REQUIRE(server->in.fill(source, 0).status == io_status::ok);
    pump_replies(*server, sink, worker.flight, worker.parameters, {1 << 20});
    CHECK(sink.calls == "e25006 r");
}
