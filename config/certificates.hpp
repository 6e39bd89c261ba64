#pragma once
// Certificates beside the first one: a client that names a host in its TLS greeting (SNI) is shown the one of
// that name.

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"

namespace pgmend::config {

/// Paths of PEM files.
struct certificate_entry {
    std::string cert;
    std::string key;
    auto operator<=>(const certificate_entry&) const = default;
};
using certificate_list = std::vector<certificate_entry>;

/// Reads a sequence of `{cert, key}`, both given.
bool read_certificates(
    const document_node& node, std::string_view key, certificate_list& into, problems& found
);
std::string print_certificates(const certificate_list& certificates);

}  // namespace pgmend::config
