#include "proxy/servers/database_catalog.hpp"

#include <algorithm>

#include "config/log.hpp"
#include "protocol/schema_catalog_query.hpp"

namespace pgmend::proxy {

using config::metrics::catalog_result;

namespace {

/// Longer function bodies are not read. A character has at most four bytes.
constexpr std::size_t longest_body = 64 * 1024;

}  // namespace

catalog_survey::catalog_survey(database_catalog& database, config::time_point now, std::size_t row_bytes)
    : database_(database),
      body_max_(std::min(longest_body, row_bytes / 8)),
      began_in_(database.epoch()),
      version_only_(!database.stale()),
      builder_(database.options_.max_bytes) {
    // One session asks, the others need not.
    if (version_only_) database_.due_ = now + database_.options_.refresh;
}

std::string catalog_survey::query(std::string_view server_version) const {
    return version_only_ ? protocol::schema_version_query()
                         : protocol::schema_catalog_query(server_version, body_max_);
}

void catalog_survey::row(const protocol::catalog_row& row) {
    if (!too_large_) too_large_ = !builder_.add(row);
}

bool catalog_survey::over(bool failed, config::time_point now, config::metrics::cells& metrics) {
    const auto version = builder_.version();
    if (version_only_ && !failed && version && *version != database_.version_) {
        version_only_ = false;
        return true;
    }
    if (version_only_ && !failed) {
        metrics.catalog_surveys.add(catalog_result::unchanged);
        database_.due_ = now + database_.options_.refresh;
        return false;
    }
    if (failed || too_large_) {
        config::log::warning(
            "catalog_unknown",
            {{"database", database_.name()},
             {"reason", too_large_ ? "larger than catalog.max_bytes" : "the server refused"},
             {"consequence", "clients keep their server connections"}}
        );
        metrics.catalog_surveys.add(too_large_ ? catalog_result::too_large : catalog_result::failed);
        install(protocol::schema_catalog::cautious(), 0, now);
        return false;
    }
    metrics.catalog_surveys.add(catalog_result::loaded);
    install(builder_.build(), version.value_or(0), now);
    return false;
}

void catalog_survey::install(
    std::shared_ptr<const protocol::schema_catalog> catalog, std::uint64_t version, config::time_point now
) {
    const bool news = !database_.current_ || database_.current_->id() != catalog->id();
    if (news) {
        config::log::info(
            "catalog_loaded", {{"database", database_.name()},
                               {"functions", std::to_string(catalog->functions())},
                               {"hiding", std::to_string(catalog->hiding_names())}}
        );
        database_.current_ = std::move(catalog);
    }
    database_.asked_in_ = began_in_;
    database_.version_ = version;
    database_.due_ = now + database_.options_.refresh;
}

}  // namespace pgmend::proxy
