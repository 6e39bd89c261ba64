#include "config/text_list.hpp"

namespace pgmend::config {

namespace {

bool read_commas(const document_node& node, std::string_view key, const text_taker& take) {
    bool good = true;
    std::string_view rest = node.text;
    for (bool more = !rest.empty(); more;) {
        const std::size_t comma = rest.find(',');
        good = take(node, rest.substr(0, comma), std::string(key)) && good;
        more = comma != rest.npos;
        if (more) rest.remove_prefix(comma + 1);
        if (rest.starts_with(' ')) rest.remove_prefix(1);
    }
    return good;
}

}  // namespace

bool read_text_list(
    const document_node& node, std::string_view key, const text_list_words& words, problems& found,
    const text_taker& take
) {
    if (node.kind == node_kind::scalar) return read_commas(node, key, take);
    if (node.kind != node_kind::sequence) {
        found.push_back({node.at, std::string(key), "must be a list of " + std::string(words.list)});
        return false;
    }
    bool good = true;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        const document_node& item = node.items[i];
        std::string element = std::string(key) + "[" + std::to_string(i) + "]";
        if (item.kind == node_kind::scalar) {
            good = take(item, item.text, std::move(element)) && good;
        } else {
            found.push_back(
                {item.at, std::move(element), "must be text such as " + std::string(words.element)}
            );
            good = false;
        }
    }
    return good;
}

}  // namespace pgmend::config
