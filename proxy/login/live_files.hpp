#pragma once
// What is read from files and read again when they change: certificates, secrets, rules. Files are looked at
// on a timer, through their names, so that an atomic swap of a symbolic link (Kubernetes) is a change like
// any other. Each part is replaced as a whole; one that cannot be read stays as it was and says why. Control
// thread only.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "pool/tls_context.hpp"
#include "proxy/login/access_rules.hpp"
#include "proxy/login/secret_book.hpp"

namespace pgmend::proxy {

/// All of it, as workers hold it.
struct live_facts {
    std::shared_ptr<const pool::tls_context> towards_clients;  ///< null: no TLS
    std::shared_ptr<const pool::tls_context> towards_servers;
    std::shared_ptr<const secret_book> secrets;
    std::shared_ptr<const access_rules> access;
};

/// Reads every part into `facts`; a part that fails is left as it was. Returns what is wrong, a line each.
std::vector<std::string> read_live_facts(const config::settings& settings, live_facts& facts);

class live_files {
public:
    using listener = std::function<void(const live_facts&)>;
    /// Loads the settings again; false: they are not good, and nothing has changed.
    using policy_listener = std::function<bool()>;

    live_files(
        boost::asio::io_context& control, std::shared_ptr<const config::settings> settings, listener changed,
        std::string policy = {}, policy_listener policy_changed = {}
    );

    /// The first reading: what is wrong, or empty.
    std::string open();
    const live_facts& facts() const noexcept { return facts_; }
    const config::settings& settings() const noexcept { return *settings_; }
    /// Begins to look; the control thread must run.
    void start();
    /// Reads everything now. What is good is taken, what is not stays as it was and is logged.
    void read_again();
    /// The policy is about to be loaded: what is written to it from now on is a change.
    void policy_is_read() noexcept { policy_read_ = look_at(policy_); }
    /// Other settings: reads everything that they name. What is wrong, a line each; then nothing has changed.
    std::vector<std::string> adopt(std::shared_ptr<const config::settings> settings);
    void stop();

private:
    /// Tells one state of a file from another.
    struct fingerprint {
        std::uint64_t device = 0;
        std::uint64_t inode = 0;
        std::int64_t size = -1;
        std::int64_t changed_s = 0;
        std::int64_t changed_ns = 0;
        bool operator==(const fingerprint&) const = default;
    };
    static fingerprint look_at(const std::string& path) noexcept;
    static std::vector<fingerprint> look_at_all(const std::vector<std::string>& paths);
    /// A change was seen at an earlier look, and nothing has changed since.
    bool changed_and_whole();
    void plan();

    /// After a change, until the next look.
    static constexpr std::chrono::milliseconds settling_time{500};

    std::shared_ptr<const config::settings> settings_;
    listener changed_;
    boost::asio::steady_timer timer_;
    live_facts facts_;
    const std::string policy_;  ///< the file with the settings themselves; empty: none
    policy_listener policy_changed_;
    fingerprint policy_taken_;
    fingerprint policy_read_;
    std::vector<std::string> paths_;
    std::vector<fingerprint> seen_;
    bool started_ = false;
    bool unsettled_ = false;  ///< changed at the last look: its writer may not be done
};

}  // namespace pgmend::proxy
