#include "protocol/saslprep.hpp"

namespace pgmend::protocol {

std::string saslprep(std::string_view password) { return std::string(password); }

}  // namespace pgmend::protocol
