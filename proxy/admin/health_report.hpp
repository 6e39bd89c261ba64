#pragma once
// What GET /health tells (HEALING section 11): each component with its state, a score, what is wrong in words
// and what to do about it. Decides by what the workers and the control plane say of themselves. Pure.

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "health/check_history.hpp"
#include "proxy/admin/admin_facts.hpp"
#include "proxy/session/healing_ledger.hpp"

namespace pgmend::proxy {

enum class health_state : std::uint8_t { healthy, degraded, critical };
std::string_view word_of(health_state state) noexcept;

/// What the report is made of, beside the facts of the workers.
struct health_view {
    const admin_facts& facts;
    const health::check_history& checks;
    config::time_point now{};
    std::int64_t now_ms = 0;         ///< the same moment in milliseconds since 1970
    std::uint64_t memory_limit = 0;  ///< bytes; 0: none
    bool memory_pressed = false;     ///< new clients are refused
    bool draining = false;
};
/// `facts` as a whole process tells them.
health_view view_of(const admin_facts& facts);

struct health_wish {
    bool detailed = false;
    bool history = false;
    std::size_t limit = 20;  ///< entries of each history, the latest
};

struct component_health {
    std::string name;  ///< `server:HOST:PORT`, or the component's own
    health_state state = health_state::healthy;
    std::string reason;                       ///< in words; empty when healthy
    std::string advice;                       ///< what to do; empty where nothing is to be done
    std::string stands;                       ///< how it is, in words, when it is well
    std::string suffers;                      ///< who notices, in words; empty: nobody
    std::optional<config::time_point> since;  ///< as it is now; nothing where that is not known
    bool vital = true;                        ///< when it is critical, so is everything
    boost::json::object figures;
};

struct health_report {
    health_state state = health_state::healthy;
    int score = 100;  ///< of 100
    std::vector<component_health> components;
};

health_report assess_health(const health_view& view);
/// At most `most` of the latest acts of healing of all workers, the oldest first.
std::vector<healing_event> latest_acts(const admin_facts& facts, std::size_t most);
/// As it is sent. `acts` are the latest of the ledger, for the detailed report.
boost::json::object json_report(
    const health_report& report, const health_view& view, const health_wish& wish,
    const std::vector<healing_event>& acts
);
/// One act of healing; `now` is its clock at the time `now_ms`, milliseconds since 1970.
boost::json::object json_event(const healing_event& event, config::time_point now, std::int64_t now_ms);

}  // namespace pgmend::proxy
