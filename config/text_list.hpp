#pragma once
// A list of texts as a document may write it: a sequence, or one scalar with commas between them.

#include <functional>
#include <string>
#include <string_view>

#include "config/document.hpp"

namespace pgmend::config {

/// Words for complaints: "must be a list of ...", "must be text such as ...".
struct text_list_words {
    std::string_view list;
    std::string_view element;
};

/// Takes one text, which `node` holds and `key` names; false when it is not good and the complaint was made.
using text_taker = std::function<bool(const document_node& node, std::string_view text, std::string key)>;

/// Gives each text of `node` to `take`; false when one of them, or the node, is not good. In commas' company
/// one space before a text is no part of it; an empty scalar is an empty list.
bool read_text_list(
    const document_node& node, std::string_view key, const text_list_words& words, problems& found,
    const text_taker& take
);

}  // namespace pgmend::config
