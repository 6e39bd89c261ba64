#pragma once
// Short conversations that are always the same, byte for byte, so that something can be broken at each of
// their bytes in turn. What they are answered is judged as that of any client. Pure.

#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/client_script.hpp"

namespace pgmend::sim {

/// The one that is mostly login: asks for TLS first and sends parameters.
inline constexpr std::string_view login_conversation = "login";

/// The one whose messages are larger than any buffer on their way.
inline constexpr std::string_view large_conversation = "large";

/// All names, `login` first.
const std::vector<std::string>& conversation_names();
bool is_conversation(std::string_view name);

/// Startup parameters besides user and database.
std::vector<name_value> conversation_startup(std::string_view name);
/// Settings of the subject that it is about, by key.
std::vector<name_value> conversation_settings(std::string_view name);
/// `tag` stands in every statement and key, as in a drawn script.
std::vector<script_step> write_conversation(std::string_view name, const std::string& tag);

}  // namespace pgmend::sim
