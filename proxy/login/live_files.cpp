#include "proxy/login/live_files.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "config/log.hpp"

namespace pgmend::proxy {

namespace {

pool::tls_mode mode_of(config::client_tls_mode mode) {
    switch (mode) {
        case config::client_tls_mode::disable:
            return pool::tls_mode::disable;
        case config::client_tls_mode::allow:
            return pool::tls_mode::allow;
        case config::client_tls_mode::prefer:
            return pool::tls_mode::prefer;
        case config::client_tls_mode::require:
            return pool::tls_mode::require;
        case config::client_tls_mode::verify_ca:
            return pool::tls_mode::verify_ca;
        case config::client_tls_mode::verify_full:
            return pool::tls_mode::verify_full;
    }
    return pool::tls_mode::disable;
}

pool::tls_mode mode_of(config::server_tls_mode mode) {
    switch (mode) {
        case config::server_tls_mode::disable:
            return pool::tls_mode::disable;
        case config::server_tls_mode::allow:
            return pool::tls_mode::allow;
        case config::server_tls_mode::prefer:
            return pool::tls_mode::prefer;
        case config::server_tls_mode::require:
            return pool::tls_mode::require;
        case config::server_tls_mode::verify_ca:
            return pool::tls_mode::verify_ca;
        case config::server_tls_mode::verify_full:
            return pool::tls_mode::verify_full;
    }
    return pool::tls_mode::disable;
}

pool::tls_version version_of(config::tls_bound bound) {
    switch (bound) {
        case config::tls_bound::any:
            return pool::tls_version::any;
        case config::tls_bound::tls_1_2:
            return pool::tls_version::tls_1_2;
        case config::tls_bound::tls_1_3:
            return pool::tls_version::tls_1_3;
    }
    return pool::tls_version::any;
}

void read_client_tls(const config::client_tls_settings& tls, live_facts& facts) {
    if (tls.mode() == config::client_tls_mode::disable) return;
    pool::tls_files files{tls.cert(), tls.key(), tls.ca(), tls.crl()};
    pool::tls_rules rules;
    rules.lowest = version_of(tls.min_version());
    rules.highest = version_of(tls.max_version());
    std::vector<pool::tls_files> others;
    for (const config::certificate_entry& each : tls.certificates())
        others.push_back({each.cert, each.key, {}});
    facts.towards_clients = pool::tls_context::towards_clients(files, mode_of(tls.mode()), rules, others);
}

void read_server_tls(const config::server_tls_settings& tls, live_facts& facts) {
    if (tls.mode() == config::server_tls_mode::disable) return;
    pool::tls_files files{tls.cert(), tls.key(), tls.ca(), tls.crl()};
    pool::tls_rules rules;
    rules.lowest = version_of(tls.min_version());
    rules.highest = version_of(tls.max_version());
    rules.server_name = tls.sni() == config::yes_no::yes;
    rules.direct = tls.negotiation() == config::tls_negotiation::direct;
    facts.towards_servers = pool::tls_context::towards_servers(files, mode_of(tls.mode()), rules);
}

std::vector<std::string> paths_of(const config::settings& settings) {
    std::vector<std::string> paths = secret_paths(settings);
    const auto add = [&paths](const std::string& path) {
        if (!path.empty() && path != "system") paths.push_back(path);
    };
    const auto& client = settings.listen.tls;
    const auto& server = settings.upstream.tls;
    for (const auto* path :
         {&client.cert(), &client.key(), &client.ca(), &client.crl(), &server.cert(), &server.key(),
          &server.ca(), &server.crl(), &settings.auth.hba_file(), &settings.auth.ident_file()}) {
        add(*path);
    }
    for (const config::certificate_entry& each : client.certificates()) {
        add(each.cert);
        add(each.key);
    }
    return paths;
}

}  // namespace

std::vector<std::string> read_live_facts(const config::settings& settings, live_facts& facts) {
    std::vector<std::string> problems;
    try {
        read_client_tls(settings.listen.tls, facts);
    } catch (const pool::tls_load_error& error) {
        problems.push_back(std::string("listen.tls: ") + error.what());
    }
    try {
        read_server_tls(settings.upstream.tls, facts);
    } catch (const pool::tls_load_error& error) {
        problems.push_back(std::string("upstream.tls: ") + error.what());
    }
    auto secrets = read_secrets(settings);
    if (secrets.value) {
        facts.secrets = std::move(secrets.value);
    } else {
        problems.push_back(std::move(secrets.problem));
    }
    auto access = read_access_rules(settings);
    if (access.value) {
        facts.access = std::move(access.value);
    } else {
        problems.push_back(std::move(access.problem));
    }
    return problems;
}

live_files::live_files(
    boost::asio::io_context& control, std::shared_ptr<const config::settings> settings, listener changed,
    std::string policy, policy_listener policy_changed
)
    : settings_(std::move(settings)),
      changed_(std::move(changed)),
      timer_(control),
      policy_(std::move(policy)),
      policy_changed_(std::move(policy_changed)),
      paths_(paths_of(*settings_)) {
    if (!policy_.empty()) paths_.push_back(policy_);
}

live_files::fingerprint live_files::look_at(const std::string& path) noexcept {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return {};
    fingerprint seen;
    seen.device = facts.st_dev;
    seen.inode = facts.st_ino;
    seen.size = facts.st_size;
    seen.changed_s = facts.st_mtim.tv_sec;
    seen.changed_ns = facts.st_mtim.tv_nsec;
    return seen;
}

bool live_files::changed_and_whole() {
    std::vector<fingerprint> now = look_at_all(paths_);
    const bool differs = now != seen_;
    seen_ = std::move(now);
    // Written in place, a file is empty or half there for a moment. What is as it was at the last look is
    // whole.
    return std::exchange(unsettled_, differs) && !differs;
}

std::string live_files::open() {
    changed_and_whole();
    unsettled_ = false;
    policy_taken_ = policy_read_ = look_at(policy_);
    const auto problems = read_live_facts(*settings_, facts_);
    if (!problems.empty()) return problems.front();
    // Keys that clients leave behind are no use to libpq, which health checks go by.
    const std::string& looks = settings_->health.user();
    const std::string& user = looks.empty() ? settings_->upstream.user() : looks;
    const user_secrets* own = facts_.secrets->find(user);
    const bool known = own != nullptr && !own->offered.empty();
    const bool verifiers = known && std::ranges::all_of(own->offered, [](const std::string& secret) {
                               return secret.starts_with("SCRAM-SHA-256$");
                           });
    if (verifiers) {
        log::warning(
            "health_has_no_password",
            {{"user", user},
             {"hint",
              "only a SCRAM verifier is known, by which health checks cannot log in: give them a user of "
              "their own (health.user)"}}
        );
    }
    return {};
}

void live_files::read_again() {
    const auto problems = read_live_facts(*settings_, facts_);
    for (const std::string& problem : problems)
        log::error("file_not_taken", {{"reason", problem}});
    if (problems.empty()) log::info("files_read_again", {});
    changed_(facts_);
}

std::vector<std::string> live_files::adopt(std::shared_ptr<const config::settings> settings) {
    std::vector<std::string> paths = paths_of(*settings);
    if (!policy_.empty()) paths.push_back(policy_);
    // Looked at before it is read: what is written meanwhile is seen as a change later.
    std::vector<fingerprint> seen = look_at_all(paths);
    if (!policy_.empty()) seen.back() = policy_read_;
    live_facts facts;
    auto problems = read_live_facts(*settings, facts);
    if (!problems.empty()) return problems;
    settings_ = std::move(settings);
    facts_ = std::move(facts);
    paths_ = std::move(paths);
    seen_ = std::move(seen);
    policy_taken_ = policy_read_;
    // There may be other files to look at, and another interval.
    if (started_) plan();
    return {};
}

std::vector<live_files::fingerprint> live_files::look_at_all(const std::vector<std::string>& paths) {
    std::vector<fingerprint> all;
    for (const std::string& path : paths)
        all.push_back(look_at(path));
    return all;
}

void live_files::start() {
    started_ = true;
    plan();
}

void live_files::stop() {
    started_ = false;
    timer_.cancel();
}

void live_files::plan() {
    timer_.expires_after(unsettled_ ? settling_time : settings_->files.check_interval());
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) return;
        if (changed_and_whole()) {
            // A policy that is not good must not keep certificates from being renewed.
            const fingerprint policy = look_at(policy_);
            const bool other = policy != policy_taken_;
            policy_taken_ = policy;
            if (!other || !policy_changed_()) read_again();
        }
        if (started_) plan();
    });
}

}  // namespace pgmend::proxy
