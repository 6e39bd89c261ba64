#include "config/upstreams.hpp"

#include <algorithm>

#include "config/text_list.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t most_servers = 64;
constexpr std::size_t most_users = 10'000;

parsed<std::uint16_t> parse_port(std::string_view text) {
    const auto number = parse_count(text);
    if (!number.value || *number.value == 0 || *number.value > 65535)
        return parsed<std::uint16_t>::failure("has a port that is not 1..65535");
    return parsed<std::uint16_t>::of(static_cast<std::uint16_t>(*number.value));
}

bool add_server(
    const document_node& node, std::string_view text, std::string key, server_list& into, problems& found
) {
    auto server = parse_server(text);
    if (!server.value) {
        found.push_back(
            {node.at, std::move(key),
             "'" + std::string(text) + "' " + server.problem +
                 "; allowed: host:port, [v6]:port or /socket/directory:port"}
        );
        return false;
    }
    into.push_back(std::move(*server.value));
    return true;
}

std::string element(std::string_view key, std::size_t index) {
    return std::string(key) + "[" + std::to_string(index) + "]";
}

bool wrong_kind(const document_node& node, std::string key, std::string_view wanted, problems& found) {
    found.push_back({node.at, std::move(key), "must be " + std::string(wanted)});
    return false;
}

bool read_text(const document_member& member, const std::string& key, std::string& into, problems& found) {
    const std::string full = key + "." + member.key;
    if (member.value.kind == node_kind::null) {
        found.push_back({member.value.at, full, "has no value"});
        return false;
    }
    if (member.value.kind != node_kind::scalar) return wrong_kind(member.value, full, "text", found);
    if (member.value.text.find('\0') != std::string::npos) {
        found.push_back({member.value.at, full, "contains a NUL character"});
        return false;
    }
    into = member.value.text;
    return true;
}

bool read_user(const document_node& node, const std::string& key, user_entry& into, problems& found) {
    if (node.kind != node_kind::mapping)
        return wrong_kind(node, key, "a mapping {name: text, password: text}", found);
    bool good = true;
    for (const document_member& member : node.members) {
        if (member.key == "name") {
            good = read_text(member, key, into.name, found) && good;
        } else if (member.key == "password") {
            good = read_text(member, key, into.password, found) && good;
        } else if (member.key == "password_file") {
            good = read_text(member, key, into.password_file, found) && good;
        } else {
            found.push_back(
                {member.at, key + "." + member.key, "unknown; known are name, password, password_file"}
            );
            good = false;
        }
    }
    if (good && !into.password.empty() && !into.password_file.empty()) {
        found.push_back({node.at, key + ".password_file", "stands beside 'password'; only one may be given"});
        good = false;
    }
    if (good && into.name.empty()) {
        found.push_back({node.at, key + ".name", "is missing"});
        good = false;
    }
    return good;
}

}  // namespace

bool server_address::is_socket() const noexcept { return host.starts_with('/') || host.starts_with('@'); }

std::string server_address::socket_path() const { return host + "/.s.PGSQL." + std::to_string(port); }

parsed<server_address> parse_server(std::string_view text) {
    using result = parsed<server_address>;
    server_address server;
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == text.npos) return result::failure("lacks a closing bracket");
        server.host = text.substr(1, end - 1);
        port = text.substr(end + 1);
        if (!port.empty() && port.front() != ':') return result::failure("has something after the bracket");
    } else {
        const std::size_t colon = text.rfind(':');
        server.host = text.substr(0, colon);
        if (colon != text.npos) port = text.substr(colon);
        if (server.host.find(':') != std::string::npos && !server.is_socket())
            return result::failure("has several colons: put an IPv6 address in brackets");
    }
    if (server.host.empty()) return result::failure("has no host");
    const bool stray_bracket = !server.is_socket() && server.host.find_first_of("[]") != std::string::npos;
    if (stray_bracket || server.host.find_first_of(std::string_view(" \t\r\n,=\0", 7)) != std::string::npos)
        return result::failure("has a character that no host has");
    if (!port.empty()) {
        auto number = parse_port(port.substr(1));
        if (!number.value) return result::failure(std::move(number.problem));
        server.port = *number.value;
    }
    return result::of(std::move(server));
}

std::string print_server(const server_address& server) {
    const std::string& host = server.host.empty() ? server.address : server.host;
    const bool brackets = !server.is_socket() && host.find(':') != std::string::npos;
    return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(server.port);
}

bool read_servers(const document_node& node, std::string_view key, server_list& into, problems& found) {
    const text_list_words words{"host:port", "\"host:5432\""};
    const auto take = [&](const document_node& at, std::string_view text, std::string name) {
        return add_server(at, text, std::move(name), into, found);
    };
    const bool good = read_text_list(node, key, words, found, take);
    if (into.size() > most_servers) {
        found.push_back(
            {node.at, std::string(key), "has more than " + std::to_string(most_servers) + " servers"}
        );
        return false;
    }
    return good;
}

std::string print_servers(const server_list& servers) {
    std::string list;
    for (const server_address& each : servers)
        list.append(list.empty() ? "" : ", ").append(print_server(each));
    return list;
}

bool read_users(const document_node& node, std::string_view key, user_list& into, problems& found) {
    if (node.kind != node_kind::sequence)
        return wrong_kind(node, std::string(key), "a list of {name: text, password: text}", found);
    if (node.items.size() > most_users) {
        found.push_back({node.at, std::string(key), "has more than " + std::to_string(most_users) + " users"}
        );
        return false;
    }
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        user_entry user;
        if (!read_user(node.items[i], element(key, i), user, found)) {
            good = false;
        } else if (std::ranges::find(into, user.name, &user_entry::name) != into.end()) {
            found.push_back({node.items[i].at, element(key, i) + ".name", "'" + user.name + "' appears twice"}
            );
            good = false;
        } else {
            into.push_back(std::move(user));
        }
    }
    return good;
}

std::string print_users(const user_list& users) {
    std::string list;
    for (const user_entry& each : users)
        list.append(list.empty() ? "" : ", ")
            .append(each.name)
            .append(each.password.empty() && each.password_file.empty() ? "" : ":***");
    return list;
}

}  // namespace pgmend::config
