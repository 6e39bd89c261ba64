#include "health/srv_answer.hpp"

#include <arpa/nameser.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

namespace pgmend::health {

namespace {

srv_answer refused(std::string why) {
    srv_answer answer;
    answer.problem = std::move(why);
    return answer;
}

bool is_host_name(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, [](unsigned char each) {
        return (each >= 'a' && each <= 'z') || (each >= 'A' && each <= 'Z') || (each >= '0' && each <= '9') ||
               each == '-' || each == '_' || each == '.';
    });
}

/// Even over (0, 1), and a function of its arguments alone.
double draw(std::uint64_t seed, std::string_view host, std::uint16_t port) {
    std::uint64_t mixed = seed ^ port;
    for (const char each : host)
        mixed = (mixed ^ static_cast<unsigned char>(each)) * 0x100000001b3U;
    // The last step of splitmix64.
    mixed += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    mixed ^= mixed >> 31U;
    return (static_cast<double>(mixed >> 11U) + 0.5) / 9007199254740992.0;
}

}  // namespace

srv_answer read_srv_answer(std::span<const std::byte> message) {
    ns_msg parsed{};
    const auto* bytes = reinterpret_cast<const unsigned char*>(message.data());
    if (message.size() > NS_MAXMSG || ::ns_initparse(bytes, static_cast<int>(message.size()), &parsed) != 0)
        return refused("is no answer of DNS");
    if (ns_msg_getflag(parsed, ns_f_rcode) != ns_r_noerror) return refused("is an error");
    srv_answer answer;
    answer.ttl = ~std::uint32_t{0};
    for (int i = 0; i < ns_msg_count(parsed, ns_s_an); ++i) {
        ns_rr record{};
        if (::ns_parserr(&parsed, ns_s_an, i, &record) != 0)
            return refused("has a record that cannot be read");
        answer.ttl = std::min(answer.ttl, static_cast<std::uint32_t>(ns_rr_ttl(record)));
        if (ns_rr_type(record) != ns_t_srv || ns_rr_class(record) != ns_c_in) continue;  // a CNAME on the way
        if (ns_rr_rdlen(record) < 7) return refused("has a record that is too short");
        const unsigned char* data = ns_rr_rdata(record);
        std::array<char, NS_MAXDNAME> name{};
        const int length =
            ::dn_expand(ns_msg_base(parsed), data + ns_rr_rdlen(record), data + 6, name.data(), name.size());
        if (length < 0 || length != static_cast<int>(ns_rr_rdlen(record)) - 6)
            return refused("has a target that cannot be read");
        srv_record one;
        one.priority = static_cast<std::uint16_t>(data[0] << 8U | data[1]);
        one.weight = static_cast<std::uint16_t>(data[2] << 8U | data[3]);
        one.port = static_cast<std::uint16_t>(data[4] << 8U | data[5]);
        one.host = name.data();
        if (one.host.empty() || one.host == ".") return refused("says that there is no such service");
        if (!is_host_name(one.host)) return refused("has a target that is no host");
        if (one.port == 0) return refused("has port 0");
        if (answer.records.size() == most_srv_records)
            return refused("has more than " + std::to_string(most_srv_records) + " records");
        answer.records.push_back(std::move(one));
    }
    if (answer.records.empty()) return refused("has no SRV record");
    return answer;
}

named_list servers_in_order(std::vector<srv_record> records, std::uint64_t seed) {
    const auto rank = [seed](const srv_record& one) {
        // The greatest of these comes first: of weighted draws without replacement, all at once.
        const double drawn = draw(seed, one.host, one.port);
        const double key = one.weight == 0 ? drawn - 2.0 : std::pow(drawn, 1.0 / one.weight);
        return std::tuple(one.priority, -key, one.host, one.port);
    };
    std::ranges::sort(records, {}, rank);
    named_list servers;
    for (auto& one : records) {
        named_server server;
        server.address.host = std::move(one.host);
        server.address.port = one.port;
        if (std::ranges::find(servers, server) == servers.end()) servers.push_back(std::move(server));
    }
    return servers;
}

}  // namespace pgmend::health
