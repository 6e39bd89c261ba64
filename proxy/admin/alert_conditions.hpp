#pragma once
// What is the matter with pgmend, as alerts tell of it: what GET /health calls degraded or critical, and what
// is beyond the thresholds of the policy. Pure.

#include <cstdint>
#include <vector>

#include "proxy/admin/alert_book.hpp"
#include "proxy/admin/health_report.hpp"

namespace pgmend::proxy {

/// Requests since the last look.
struct request_tally {
    std::uint64_t answered = 0;
    std::uint64_t failed = 0;  ///< errors that clients were told
};

std::vector<alert_condition> alert_conditions(
    const health_report& report, const admin_facts& facts, const request_tally& since
);

}  // namespace pgmend::proxy
