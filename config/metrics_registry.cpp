#include "config/metrics_registry.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <utility>

namespace pgmend::config {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

prometheus::MetricType exposed_type(metric_type type) {
    switch (type) {
        case metric_type::counter:
            return prometheus::MetricType::Counter;
        case metric_type::gauge:
            return prometheus::MetricType::Gauge;
        case metric_type::histogram:
            return prometheus::MetricType::Histogram;
    }
    return prometheus::MetricType::Untyped;
}

std::string_view type_word(metric_type type) {
    switch (type) {
        case metric_type::counter:
            return "counter";
        case metric_type::gauge:
            return "gauge";
        case metric_type::histogram:
            return "histogram";
    }
    return "";
}

ClientMetric::Histogram exposed_histogram(const std::vector<std::uint64_t>& sums) {
    ClientMetric::Histogram out;
    for (std::size_t bucket = 0; bucket < histogram_buckets::bounds; ++bucket) {
        out.sample_count += sums[bucket];
        out.bucket.push_back(
            {out.sample_count, static_cast<double>(histogram_buckets::bound_us(bucket)) / 1e6}
        );
    }
    out.sample_count += sums[histogram_buckets::bounds];
    out.bucket.push_back({out.sample_count, std::numeric_limits<double>::infinity()});
    out.sample_sum = static_cast<double>(sums[histogram_buckets::count]) / 1e9;
    return out;
}

/// One family from the sums of its cells, or from its sample where it has no cells.
MetricFamily exposed(const metric_definition& metric, const std::vector<std::uint64_t>& sums) {
    MetricFamily family;
    family.name = metric.name;
    family.help = metric.help;
    family.type = exposed_type(metric.type);
    const std::size_t series = metric.label.empty() ? 1 : metric.label_values.size();
    for (std::size_t at = 0; at < series; ++at) {
        ClientMetric& out = family.metric.emplace_back();
        if (!metric.label.empty()) {
            out.label.push_back({std::string(metric.label), std::string(metric.label_values[at])});
        }
        switch (metric.type) {
            case metric_type::counter:
                out.counter.value =
                    metric.sample != nullptr ? metric.sample() : static_cast<double>(sums[at]);
                break;
            case metric_type::gauge:
                out.gauge.value = metric.sample != nullptr
                                      ? metric.sample()
                                      : static_cast<double>(std::bit_cast<std::int64_t>(sums[at]));
                break;
            case metric_type::histogram:
                out.histogram = exposed_histogram(sums);
                break;
        }
    }
    return family;
}

/// The table rows of one set.
void describe(std::string& out, const metric_set& set) {
    for (const metric_definition& metric : set.definitions()) {
        out.append("| `").append(metric.name).append("` | ").append(type_word(metric.type)).append(" | ");
        if (!metric.label.empty()) out.append("`").append(metric.label).append("`: ");
        const char* separator = "";
        for (const std::string_view word : metric.label_values) {
            out.append(std::exchange(separator, ", ")).append(word);
        }
        out.append(" | ").append(metric.help).append(" |\n");
    }
}

}  // namespace

void metrics_registry::attach(std::shared_ptr<const metrics::cells> worker) {
    const std::lock_guard lock(mutex_);
    workers_.push_back(std::move(worker));
}

std::vector<MetricFamily> metrics_registry::Collect() const {
    // A set nobody moves gives the declarations also while no worker runs.
    static const metrics::cells declared;
    const std::lock_guard lock(mutex_);
    std::vector<MetricFamily> families;
    for (std::size_t at = 0; at < declared.definitions().size(); ++at) {
        const metric_definition& metric = declared.definitions()[at];
        std::vector<std::uint64_t> sums(metric.cells.size());
        for (const auto& worker : workers_) {
            const std::span<const metric_cell> cells = worker->definitions()[at].cells;
            for (std::size_t cell = 0; cell < sums.size(); ++cell)
                sums[cell] += cells[cell].load();
        }
        families.push_back(exposed(metric, sums));
    }
    for (const metric_definition& metric : process_.definitions())
        families.push_back(exposed(metric, {}));
    return families;
}

std::string metrics_registry::render() const { return prometheus::TextSerializer().Serialize(Collect()); }

/// As the text format, but that a counter's family lacks the suffix of its samples, and that the end is said.
std::string metrics_registry::render_openmetrics() const {
    constexpr std::string_view suffix = "_total";
    std::vector<MetricFamily> families = Collect();
    std::string out;
    for (MetricFamily& family : families) {
        const std::string name = family.name;
        const bool counts = family.type == prometheus::MetricType::Counter && name.ends_with(suffix);
        const std::string text = prometheus::TextSerializer().Serialize({std::move(family)});
        const std::size_t described = counts ? text.find("\n" + name) + 1 : 0;
        std::string head = text.substr(0, described);
        for (std::size_t at = 0; (at = head.find(name, at)) != std::string::npos;)
            head.erase(at + name.size() - suffix.size(), suffix.size());
        out.append(head).append(text, described);
    }
    return out + "# EOF\n";
}

std::string metrics_reference() {
    std::string out =
        "# Metrics\n\n"
        "Generated from the declarations in `config/metrics.hpp`; `GET /metrics` on the http port serves "
        "them in "
        "Prometheus' text format, or as OpenMetrics where that is asked for.\n"
        "Every worker counts for itself; what is served is the sum. Buckets of histograms double from 16 us "
        "to 67 "
        "s.\n\n"
        "| metric | type | label and its values | meaning |\n|---|---|---|---|\n";
    describe(out, metrics::cells{});
    describe(out, metrics::process{"the version"});
    return out;
}

}  // namespace pgmend::config
