#pragma once
// The message types of protocol 3.0 and 3.2 in PostgreSQL's own words.
// Source: PostgreSQL documentation, "Message Formats"; src/include/libpq/protocol.h. Pure.

#include <cstdint>

namespace pgmend::protocol {

/// Messages a client sends. `password` is also SASLInitialResponse, SASLResponse and GSSResponse.
enum class frontend_message : char {
    bind = 'B',
    close = 'C',
    copy_data = 'd',
    copy_done = 'c',
    copy_fail = 'f',
    describe = 'D',
    execute = 'E',
    flush = 'H',
    function_call = 'F',
    parse = 'P',
    password = 'p',
    query = 'Q',
    sync = 'S',
    terminate = 'X',
};

/// Messages a server sends.
enum class backend_message : char {
    authentication = 'R',
    backend_key_data = 'K',
    bind_complete = '2',
    close_complete = '3',
    command_complete = 'C',
    copy_both_response = 'W',
    copy_data = 'd',
    copy_done = 'c',
    copy_in_response = 'G',
    copy_out_response = 'H',
    data_row = 'D',
    empty_query_response = 'I',
    error_response = 'E',
    function_call_response = 'V',
    negotiate_protocol_version = 'v',
    no_data = 'n',
    notice_response = 'N',
    notification_response = 'A',
    parameter_description = 't',
    parameter_status = 'S',
    parse_complete = '1',
    portal_suspended = 's',
    ready_for_query = 'Z',
    row_description = 'T',
};

/// What ReadyForQuery says of the transaction.
enum class transaction_status : char { idle = 'I', in_block = 'T', failed = 'E' };

}  // namespace pgmend::protocol
