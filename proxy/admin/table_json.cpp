#include "proxy/admin/table_json.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <charconv>

namespace pgmend::proxy {

namespace json = boost::json;

namespace {

json::value json_cell(const table_column& column, const cell& value) {
    if (!value) return nullptr;
    if (column.type != cell_type::text) {
        std::int64_t number = 0;
        const char* end = value->data() + value->size();
        const auto [rest, error] = std::from_chars(value->data(), end, number);
        if (error == std::errc{} && rest == end) return number;
        // Counters reach further than what is signed.
        std::uint64_t large = 0;
        const auto [large_rest, large_error] = std::from_chars(value->data(), end, large);
        if (large_error == std::errc{} && large_rest == end) return large;
    }
    return json::string(*value);
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

json::array json_rows(table_columns columns, const table_rows& rows) {
    json::array all;
    all.reserve(rows.size());
    for (const table_row& row : rows) {
        json::object one;
        one.reserve(columns.size());
        for (std::size_t i = 0; i < columns.size() && i < row.size(); ++i) {
            const std::string_view name = columns[i].name;
            one.emplace(json::string_view(name.data(), name.size()), json_cell(columns[i], row[i]));
        }
        all.push_back(std::move(one));
    }
    return all;
}

std::string json_text(const json::object& value) { return json::serialize(value) + '\n'; }

std::optional<show_topic> topic_named(std::string_view word) noexcept {
    const auto words = show_words();
    const auto found = std::ranges::find_if(words, [word](const show_word& each) {
        return std::ranges::equal(each.word, word, {}, lower, lower);
    });
    if (found == words.end() || columns_of(found->topic).empty()) return std::nullopt;
    return found->topic;
}

}  // namespace pgmend::proxy
