#include "pool/error_instead.hpp"

#include "protocol/message_writer.hpp"
#include "protocol/sqlstate.hpp"

namespace pgmend::pool {

std::vector<std::byte> error_instead(protocol::substitute_error which) {
    std::string_view message;
    std::string_view routine;
    std::string_view detail;
    std::string_view hint;
    std::string_view sqlstate = protocol::sqlstate::invalid_sql_statement_name;
    switch (which) {
        case protocol::substitute_error::none:
        case protocol::substitute_error::duplicate_statement:
        case protocol::substitute_error::no_unnamed_statement:
        case protocol::substitute_error::unknown_statement:
            message = "prepared statement does not exist";
            break;
        case protocol::substitute_error::malformed:
            sqlstate = protocol::sqlstate::protocol_violation;
            message = "invalid message format";
            routine = "pq_getmsgend";
            break;
        case protocol::substitute_error::too_many_statements:
            sqlstate = protocol::sqlstate::program_limit_exceeded;
            message = "too many prepared statements";
            detail = "One client has as many as it may have (limits.client_prepared_statements), 0 remain.";
            hint = "Retry when one of them is closed, or ask for a higher limit.";
            break;
        case protocol::substitute_error::changed_result:
            sqlstate = protocol::sqlstate::feature_not_supported;
            message = "cached plan must not change result type";
            routine = "RevalidateCachedQuery";
            break;
    }
    std::vector<std::byte> frame;
    protocol::message_writer{frame}.error(
        {.sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint, .routine = routine}
    );
    return frame;
}

}  // namespace pgmend::pool
