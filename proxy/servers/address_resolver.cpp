#include "proxy/servers/address_resolver.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "config/log.hpp"

namespace pgmend::proxy {

namespace {
constexpr auto interval = std::chrono::seconds{15};  // PgBouncer's dns_max_ttl
constexpr auto sooner = std::chrono::seconds{3};     // while some name has never been resolved

std::set<pool::endpoint> names_of(const config::server_list& servers) {
    std::set<pool::endpoint> names;
    for (const auto& server : servers) {
        const pool::endpoint where{server.address.empty() ? server.host : server.address, server.port};
        if (pool::literal_addresses(where).empty()) names.insert(where);
    }
    return names;
}
}  // namespace

address_resolver::address_resolver(boost::asio::io_context& control, const config::server_list& servers)
    : resolver_(control), timer_(control), names_(names_of(servers)) {}

void address_resolver::replace(const config::server_list& servers) {
    std::set<pool::endpoint> names = names_of(servers);
    {
        const std::lock_guard lock{mutex_};
        std::erase_if(known_, [&names](const auto& each) { return !names.contains(each.first); });
    }
    std::erase_if(asked_, [&names](const auto& each) { return !names.contains(each); });
    const std::set<pool::endpoint> before = std::exchange(names_, std::move(names));
    if (!started_ || stopped_) return;
    for (const auto& name : names_) {
        if (!before.contains(name)) resolve(name);
    }
    if (before.empty() && !names_.empty()) plan();
}

std::vector<pool::socket_address> address_resolver::lookup(const pool::endpoint& to) {
    if (auto literal = pool::literal_addresses(to); !literal.empty()) return literal;
    const std::lock_guard lock{mutex_};
    const auto it = known_.find(to);
    return it == known_.end() ? std::vector<pool::socket_address>{} : it->second;
}

std::map<std::string, std::vector<std::string>> address_resolver::names() {
    std::map<std::string, std::vector<std::string>> found;
    const std::lock_guard lock{mutex_};
    for (const auto& name : names_) {
        auto& addresses = found[name.host];
        const auto known = known_.find(name);
        if (known == known_.end()) continue;
        for (const pool::socket_address& each : known->second) {
            sockaddr_storage raw{};
            std::memcpy(&raw, each.bytes.data(), std::min(sizeof raw, each.bytes.size()));
            const std::string text = pool::address_text(raw);
            addresses.push_back(text.substr(0, text.rfind(':')));
        }
    }
    return found;
}

void address_resolver::start() {
    started_ = true;
    resolve_all();
}

void address_resolver::stop() {
    stopped_ = true;
    timer_.cancel();
    resolver_.cancel();
}

void address_resolver::plan() {
    std::size_t known = 0;
    {
        const std::lock_guard lock{mutex_};
        known = known_.size();
    }
    timer_.expires_after(known < names_.size() ? sooner : interval);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error && !stopped_) resolve_all();
    });
}

void address_resolver::resolve_all() {
    if (names_.empty()) return;
    for (const auto& name : names_)
        resolve(name);
    plan();
}

void address_resolver::resolve(const pool::endpoint& name) {
    resolver_.async_resolve(
        name.host, std::to_string(name.port),
        [this, name](const boost::system::error_code& error, const auto& results) {
            if (!names_.contains(name)) return;
            asked_.insert(name);
            if (error) {
                if (!stopped_)
                    log::warning("name_not_resolved", {{"host", name.host}, {"reason", error.message()}});
                return;
            }
            std::vector<pool::socket_address> addresses;
            for (const auto& entry : results) {
                const auto endpoint = entry.endpoint();
                pool::socket_address address;
                address.bytes.resize(endpoint.size());
                std::memcpy(address.bytes.data(), endpoint.data(), endpoint.size());
                addresses.push_back(std::move(address));
            }
            const std::lock_guard lock{mutex_};
            known_[name] = std::move(addresses);
        }
    );
}

}  // namespace pgmend::proxy
