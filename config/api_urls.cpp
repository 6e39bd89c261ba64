#include "config/api_urls.hpp"

#include <algorithm>

#include "config/text_list.hpp"
#include "config/upstreams.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t most_urls = 32;
constexpr std::uint16_t usual_port = 8008;
constexpr std::string_view allowed = "; allowed: http://host:port or https://host:port";

bool is_path(std::string_view path) {
    return std::ranges::all_of(path, [](unsigned char each) {
        return each > ' ' && each < 0x7f && each != '?' && each != '#' && each != '@';
    });
}

bool add(
    const document_node& node, std::string_view text, const std::string& key, api_url_list& into,
    problems& found
) {
    auto url = parse_api_url(text);
    if (url.value) {
        into.push_back(std::move(*url.value));
        return true;
    }
    // A password may stand in what is no such URL.
    const std::string shown = text.find('@') == text.npos ? "'" + std::string(text) + "' " : "";
    found.push_back({node.at, key, shown + url.problem + std::string(allowed)});
    return false;
}

}  // namespace

parsed<api_url> parse_api_url(std::string_view text) {
    using result = parsed<api_url>;
    api_url url;
    if (text.starts_with("http://")) {
        text.remove_prefix(7);
    } else if (text.starts_with("https://")) {
        url.tls = true;
        text.remove_prefix(8);
    } else {
        return result::failure("begins neither with http:// nor with https://");
    }
    const std::string_view authority = text.substr(0, text.find('/'));
    std::string_view path = text.substr(authority.size());
    while (path.ends_with('/'))
        path.remove_suffix(1);
    if (authority.find('@') != authority.npos) return result::failure("has a user, which is not asked for");
    if (path.size() > 200 || !is_path(path)) return result::failure("has a path that cannot be asked for");
    auto where = parse_server(authority);
    if (!where.value) return result::failure(std::move(where.problem));
    if (where.value->is_socket() || !is_path(where.value->host) || where.value->host.size() > 253)
        return result::failure("has no host");
    // parse_server has PostgreSQL's port where none is given.
    const std::size_t bracket = authority.rfind(']');
    const bool port_given = authority.find(':', bracket == authority.npos ? 0 : bracket) != authority.npos;
    url.host = std::move(where.value->host);
    url.port = port_given ? where.value->port : usual_port;
    url.path = path;
    return result::of(std::move(url));
}

std::string print_api_url(const api_url& url) {
    server_address where;
    where.host = url.host;
    where.port = url.port;
    return (url.tls ? "https://" : "http://") + print_server(where) + url.path;
}

bool read_api_urls(const document_node& node, std::string_view key, api_url_list& into, problems& found) {
    const text_list_words words{"URLs", "\"http://host:8008\""};
    const auto take = [&](const document_node& at, std::string_view text, const std::string& name) {
        return add(at, text, name, into, found);
    };
    const bool good = read_text_list(node, key, words, found, take);
    if (into.size() <= most_urls) return good;
    found.push_back({node.at, std::string(key), "has more than " + std::to_string(most_urls) + " URLs"});
    return false;
}

std::string print_api_urls(const api_url_list& urls) {
    std::string list;
    for (const api_url& each : urls)
        list.append(list.empty() ? "" : ", ").append(print_api_url(each));
    return list;
}

}  // namespace pgmend::config
