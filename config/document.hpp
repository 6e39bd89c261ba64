#pragma once
// A configuration document as a plain tree in which every node knows its place. This is the only door to
// YAML: limits on size, depth and node count, refusal of anchors, aliases, tags and duplicate keys are here,
// so whoever walks the tree may recurse without a second thought.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pgmend::config {

/// Where something stands in a document; both are 1-based, 0 means "no place" (the environment).
struct position {
    std::size_t line = 0;
    std::size_t column = 0;
};

enum class node_kind { null, scalar, sequence, mapping };

struct document_member;

struct document_node {
    node_kind kind = node_kind::null;
    position at;
    std::string text;                      ///< of a scalar
    std::vector<document_node> items;      ///< of a sequence
    std::vector<document_member> members;  ///< of a mapping, in the order written; keys are unique
};

struct document_member {
    std::string key;
    position at;  ///< of the key
    document_node value;
};

/// A complaint about one key. `key` is empty when the document as a whole is meant.
struct problem {
    position at;
    std::string key;
    std::string text;
};
using problems = std::vector<problem>;

struct document_limits {
    std::size_t bytes = 1 << 20;
    std::size_t depth = 16;
    std::size_t nodes = 50'000;
};

/// Parses one YAML document; an empty one is a null node. On any complaint the tree is not to be used.
document_node parse_document(std::string_view text, problems& found, const document_limits& limits = {});

}  // namespace pgmend::config
