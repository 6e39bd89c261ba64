#include "config/certificates.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t most_certificates = 1000;
constexpr std::string_view form = "{cert: path, key: path}";

bool complain(position at, std::string key, std::string_view text, problems& found) {
    found.push_back({at, std::move(key), std::string(text)});
    return false;
}

bool read_entry(
    const document_node& node, const std::string& key, certificate_entry& entry, problems& found
) {
    if (node.kind != node_kind::mapping)
        return complain(node.at, key, "must be a mapping " + std::string(form), found);
    bool good = true;
    for (const document_member& member : node.members) {
        const std::string name = key + "." + member.key;
        if (member.key != "cert" && member.key != "key") {
            good = complain(member.at, name, "unknown; known are cert, key", found);
        } else if (member.value.kind != node_kind::scalar || member.value.text.empty()) {
            good = complain(member.value.at, name, "must be the path of a PEM file", found);
        } else {
            (member.key == "cert" ? entry.cert : entry.key) = member.value.text;
        }
    }
    if (good && (entry.cert.empty() || entry.key.empty()))
        return complain(node.at, key, "must say cert and key", found);
    return good;
}

}  // namespace

bool read_certificates(
    const document_node& node, std::string_view key, certificate_list& into, problems& found
) {
    const std::string name(key);
    if (node.kind != node_kind::sequence)
        return complain(node.at, name, "must be a list of " + std::string(form), found);
    if (node.items.size() > most_certificates) {
        return complain(
            node.at, name, "has more than " + std::to_string(most_certificates) + " certificates", found
        );
    }
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        certificate_entry entry;
        good = read_entry(node.items[i], name + "[" + std::to_string(i) + "]", entry, found) && good;
        into.push_back(std::move(entry));
    }
    return good;
}

std::string print_certificates(const certificate_list& certificates) {
    std::string list;
    for (const certificate_entry& each : certificates)
        list.append(list.empty() ? "" : ", ").append(each.cert);
    return list;
}

}  // namespace pgmend::config
