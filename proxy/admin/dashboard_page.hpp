#pragma once
// The dashboard: one page without anything from elsewhere, made from proxy/dashboard and compiled in. Pure.

#include "proxy/process/http_exchange.hpp"

namespace pgmend::proxy {

/// The page, for who can unpack it.
http_reply dashboard_page(const http_request& request);

}  // namespace pgmend::proxy
