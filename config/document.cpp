#include "config/document.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

namespace pgmend::config {

namespace {

/// Ends the parse at the first complaint that makes the rest of the document meaningless.
struct stop_parsing {
    problem why;
};

position place_of(const YAML::Mark& mark) {
    if (mark.is_null()) return {};
    return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}

/// Builds the tree from yaml-cpp's events rather than from its nodes: limits then hold while the document is
/// read, and keys keep their places, their duplicates and their order.
class tree_builder final : public YAML::EventHandler {
public:
    tree_builder(std::string_view text, problems& found, const document_limits& limits)
        : text_(text), found_(found), limits_(limits) {}

    document_node take() { return std::move(root_); }

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        enter(mark, anchor, "");
        add(document_node{node_kind::null, place_of(mark), {}, {}, {}});
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        refuse(mark, "aliases are not supported: write the value out");
    }
    void OnScalar(
        const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value
    ) override {
        enter(mark, anchor, tag);
        if (tag == "!" && !quote_closed(mark)) refuse(mark, "the quote is never closed");
        add(document_node{node_kind::scalar, place_of(mark), value, {}, {}});
    }
    void OnSequenceStart(
        const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value
    ) override {
        open(mark, tag, anchor, node_kind::sequence);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(
        const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value
    ) override {
        open(mark, tag, anchor, node_kind::mapping);
    }
    void OnMapEnd() override { close(); }

private:
    /// A collection that is being filled. `key` waits for its value in a mapping.
    struct frame {
        document_node node;
        document_member member;
        bool key_read = false;
        bool duplicate = false;
    };

    /// yaml-cpp takes the end of the text for a closing quote, and the rest of the file for the value.
    bool quote_closed(const YAML::Mark& mark) const {
        const auto begin = static_cast<std::size_t>(mark.pos);
        if (mark.pos < 0 || begin >= text_.size()) return true;
        const char quote = text_[begin];
        // Not where expected: another encoding, in which places are not byte offsets.
        if (quote != '"' && quote != '\'') return true;
        for (std::size_t at = begin + 1; at < text_.size(); ++at) {
            // Inside single quotes, two of them stand for one.
            const bool doubled = quote == '\'' && text_.substr(at, 2) == "''";
            if (text_[at] == quote && !doubled) return true;
            if (doubled || (quote == '"' && text_[at] == '\\')) ++at;
        }
        return false;
    }

    [[noreturn]] static void refuse(const YAML::Mark& mark, std::string text) {
        throw stop_parsing{{place_of(mark), {}, std::move(text)}};
    }

    void enter(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
        if (++nodes_ > limits_.nodes)
            refuse(mark, "the document has more than " + std::to_string(limits_.nodes) + " values");
        if (anchor != 0) refuse(mark, "anchors are not supported: write the value out");
        // "?" is a plain value, "!" a quoted one; anything else was written by hand.
        if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags are not supported");
    }

    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, node_kind kind) {
        enter(mark, anchor, tag);
        if (open_.size() >= limits_.depth)
            refuse(mark, "the document is nested deeper than " + std::to_string(limits_.depth) + " levels");
        if (!open_.empty() && wants_key()) refuse(mark, "a key must be plain text (is a bracket left open?)");
        open_.push_back({document_node{kind, place_of(mark), {}, {}, {}}, {}});
    }

    void close() {
        document_node done = std::move(open_.back().node);
        open_.pop_back();
        add(std::move(done));
    }

    /// The keys that lead to the open mapping, each with a dot behind it.
    std::string path() const {
        std::string keys;
        for (const frame& each : open_)
            if (each.key_read) keys += each.member.key + ".";
        return keys;
    }

    bool wants_key() const { return open_.back().node.kind == node_kind::mapping && !open_.back().key_read; }

    void add(document_node node) {
        if (open_.empty()) {
            root_ = std::move(node);
            return;
        }
        frame& top = open_.back();
        if (top.node.kind == node_kind::sequence) {
            top.node.items.push_back(std::move(node));
        } else if (wants_key()) {
            read_key(top, std::move(node));
        } else {
            // An absent value has the place of whatever comes next; its key says more.
            if (node.kind == node_kind::null) node.at = top.member.at;
            top.member.value = std::move(node);
            if (!top.duplicate) top.node.members.push_back(std::move(top.member));
            top.key_read = false;
        }
    }

    void read_key(frame& top, document_node node) {
        if (node.kind != node_kind::scalar)
            throw stop_parsing{{node.at, {}, "a key must be plain text (is a bracket left open?)"}};
        const auto& members = top.node.members;
        const auto first = std::ranges::find(members, node.text, &document_member::key);
        top.duplicate = first != members.end();
        if (top.duplicate) {
            found_.push_back(
                {node.at, path() + node.text,
                 "appears twice, first in line " + std::to_string(first->at.line)}
            );
        }
        top.member = document_member{std::move(node.text), node.at, {}};
        top.key_read = true;
    }

    std::string_view text_;
    problems& found_;
    const document_limits& limits_;
    std::size_t nodes_ = 0;
    document_node root_;
    std::vector<frame> open_;
};

}  // namespace

document_node parse_document(std::string_view text, problems& found, const document_limits& limits) {
    if (text.size() > limits.bytes) {
        found.push_back({{}, {}, "the document is larger than " + std::to_string(limits.bytes) + " bytes"});
        return {};
    }
    std::istringstream stream{std::string(text)};
    tree_builder builder(text, found, limits);
    try {
        YAML::Parser parser(stream);
        parser.HandleNextDocument(builder);
        document_node root = builder.take();
        tree_builder rest(text, found, limits);
        if (parser.HandleNextDocument(rest))
            found.push_back({rest.take().at, {}, "a second document is not supported"});
        return root;
    } catch (const stop_parsing& stopped) {
        found.push_back(stopped.why);
    } catch (const YAML::Exception& error) {
        found.push_back({place_of(error.mark), {}, "not valid YAML: " + error.msg});
    }
    return {};
}

}  // namespace pgmend::config
