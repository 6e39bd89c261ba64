#include "tests/sim/byte_sweep.hpp"

#include <algorithm>
#include <array>

#include "tests/sim/conversations.hpp"

namespace pgmend::sim {

namespace {

/// A second client shares the one server connection, so that what is left of the first one's has somebody to
/// meet. It always is the second to connect, and its own connections are not broken.
constexpr std::uint32_t neighbour_link = 2;
constexpr std::uint32_t stall_us = 30'000;

struct way {
    std::string_view name;
    fault_kind kind;
    cut_kind how;
};
constexpr std::array<way, 4> ways = {
    way{"reset", fault_kind::cut, cut_kind::reset}, way{"closed", fault_kind::cut, cut_kind::orderly},
    way{"stalled", fault_kind::stall, cut_kind::reset}, way{"half", fault_kind::cut, cut_kind::half}};
/// Of a direction that carries more, not each byte is taken: so many at most.
constexpr std::uint64_t bytes_most = 8'192;

fault_schedule undisturbed(const std::string& conversation) {
    fault_schedule made;
    made.seed = 1;
    made.server_connections = 1;
    client_plan plan;
    plan.number = 1;
    plan.seed = 1;
    plan.conversation = conversation;
    made.clients.push_back(plan);
    for (const auto& [key, value] : conversation_settings(conversation))
        made.settings.push_back({0, key, value});
    if (conversation == large_conversation) made.buffer = 1'024;
    plan.number = neighbour_link;
    plan.start_us = 300;
    plan.conversation = "simple";
    made.clients.push_back(plan);
    return made;
}

/// Whether a name begins with the words of the prefix, or may do so when more is put behind it.
bool fits(const std::string& name, const std::string& prefix) {
    const auto common = std::min(name.size(), prefix.size());
    if (name.compare(0, common, prefix, 0, common) != 0) return false;
    const std::string& longer = name.size() > prefix.size() ? name : prefix;
    return common == 0 || common == longer.size() || longer[common] == '/';
}

class sweep {
public:
    sweep(const sweep_range& range, const sweep_visitor& visit) : range_(range), visit_(visit) {}

    bool over() const noexcept { return over_; }

    void links(
        const fault_schedule& calm, const std::string& name, link_group group,
        const std::vector<link_traffic>& carried
    ) {
        for (std::uint32_t nth = 1; nth <= carried.size(); ++nth) {
            if (group == link_group::client && nth == neighbour_link) continue;
            const std::string link =
                name + (group == link_group::client ? "/client" : "/server") + std::to_string(nth);
            for (const end_side toward : {end_side::opener, end_side::acceptor}) {
                fault one;
                one.group = group;
                one.nth = nth;
                one.toward = toward;
                const std::string direction =
                    link + (toward == end_side::opener ? "/to_opener" : "/to_acceptor");
                for (const way& how : ways) {
                    one.kind = how.kind;
                    one.how = how.how;
                    one.for_us = how.kind == fault_kind::stall ? stall_us : 0;
                    bytes(
                        calm, direction + "/" + std::string(how.name), one,
                        carried[nth - 1].toward[static_cast<std::size_t>(toward)]
                    );
                }
            }
        }
    }

private:
    /// Each byte is the first that does not arrive; behind the last one, everything has.
    void bytes(const fault_schedule& calm, const std::string& name, fault one, std::uint64_t carried) {
        if (!fits(name, range_.prefix)) return;
        ++directions_;
        const std::uint64_t stride = 1 + carried / bytes_most;
        for (std::uint64_t byte = 0; byte <= carried && !over_; byte += stride) {
            const std::string whole = name + "/" + std::to_string(byte);
            if (!fits(whole, range_.prefix)) continue;
            if ((byte / stride + directions_) % range_.every != 0) continue;
            one.bytes = static_cast<std::uint32_t>(byte);
            fault_schedule broken = calm;
            broken.faults = {one};
            over_ = !visit_(whole, broken);
        }
    }

    const sweep_range& range_;
    const sweep_visitor& visit_;
    std::uint64_t directions_ = 0;
    bool over_ = false;
};

}  // namespace

std::string sweep_bytes(const subject_factory& make, const sweep_range& range, const sweep_visitor& visit) {
    sweep work(range, visit);
    for (const std::string& name : conversation_names()) {
        if (work.over()) break;
        if (!fits(name, range.prefix)) continue;
        const auto calm = undisturbed(name);
        const auto report = run_schedule(calm, make);
        if (!report.passed()) return name + ": " + report.broken->text;
        work.links(calm, name, link_group::client, report.client_links);
        work.links(calm, name, link_group::server, report.server_links);
    }
    return {};
}

}  // namespace pgmend::sim
