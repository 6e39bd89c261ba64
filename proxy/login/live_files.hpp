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

    live_files(
        boost::asio::io_context& control, std::shared_ptr<const config::settings> settings, listener changed
    );

    /// The first reading: what is wrong, or empty.
    std::string open();
    const live_facts& facts() const noexcept { return facts_; }
    /// Begins to look; the control thread must run.
    void start();
    /// Reads everything now (SIGHUP): what is wrong, a line each. What is good is taken all the same.
    std::vector<std::string> read_again();
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
    /// A change was seen at an earlier look, and nothing has changed since.
    bool changed_and_whole();
    void plan();

    /// After a change, until the next look.
    static constexpr std::chrono::milliseconds settling_time{500};

    std::shared_ptr<const config::settings> settings_;
    listener changed_;
    boost::asio::steady_timer timer_;
    live_facts facts_;
    std::vector<std::string> paths_;
    std::vector<fingerprint> seen_;
    bool unsettled_ = false;  ///< changed at the last look: its writer may not be done
};

}  // namespace pgmend::proxy
