#pragma once
// A statement in words that may be shown to an operator: its tokens with every constant elided, so that no
// value of a client's reaches a log or a ledger (HEALING, invariant 15). For rare events, not for every
// query. Pure.

#include <string>
#include <string_view>

#include "protocol/bytes.hpp"
#include "protocol/statement_classifier.hpp"

namespace pgmend::proxy {

/// Cut after about `most` characters, and at whatever is not understood. Empty where the settings leave open
/// what is a constant.
std::string statement_shape(std::string_view text, protocol::scan_settings settings, std::size_t most = 160);

/// The text of the first statement in whole messages of a client: a Query's or a Parse's. Empty when there is
/// none, as where statements are bound that were parsed before.
std::string_view first_statement(protocol::byte_view messages) noexcept;

}  // namespace pgmend::proxy
