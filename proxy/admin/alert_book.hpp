#pragma once
// Which of what is the matter with pgmend somebody is to be told of, and when: what lasts is told once, and
// now and then again; what is over is told too; what comes and goes within the delay is not. Pure: the time
// is an argument.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/environment.hpp"
#include "config/modes.hpp"

namespace pgmend::proxy {

using config::alert_level;
std::string_view word_of(alert_level level) noexcept;

/// Something that is the matter now.
struct alert_condition {
    std::string name;  ///< of what it is the matter with; one condition each
    alert_level level = alert_level::warning;
    std::string reason;  ///< in words
    std::string advice;  ///< what to do; may be empty
};

enum class alert_stage : std::uint8_t {
    firing,   ///< it has begun, or become worse
    lasting,  ///< it was told before
    over,
};
std::string_view word_of(alert_stage stage) noexcept;

struct alert_notice {
    alert_stage stage = alert_stage::firing;
    alert_condition what;  ///< as it was last
    config::time_point since{};
};

struct alert_terms {
    config::duration delay{};
    config::duration repeat{};  ///< zero: never
    alert_level least = alert_level::warning;
};

class alert_book {
public:
    /// What is to be told, by what is the matter now.
    std::vector<alert_notice> look(
        const std::vector<alert_condition>& conditions, const alert_terms& terms, config::time_point now
    );
    /// Told, and not over.
    std::size_t firing() const noexcept;

private:
    struct entry {
        alert_condition what;
        config::time_point since{};
        config::time_point told_at{};
        std::optional<alert_level> told;                 ///< nothing: nobody knows of it
        std::optional<config::time_point> well_since{};  ///< it is not the matter now
        bool seen = false;                               ///< at this look
    };
    std::map<std::string, entry> entries_;
};

}  // namespace pgmend::proxy
