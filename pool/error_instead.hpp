#pragma once
// The errors that stand in for what a server was made to say: it has its own names for statements, and the
// client is told by those it knows. Pure.

#include <vector>

#include "protocol/reply_queue.hpp"

namespace pgmend::pool {

/// The whole ErrorResponse.
std::vector<std::byte> error_instead(protocol::substitute_error which);

}  // namespace pgmend::pool
