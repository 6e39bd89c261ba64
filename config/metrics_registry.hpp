#pragma once
// Joins the workers' cells into one exposition for Prometheus. One in the process, owned by the server.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <prometheus/collectable.h>

#include "config/metrics.hpp"

namespace pgmend::config {

/// All calls from any thread; a scrape never holds up a worker.
class metrics_registry final : public prometheus::Collectable {
public:
    explicit metrics_registry(std::string version) : process_(std::move(version)) {}

    /// Adds one worker's cells. They are kept for good: a counter never goes back because a worker ended.
    void attach(std::shared_ptr<const metrics::cells> worker);

    /// The sums over all workers, then the process; in the order of declaration.
    std::vector<prometheus::MetricFamily> Collect() const override;
    /// The same in the text format, version 0.0.4.
    std::string render() const;
    /// The same as OpenMetrics, version 1.0.0.
    std::string render_openmetrics() const;

private:
    const metrics::process process_;
    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<const metrics::cells>> workers_;
};

/// deploy/METRICS.md: every metric with its type, labels and meaning.
std::string metrics_reference();

}  // namespace pgmend::config
