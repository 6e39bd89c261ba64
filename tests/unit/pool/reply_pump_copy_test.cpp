#include "tests/unit/pool/pumped_replies.hpp"

using namespace pgmend::test;

TEST_CASE("reply pump: copying out is only rows of another kind") {
    const std::string bytes = copy_out_response() + copy_data("1\n") + copy_data("2\n") + copy_done() +
                              complete("COPY 2") + ready('I');
    const outcome what = pump(bytes, owing({{reply_kind::query, forward}}));
    CHECK(what.to_client == bytes);
    CHECK(what.settled);
}

TEST_CASE("reply pump: while the server reads copy data it owes no answer to Sync") {
    // Bind, Execute, Sync, then the data, CopyDone and another Sync: all were sent before an answer came.
    const std::string bytes = bind_complete() + copy_in_response() + complete("COPY 1") + ready('I');
    const outcome what = pump(
        bytes, owing(
                   {{reply_kind::bind, forward},
                    {reply_kind::execute, forward},
                    {reply_kind::sync, forward},
                    {reply_kind::copy_end, forward},
                    {reply_kind::sync, forward}}
               )
    );
    CHECK(what.to_client == bytes);
    CHECK(what.settled);
    CHECK_FALSE(what.in_doubt);
}

TEST_CASE("reply pump: an error while copying, after a Sync that may or may not be ignored, is a doubt") {
    const auto group = owing({{reply_kind::execute, forward}, {reply_kind::sync, forward}});
    const outcome once = pump(copy_in_response() + error("22P04"), group);
    CHECK(once.in_doubt);
    // Whether or not the Sync was read as one, what the server says is passed on.
    const outcome answered = pump(copy_in_response() + error("22P04") + ready('I'), group);
    CHECK(answered.result == pump_result::drained);
    CHECK(answered.to_client == copy_in_response() + error("22P04") + ready('I'));
    CHECK(answered.in_doubt);
    // Without such a Sync there is none.
    const outcome sure = pump(
        copy_in_response() + error("22P04") + ready('I'),
        owing({{reply_kind::query, forward}, {reply_kind::copy_end, forward}})
    );
    CHECK_FALSE(sure.in_doubt);
    CHECK(sure.settled);
}

TEST_CASE("reply pump: a copy that ended well leaves no doubt for later errors") {
    const outcome what = pump(
        copy_in_response() + complete("COPY 1") + ready('I') + error("22012") + ready('I'),
        owing(
            {{reply_kind::execute, forward},
             {reply_kind::sync, forward},
             {reply_kind::copy_end, forward},
             {reply_kind::sync, forward},
             {reply_kind::execute, forward},
             {reply_kind::sync, forward}}
        )
    );
    CHECK_FALSE(what.in_doubt);
    CHECK(what.settled);
}

TEST_CASE("reply pump: a Sync sent while copying by a simple query may be answered once the copy has failed"
) {
    const preparation prepare = [](test_worker&, server_connection& server) {
        push(server, reply(reply_kind::query));
        server.owed.begin_copy_in();
        server.owed.sync_in_copy();
        server.owed.push_copy_end();
    };
    const std::string failed = error("22P04") + ready('I');
    CHECK(pump(failed, prepare).result == pump_result::drained);
    const outcome answered = pump(failed + ready('I'), prepare);
    CHECK(answered.result == pump_result::drained);
    CHECK(answered.to_client == failed + ready('I'));
    CHECK(answered.in_doubt);
    CHECK_FALSE(pump(complete("COPY 1") + ready('I'), prepare).in_doubt);
}
