#pragma once
// What one worker knows of one database's own functions and of what reaches them, and how old that is. The
// sessions ask their servers (`catalog_survey`); this decides when. Pure, time is an argument; one worker
// thread, but for the epoch, which all workers share.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "config/environment.hpp"
#include "config/metrics.hpp"
#include "protocol/schema_catalog.hpp"

namespace pgmend::proxy {

/// Rises with every DDL seen, by whatever worker, that may change what a statement reaches.
using catalog_epoch = std::atomic<std::uint64_t>;

struct catalog_options {
    config::duration refresh = std::chrono::seconds{60};
    std::size_t max_bytes = 16 << 20;
};

class database_catalog {
public:
    database_catalog(std::string name, catalog_options options, catalog_epoch& epoch)
        : name_(std::move(name)), options_(options), epoch_(epoch) {}

    void set_options(catalog_options options) noexcept { options_ = options; }
    /// Null before the first survey.
    const protocol::schema_catalog* current() const noexcept { return current_.get(); }
    const std::string& name() const noexcept { return name_; }
    std::uint64_t epoch() const noexcept { return epoch_.load(std::memory_order_relaxed); }
    /// No client's statement may be judged by what is known: it must be asked first.
    bool stale() const noexcept { return !current_ || asked_in_ != epoch(); }
    /// It has grown old: somebody else may have changed the schema.
    bool due(config::time_point now) const noexcept { return now >= due_; }
    /// DDL was seen that may change what a statement reaches: on its way, or carried out.
    void change_seen() noexcept { epoch_.fetch_add(1, std::memory_order_relaxed); }

private:
    friend class catalog_survey;
    std::string name_;
    catalog_options options_;
    catalog_epoch& epoch_;
    std::shared_ptr<const protocol::schema_catalog> current_;
    std::uint64_t asked_in_ = 0;  ///< the epoch in which the last survey began
    std::uint64_t version_ = 0;   ///< the server's word on the state of its catalogs, at that time
    config::time_point due_ = config::time_point::min();
};

/// One survey, by one session on the server it has: which question to send, and what becomes of the answer.
class catalog_survey {
public:
    /// `row_bytes`: the longest row of an answer that can be read.
    catalog_survey(database_catalog& database, config::time_point now, std::size_t row_bytes);

    /// The question to send now. `server_version` as the server reports it.
    std::string query(std::string_view server_version) const;
    void row(const protocol::catalog_row& row);
    /// The question was answered, or (`failed`) could not be. True when another must be sent.
    bool over(bool failed, config::time_point now, config::metrics::cells& metrics);

private:
    void install(
        std::shared_ptr<const protocol::schema_catalog> catalog, std::uint64_t version, config::time_point now
    );

    database_catalog& database_;
    std::size_t body_max_;
    std::uint64_t began_in_;
    bool version_only_;  ///< perhaps nothing has changed
    bool too_large_ = false;
    protocol::schema_catalog_builder builder_;
};

}  // namespace pgmend::proxy
