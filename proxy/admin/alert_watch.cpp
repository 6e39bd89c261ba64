#include "proxy/admin/alert_watch.hpp"

#include <boost/asio/ip/host_name.hpp>
#include <boost/json/object.hpp>

#include "config/log.hpp"
#include "proxy/admin/table_json.hpp"
#include "proxy/process/real_clock.hpp"

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

json::string in_json(std::string_view text) { return json::string(text.data(), text.size()); }

std::int64_t milliseconds_of(config::duration time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

std::string instance_name(std::uint16_t port) {
    boost::system::error_code ignored;
    return boost::asio::ip::host_name(ignored) + ":" + std::to_string(port);
}

}  // namespace

std::string alert_message(
    const alert_notice& notice, std::string_view instance, config::time_point now, std::int64_t now_ms,
    std::int64_t epoch_ms
) {
    const std::int64_t lasted = milliseconds_of(now - notice.since);
    const std::string since = std::to_string(epoch_ms + milliseconds_of(notice.since.time_since_epoch()));
    return json_text(
        {{"source", "pgmend"},
         {"instance", in_json(instance)},
         {"id", std::string(instance) + "/" + notice.what.name + "/" + since},
         {"name", notice.what.name},
         {"status", in_json(word_of(notice.stage))},
         {"level", in_json(word_of(notice.what.level))},
         {"reason", notice.what.reason},
         {"advice", notice.what.advice},
         {"at_ms", now_ms},
         {"lasted_ms", lasted}}
    );
}

alert_watch::alert_watch(
    boost::asio::io_context& control, config::metrics::cells& cells, alert_sources sources
)
    : sources_(std::move(sources)),
      cells_(cells),
      timer_(control),
      webhook_(
          control, cells,
          [this] {
              const auto settings = sources_.settings();
              webhook_terms terms;
              terms.timeout = settings->alerts.timeout();
              terms.attempts = settings->alerts.attempts();
              return terms;
          }
      ),
      epoch_ms_(wall_milliseconds() - milliseconds_of(steady_now().time_since_epoch())) {}

void alert_watch::stop() {
    stopped_ = true;
    timer_.cancel();
}

void alert_watch::look_later() {
    if (stopped_) return;
    timer_.expires_after(sources_.settings()->alerts.interval());
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) look();
    });
}

void alert_watch::look() {
    // A worker that does not answer keeps this look from being over, not the next one.
    look_later();
    sources_.facts({}, [this](const admin_facts& facts) {
        if (!stopped_) judge(facts);
    });
}

request_tally alert_watch::requests_since(const admin_facts& facts) {
    request_tally now;
    for (const worker_facts& worker : facts.workers) {
        for (const auto& [database, traffic] : worker.traffic)
            now.answered += traffic.queries;
    }
    now.failed = sources_.errors();
    request_tally since;
    if (before_) {
        since.answered = now.answered - before_->answered;
        since.failed = now.failed - before_->failed;
    }
    before_ = now;
    return since;
}

void alert_watch::judge(const admin_facts& facts) {
    const health_view view = view_of(facts);
    const auto& policy = facts.settings->alerts;
    alert_terms terms;
    terms.delay = policy.delay();
    terms.repeat = policy.repeat();
    terms.least = policy.level();
    const auto conditions = alert_conditions(assess_health(view), facts, requests_since(facts));
    for (const alert_notice& notice : book_.look(conditions, terms, view.now))
        tell(notice, *facts.settings);
    cells_.alerts_firing.set(static_cast<std::int64_t>(book_.firing()));
}

void alert_watch::tell(const alert_notice& notice, const config::settings& settings) {
    const std::string_view stage = word_of(notice.stage);
    if (notice.stage == alert_stage::over) {
        log::info("alert", {{"status", stage}, {"name", notice.what.name}, {"reason", notice.what.reason}});
    } else {
        log::warning(
            "alert", {{"status", stage},
                      {"name", notice.what.name},
                      {"level", word_of(notice.what.level)},
                      {"reason", notice.what.reason},
                      {"advice", notice.what.advice}}
        );
    }
    sources_.note(notice);
    const auto address = config::parse_webhook(settings.alerts.webhook());
    if (!address) return;
    const std::string instance = instance_name(settings.listen.port());
    webhook_.post(*address, alert_message(notice, instance, steady_now(), wall_milliseconds(), epoch_ms_));
}

}  // namespace pgmend::proxy
