// Which metrics there are, and what a scrape says. PGMEND_UPDATE_GENERATED=1 writes the two generated files
// anew.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <set>

#include "config/metrics_registry.hpp"

using pgmend::config::metric_definition;
using pgmend::config::metric_set;
using pgmend::config::metric_type;
using pgmend::config::metrics_registry;
namespace metrics = pgmend::metrics;
using namespace std::chrono_literals;

namespace {

const std::time_t program_began = std::time(nullptr);

/// One line a metric: type, name and the values of its label.
std::string golden_lines(const metric_set& set) {
    constexpr std::string_view types[] = {"counter", "gauge", "histogram"};
    std::string out;
    for (const metric_definition& metric : set.definitions()) {
        out.append(types[static_cast<std::size_t>(metric.type)]).append(" ").append(metric.name);
        if (!metric.label.empty()) out.append(" ").append(metric.label).append(":");
        for (const auto word : metric.label_values)
            out.append(" ").append(word);
        out.append("\n");
    }
    return out;
}

/// The file of the source tree; rewritten first when that is asked for.
std::string generated_file(const std::string& path, const std::string& current) {
    const std::string full = std::string(PGMEND_SOURCE_DIR) + "/" + path;
    if (std::getenv("PGMEND_UPDATE_GENERATED") != nullptr) std::ofstream(full) << current;
    std::ifstream file(full);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::shared_ptr<metrics::cells> add_worker(metrics_registry& registry) {
    auto worker = std::make_shared<metrics::cells>();
    registry.attach(worker);
    return worker;
}

/// The value of a series in an exposition; fails the test where it is missing.
double series(const std::string& text, const std::string& name) {
    const std::size_t at = text.find("\n" + name + " ");
    INFO(name << " in\n" << text);
    REQUIRE(at != std::string::npos);
    return std::strtod(text.c_str() + at + name.size() + 2, nullptr);
}

std::vector<metric_definition> all_definitions(const metrics::cells& cells, const metrics::process& process) {
    std::vector<metric_definition> all(cells.definitions().begin(), cells.definitions().end());
    all.insert(all.end(), process.definitions().begin(), process.definitions().end());
    return all;
}

}  // namespace

TEST_CASE("metrics: the golden list names every metric with its labels", "[config]") {
    const std::string current = golden_lines(metrics::cells{}) + golden_lines(metrics::process{"x"});
    CHECK(generated_file("tests/unit/config/metrics.golden", current) == current);
}

TEST_CASE("metrics: deploy/METRICS.md is what the declarations say", "[config]") {
    const std::string current = pgmend::config::metrics_reference();
    CHECK(generated_file("deploy/METRICS.md", current) == current);
}

TEST_CASE("metrics: names, helps and labels keep the rules", "[config]") {
    const metrics::cells cells;
    const metrics::process process{"x"};
    std::set<std::string_view> seen;
    for (const metric_definition& metric : all_definitions(cells, process)) {
        INFO(metric.name);
        CHECK(seen.insert(metric.name).second);
        CHECK((metric.name.starts_with("pgmend_") || metric.name.starts_with("process_")));
        CHECK(metric.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
        CHECK(metric.name.ends_with("_total") == (metric.type == metric_type::counter));
        CHECK(metric.help.ends_with("."));
        CHECK(metric.help.find_first_of("\n|\\") == std::string_view::npos);
        CHECK(metric.label.empty() == metric.label_values.empty());
        std::set<std::string_view> values;
        for (const auto word : metric.label_values) {
            CHECK_FALSE(word.empty());
            CHECK(values.insert(word).second);
        }
    }
}

TEST_CASE("metrics: a scrape sums over the workers", "[config]") {
    metrics_registry registry("1.2.3");
    const auto first = add_worker(registry);
    const auto second = add_worker(registry);
    first->queries.add(9'007'199'254'740'000);
    second->queries.add(991);
    first->clients_connected.add(5);
    second->clients_connected.sub(2);
    first->servers.add(metrics::server_state::idle, 3);
    second->servers.add(metrics::server_state::idle, 4);
    second->clients_refused.add(metrics::refusal::draining);
    const std::string text = registry.render();
    CHECK(text.find("pgmend_queries_total 9007199254740991\n") != std::string::npos);
    CHECK(series(text, "pgmend_clients_connected") == 3);
    CHECK(series(text, "pgmend_servers{state=\"idle\"}") == 7);
    second->clients_waiting.sub(2);
    CHECK(series(registry.render(), "pgmend_clients_waiting") == -2);
    CHECK(series(text, "pgmend_servers{state=\"active\"}") == 0);
    CHECK(series(text, "pgmend_clients_refused_total{reason=\"draining\"}") == 1);
    CHECK(text.find("# TYPE pgmend_queries_total counter\n") != std::string::npos);
    CHECK(text.find("# TYPE pgmend_servers gauge\n") != std::string::npos);
    CHECK(text.find("# HELP pgmend_pins Clients that keep ") != std::string::npos);
}

TEST_CASE("metrics: OpenMetrics names a counter's family without its suffix, and says the end", "[config]") {
    metrics_registry registry("1.2.3");
    add_worker(registry)->clients_refused.add(metrics::refusal::draining, 3);
    const std::string text = registry.render_openmetrics();
    CHECK(text.find("# TYPE pgmend_clients_refused counter\n") != std::string::npos);
    CHECK(text.find("# HELP pgmend_clients_refused Clients turned away") != std::string::npos);
    CHECK(series(text, "pgmend_clients_refused_total{reason=\"draining\"}") == 3);
    CHECK(text.find("# TYPE pgmend_servers gauge\n") != std::string::npos);
    CHECK(text.find("# TYPE pgmend_wait_seconds histogram\n") != std::string::npos);
    CHECK(text.ends_with("\n# EOF\n"));
    CHECK(text.find("_total counter") == std::string::npos);
}

TEST_CASE("metrics: a worker that ended is still counted", "[config]") {
    metrics_registry registry("1.2.3");
    add_worker(registry)->transactions.add(2);
    add_worker(registry)->transactions.add(3);
    CHECK(series(registry.render(), "pgmend_transactions_total") == 5);
}

TEST_CASE("metrics: every metric is served before there is a worker", "[config]") {
    const std::string text = metrics_registry("1.2.3").render();
    const metrics::cells cells;
    const metrics::process process{"x"};
    for (const metric_definition& metric : all_definitions(cells, process)) {
        INFO(metric.name);
        CHECK(text.find("# TYPE " + std::string(metric.name) + " ") != std::string::npos);
    }
    CHECK(series(text, "pgmend_queries_total") == 0);
}

TEST_CASE("metrics: a histogram is served in seconds with cumulative buckets", "[config]") {
    metrics_registry registry("1.2.3");
    const auto first = add_worker(registry);
    const auto second = add_worker(registry);
    first->wait_seconds.record(16us);
    second->wait_seconds.record(1ms);
    second->wait_seconds.record(3min);
    const std::string text = registry.render();
    CHECK(series(text, "pgmend_wait_seconds_bucket{le=\"1.6e-05\"}") == 1);
    CHECK(series(text, "pgmend_wait_seconds_bucket{le=\"0.000512\"}") == 1);
    CHECK(series(text, "pgmend_wait_seconds_bucket{le=\"0.001024\"}") == 2);
    CHECK(series(text, "pgmend_wait_seconds_bucket{le=\"67.108864\"}") == 2);
    CHECK(series(text, "pgmend_wait_seconds_bucket{le=\"+Inf\"}") == 3);
    CHECK(series(text, "pgmend_wait_seconds_count") == 3);
    CHECK(series(text, "pgmend_wait_seconds_sum") == Approx(180.001016));
    CHECK(series(text, "pgmend_request_seconds_count") == 0);
}

TEST_CASE("metrics: the process and the build are described", "[config]") {
    const std::string text = metrics_registry("1.2.3-\"quoted\"").render();
    CHECK(text.find("pgmend_build_info{version=\"1.2.3-\\\"quoted\\\"\"} 1\n") != std::string::npos);
    CHECK(std::abs(series(text, "process_start_time_seconds") - static_cast<double>(program_began)) < 10);
    CHECK(series(text, "process_resident_memory_bytes") > 1 << 20);
    CHECK(series(text, "process_cpu_seconds_total") >= 0);
}

TEST_CASE("metrics: open descriptors are counted when they are asked for", "[config]") {
    const auto open_now = [] {
        int count = 0;
        for (int fd = 0; fd < 4096; ++fd)
            count += ::fcntl(fd, F_GETFD) != -1 ? 1 : 0;
        return count;
    };
    const metrics_registry registry("1.2.3");
    CHECK(series(registry.render(), "process_open_fds") == open_now());
    const int extra = ::dup(0);
    REQUIRE(extra >= 0);
    CHECK(series(registry.render(), "process_open_fds") == open_now());
    ::close(extra);
}
