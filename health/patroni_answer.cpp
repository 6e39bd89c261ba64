#include "health/patroni_answer.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <boost/json/array.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace pgmend::health {

namespace {

namespace json = boost::json;

constexpr std::size_t longest_word = 40;

patroni_answer refused(std::string why) {
    patroni_answer answer;
    answer.problem = std::move(why);
    return answer;
}

/// A short word to be shown to people; nothing where it is none.
std::optional<std::string> word(const json::object& member, std::string_view key) {
    const json::value* value = member.if_contains(json::string_view(key.data(), key.size()));
    if (value == nullptr || !value->is_string()) return std::nullopt;
    const json::string& text = value->get_string();
    const bool plain = std::ranges::all_of(text, [](char each) { return each >= ' ' && each < 0x7f; });
    if (text.empty() || text.size() > longest_word || !plain) return std::nullopt;
    return std::string(text.data(), text.size());
}

bool is_host(std::string_view host) {
    return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [](unsigned char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
               each == '-' || each == '_' || each == '.' || each == ':' || each == '%';
    });
}

std::optional<std::uint64_t> count_of(const json::value* value) {
    if (value == nullptr) return std::nullopt;
    if (value->is_uint64()) return value->get_uint64();
    if (value->is_int64() && value->get_int64() >= 0) return static_cast<std::uint64_t>(value->get_int64());
    return std::nullopt;
}

/// As `/replica?lag=` has it: a lag that is not known is too much, and so is a tag that wishes for no load.
bool is_behind(const json::object& member, std::uint64_t max_lag) {
    if (max_lag == 0) return false;
    const json::value* tags = member.if_contains("tags");
    if (tags != nullptr && tags->is_object()) {
        const json::value* none = tags->get_object().if_contains("noloadbalance");
        if (none != nullptr && none->is_bool() && none->get_bool()) return true;
    }
    const json::value* lag = member.if_contains("lag");
    if (lag == nullptr) lag = member.if_contains("replay_lag");
    return count_of(lag).value_or(max_lag + 1) > max_lag;
}

/// A member's server; nothing where it has no address yet. `problem` is set where it makes no sense.
std::optional<named_server> read_member(
    const json::value& value, std::uint64_t max_lag, std::string& problem
) {
    if (!value.is_object()) {
        problem = "has a member that is no object";
        return std::nullopt;
    }
    const json::object& member = value.get_object();
    const auto role = word(member, "role");
    const auto state = word(member, "state");
    if (!role) {
        problem = "has a member without a role";
        return std::nullopt;
    }
    named_server server;
    const json::value* host = member.if_contains("host");
    if (host == nullptr || host->is_null()) return std::nullopt;
    if (!host->is_string() || !is_host({host->get_string().data(), host->get_string().size()})) {
        problem = "has a member whose host is none";
        return std::nullopt;
    }
    server.address.host.assign(host->get_string().data(), host->get_string().size());
    if (const json::value* port = member.if_contains("port")) {
        const auto number = count_of(port);
        if (!number || *number == 0 || *number > 65535) {
            problem = "has a member whose port is none";
            return std::nullopt;
        }
        server.address.port = static_cast<std::uint16_t>(*number);
    }
    // Patroni 4 has words of its own for two of them.
    server.leader = *role == "leader" || *role == "master" || *role == "primary";
    server.behind = !server.leader && is_behind(member, max_lag);
    server.said = state ? *role + ", " + *state : *role;
    return server;
}

/// The order in which servers are tried.
int rank_of(const named_server& server) noexcept {
    if (server.leader) return 0;
    return server.said.starts_with("sync_standby") || server.said.starts_with("quorum_standby") ? 1 : 2;
}

}  // namespace

patroni_answer read_patroni_answer(std::string_view text, std::uint64_t max_lag) {
    if (text.size() > longest_patroni_answer) return refused("is too long");
    std::array<unsigned char, 16384> room{};
    json::monotonic_resource memory(room.data(), room.size());
    boost::system::error_code error;
    const json::value root = json::parse(json::string_view(text.data(), text.size()), error, &memory);
    if (error) return refused("is no JSON");
    const json::value* members = root.is_object() ? root.get_object().if_contains("members") : nullptr;
    if (members == nullptr || !members->is_array()) return refused("has no members");
    if (members->get_array().size() > most_patroni_members)
        return refused("has more than " + std::to_string(most_patroni_members) + " members");
    patroni_answer answer;
    std::size_t leaders = 0;
    for (const json::value& member : members->get_array()) {
        std::string problem;
        auto server = read_member(member, max_lag, problem);
        if (!problem.empty()) return refused(std::move(problem));
        if (!server) continue;
        const bool twice = std::ranges::find(answer.servers, server->address, &named_server::address) !=
                           answer.servers.end();
        if (twice) return refused("has two members at one address");
        if (server->leader && ++leaders > 1) return refused("has two leaders");
        answer.servers.push_back(std::move(*server));
    }
    if (answer.servers.empty()) return refused("has no member with an address");
    std::ranges::stable_sort(answer.servers, {}, rank_of);
    return answer;
}

}  // namespace pgmend::health
