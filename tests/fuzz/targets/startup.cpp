// The first packet, at every length it may have arrived in.

#include <algorithm>

#include "protocol/startup.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace protocol;

bool within(std::string_view part, std::string_view whole) {
    return part.empty() ||
           (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void check_startup(const startup_message& startup, std::string_view packet) {
    require(!startup.user.empty(), "a startup message names a user");
    require(within(startup.user, packet), "views point into the packet");
    require(startup.spoken_minor() <= newest_minor_version, "no newer minor is spoken than known");
    for (const auto& [name, value] : startup.parameters) {
        require(within(name, packet) && within(value, packet), "views point into the packet");
        require(!name.starts_with("_pq_."), "protocol options are not parameters");
        const std::string kept = kept_application_name(value);
        require(kept.size() <= 63 && kept_application_name(kept) == kept, "a kept name is kept as it is");
        require(
            std::all_of(kept.begin(), kept.end(), [](char each) { return each >= ' ' && each <= '~'; }),
            "a kept name is printable"
        );
    }

    // The same parameters in another order mean the same, as long as no name comes twice.
    startup_message turned = startup;
    std::reverse(turned.parameters.begin(), turned.parameters.end());
    const auto lower = [](std::string_view text) {
        std::string folded(text);
        for (char& each : folded)
            if (each >= 'A' && each <= 'Z') each = static_cast<char>(each + 32);
        return folded;
    };
    std::vector<std::string> names;
    for (const auto& each : startup.parameters)
        names.push_back(lower(each.name));
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) == names.end()) {
        require(
            startup_partition_key(startup) == startup_partition_key(turned), "order does not part clients"
        );
    }

    // What we would say to a server with these parameters is read back as the same.
    std::vector<std::byte> written;
    append_startup(written, startup.spoken_minor(), startup.parameters);
    const startup_packet again = parse_startup(written, 1000);
    require(again.kind == startup_kind::startup, "what we write is a startup packet");
    require(again.startup.user == startup.user, "the user is read back");
    require(again.startup.parameters == startup.parameters, "the parameters are read back");
}

}  // namespace

void startup(byte_view input) {
    dice from(input);
    const std::size_t max_parameters = 1 + from.u8();
    const exact_copy all(from.rest_text());
    const startup_packet whole = parse_startup(all.bytes(), max_parameters);
    require(
        whole.kind != startup_kind::need_more || whole.size > all.text().size(),
        "more is needed than there is"
    );
    if (whole.kind == startup_kind::startup) check_startup(whole.startup, all.text());
    if (whole.kind == startup_kind::violation) require(!whole.error.message.empty(), "a violation has words");
    if (whole.kind == startup_kind::cancel_request) {
        require(
            whole.cancel.key.size() >= cancel_key_min && whole.cancel.key.size() <= cancel_key_max,
            "a cancel key has a legal length"
        );
    }
    if (whole.kind == startup_kind::need_more || whole.kind == startup_kind::violation) return;
    require(
        whole.size <= all.text().size() && whole.size >= startup_packet_min, "a packet lies within its bytes"
    );

    // Any part of a good packet asks for more, and never for more than the packet.
    const std::size_t step = std::max<std::size_t>(1, whole.size / 16);
    for (std::size_t length = 0; length < whole.size; length += step) {
        const exact_copy part(all.text().substr(0, length));
        const startup_packet partial = parse_startup(part.bytes(), max_parameters);
        require(partial.kind == startup_kind::need_more, "a part of a good packet needs more");
        require(partial.size > length && partial.size <= whole.size, "the rest of the packet and no more");
    }
}

}  // namespace pgmend::fuzz
