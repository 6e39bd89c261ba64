#pragma once
// The dashboard as it is compiled in: made from page.html by embed.cmake. Pure.

#include <string_view>

namespace pgmend::proxy::dashboard {

/// The page, by gzip.
std::string_view packed_page() noexcept;
/// The Content-Security-Policy it is sent with: its own script and style by their digests, and nothing else.
std::string_view content_policy() noexcept;

}  // namespace pgmend::proxy::dashboard
