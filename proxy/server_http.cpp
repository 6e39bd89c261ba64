// What the server tells over HTTP, and where it takes it from.

#include "proxy/process/real_clock.hpp"
#include "proxy/server.hpp"

namespace pgmend::proxy {

http_providers server::providers() {
    http_providers all;
    all.metrics = [this] { return metrics_.render(); };
    all.openmetrics = [this] { return metrics_.render_openmetrics(); };
    all.startup = [this] { return health_answer{started_, started_ ? "started" : "starting"}; };
    all.live = [this] { return live(); };
    all.ready = [this] { return ready(); };
    if (settings_->http.quit() == config::quit_from::loopback) {
        all.quit = [this] {
            if (stage_ < stage::draining) drain();
        };
    }
    all.others = [this](const http_request& request, http_answer answer) {
        return started_ && api_.handle(request, std::move(answer));
    };
    return all;
}

api_sources server::sources_of_api() {
    api_sources all;
    all.facts = [this](facts_wanted wanted, std::function<void(admin_facts)> done) {
        desk_.facts(wanted, std::move(done));
    };
    all.feed.acts = [this](auto after, std::size_t most, auto done) {
        desk_.acts(std::move(after), most, std::move(done));
    };
    all.feed.settings = [this] { return settings_; };
    all.command = [this](admin_request request, auto done) {
        desk_.command(std::move(request), std::move(done));
    };
    all.checks = [this]() -> const health::check_history& { return checks_; };
    all.check_now = [this] { monitor_->look_now(); };
    all.settings = [this] { return settings_; };
    all.secrets = [this] { return files_.facts().secrets; };
    return all;
}

/// The part of the facts that is neither a worker's nor the desk's.
void server::complete(admin_facts& facts) {
    facts.checks = &checks_;
    facts.memory_limit = memory_.limit();
    facts.memory_pressed = memory_.pressed()->load(std::memory_order_relaxed);
    facts.draining = stage_ != stage::serving;
}

alert_sources server::sources_of_alerts() {
    api_sources same = sources_of_api();
    alert_sources all;
    all.facts = std::move(same.facts);
    all.settings = std::move(same.settings);
    all.errors = [this] {
        std::uint64_t errors = 0;
        for (const auto& each : cells_)
            errors += each->errors.value();
        return errors;
    };
    all.note = [this](const alert_notice& notice) {
        healing_event act;
        act.kind = healing_kind::alert;
        act.outcome = word_of(notice.stage);
        act.reason = word_of(notice.what.level);
        act.cause = notice.what.name + ": " + notice.what.reason;
        desk_.note(std::move(act));
    };
    return all;
}

health_answer server::live() {
    std::vector<std::uint64_t> turns;
    for (const auto& worker : workers_) {
        turns.push_back(worker->turns());
    }
    if (!liveness_.alive(std::move(turns), steady_now())) return {false, "a worker does not answer\n"};
    return {true, "live\n"};
}

health_answer server::ready() const {
    if (stage_ != stage::serving) return {false, "draining\n"};
    return {true, "ready\n"};
}

}  // namespace pgmend::proxy
