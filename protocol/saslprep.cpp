#include "protocol/saslprep.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/base64.hpp"
#include "protocol/saslprep_tables.hpp"

namespace pgmend::protocol {

namespace {

// Hangul is composed by arithmetic: Unicode 3.2, section 3.12.
constexpr char32_t s_base = 0xac00, l_base = 0x1100, v_base = 0x1161, t_base = 0x11a7;
constexpr char32_t l_count = 19, v_count = 21, t_count = 28, s_count = l_count * v_count * t_count;

/// The integers of a packed table.
class packed_reader {
public:
    explicit packed_reader(std::string_view table) : bytes_(base64_decode(table).value_or(std::string())) {}
    bool done() const noexcept { return at_ >= bytes_.size(); }
    std::uint32_t next() noexcept {
        std::uint32_t value = 0;
        for (unsigned shift = 0; !done(); shift += 7) {
            const auto byte = static_cast<unsigned char>(bytes_[at_++]);
            value |= (byte & 127U) << shift;
            if (byte < 128) break;
        }
        return value;
    }

private:
    std::string bytes_;
    std::size_t at_ = 0;
};

class range_table {
public:
    explicit range_table(std::string_view packed) {
        packed_reader reader(packed);
        char32_t last = 0;
        while (!reader.done()) {
            const char32_t from = last + reader.next();
            const char32_t to = from + reader.next();
            ranges_.push_back({from, to});
            last = to + 1;
        }
    }
    bool has(char32_t code) const noexcept {
        const auto at = std::ranges::lower_bound(ranges_, code, {}, &range::to);
        return at != ranges_.end() && at->from <= code;
    }

private:
    struct range {
        char32_t from;
        char32_t to;
    };
    std::vector<range> ranges_;
};

/// Unpacked when the first password beyond ASCII comes.
struct tables {
    range_table nothing{saslprep_nothing};
    range_table spaces{saslprep_spaces};
    range_table prohibited{saslprep_prohibited};
    range_table right_to_left{saslprep_right_to_left};
    range_table left_to_right{saslprep_left_to_right};
    std::unordered_map<char32_t, std::uint8_t> combining;
    std::unordered_map<char32_t, std::u32string> decompositions;
    std::map<std::pair<char32_t, char32_t>, char32_t> compositions;

    tables() {
        packed_reader classes(saslprep_combining);
        for (char32_t code = 0; !classes.done();) {
            code += classes.next();
            combining[code] = static_cast<std::uint8_t>(classes.next());
        }
        packed_reader reader(saslprep_decompositions);
        for (char32_t code = 0; !reader.done();) {
            code += reader.next();
            const std::uint32_t head = reader.next();
            std::u32string& parts = decompositions[code];
            for (std::uint32_t left = head / 4; left > 0; --left) {
                parts += static_cast<char32_t>(reader.next());
            }
            constexpr std::uint32_t composes = 2;
            if (head % 4 == composes) compositions[{parts[0], parts[1]}] = code;
        }
    }
    std::uint8_t class_of(char32_t code) const {
        const auto at = combining.find(code);
        return at == combining.end() ? std::uint8_t{0} : at->second;
    }
};

const tables& unicode() {
    static const tables unpacked;
    return unpacked;
}

/// Strict UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF.
std::optional<std::u32string> decode(std::string_view text) {
    std::u32string codes;
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at++]);
        const unsigned more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || text.size() - at < more) return std::nullopt;
        char32_t code = more == 0 ? lead : lead & (0x3fU >> more);
        for (unsigned i = 0; i < more; ++i) {
            const auto next = static_cast<unsigned char>(text[at++]);
            if ((next & 0xc0U) != 0x80) return std::nullopt;
            code = (code << 6) | (next & 0x3fU);
        }
        constexpr char32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        if (code < smallest[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return std::nullopt;
        codes += code;
    }
    return codes;
}

std::string encode(std::u32string_view codes) {
    std::string text;
    const auto tail = [&text](char32_t bits) { text += static_cast<char>(0x80U | (bits & 0x3fU)); };
    for (const char32_t code : codes) {
        if (code < 0x80) {
            text += static_cast<char>(code);
        } else if (code < 0x800) {
            text += static_cast<char>(0xc0U | (code >> 6));
            tail(code);
        } else if (code < 0x10000) {
            text += static_cast<char>(0xe0U | (code >> 12));
            tail(code >> 6);
            tail(code);
        } else {
            text += static_cast<char>(0xf0U | (code >> 18));
            tail(code >> 12);
            tail(code >> 6);
            tail(code);
        }
    }
    return text;
}

void decompose(char32_t code, std::u32string& into) {
    if (code >= s_base && code < s_base + s_count) {
        const char32_t index = code - s_base;
        into += l_base + index / (v_count * t_count);
        into += v_base + index % (v_count * t_count) / t_count;
        if (index % t_count != 0) into += t_base + index % t_count;
        return;
    }
    const auto at = unicode().decompositions.find(code);
    if (at == unicode().decompositions.end()) {
        into += code;
        return;
    }
    for (const char32_t part : at->second) {
        decompose(part, into);
    }
}

/// The character two others make together; 0 when they do not.
char32_t compose(char32_t first, char32_t second) {
    if (first >= l_base && first < l_base + l_count && second >= v_base && second < v_base + v_count) {
        return s_base + ((first - l_base) * v_count + (second - v_base)) * t_count;
    }
    if (first >= s_base && first < s_base + s_count && (first - s_base) % t_count == 0 && second > t_base &&
        second < t_base + t_count) {
        return first + (second - t_base);
    }
    const auto at = unicode().compositions.find({first, second});
    return at == unicode().compositions.end() ? 0 : at->second;
}

/// Normalisation form KC: Unicode 3.2, annex 15.
std::u32string normalize(std::u32string_view codes) {
    std::u32string apart;
    for (const char32_t code : codes) {
        decompose(code, apart);
    }
    const tables& data = unicode();
    for (auto from = apart.begin(); from != apart.end();) {
        const auto to = std::find_if(from, apart.end(), [&](char32_t c) { return data.class_of(c) == 0; });
        std::stable_sort(from, to, [&](char32_t a, char32_t b) {
            return data.class_of(a) < data.class_of(b);
        });
        from = to == apart.end() ? to : to + 1;
    }
    std::u32string result;
    std::size_t starter = std::u32string::npos;
    int last_class = -1;  // of the last character kept since the starter; -1 when it is the starter itself
    for (const char32_t code : apart) {
        const int own = data.class_of(code);
        if (starter != std::u32string::npos && last_class < own) {
            if (const char32_t both = compose(result[starter], code); both != 0) {
                result[starter] = both;
                continue;
            }
        }
        if (own == 0) {
            starter = result.size();
            last_class = -1;
        } else {
            last_class = own;
        }
        result += code;
    }
    return result;
}

/// RFC 3454, section 6: text that runs from right to left does so from end to end.
bool directions_agree(std::u32string_view codes) {
    const tables& data = unicode();
    const auto right = [&data](char32_t code) { return data.right_to_left.has(code); };
    if (std::ranges::none_of(codes, right)) return true;
    const bool mixed =
        std::ranges::any_of(codes, [&](char32_t code) { return data.left_to_right.has(code); });
    return !mixed && right(codes.front()) && right(codes.back());
}

std::optional<std::string> prepare(std::string_view password) {
    const auto codes = decode(password);
    if (!codes) return std::nullopt;
    const tables& data = unicode();
    std::u32string mapped;
    for (const char32_t code : *codes) {
        if (data.nothing.has(code)) continue;
        mapped += data.spaces.has(code) ? U' ' : code;
    }
    // PostgreSQL looks for forbidden characters and directions before it normalises, the RFC after; a
    // password must give the keys that PostgreSQL stored.
    const bool forbidden =
        std::ranges::any_of(mapped, [&](char32_t code) { return data.prohibited.has(code); });
    if (mapped.empty() || forbidden || !directions_agree(mapped)) return std::nullopt;
    return encode(normalize(mapped));
}

}  // namespace

std::string saslprep(std::string_view password) {
    const bool ascii =
        std::ranges::all_of(password, [](char c) { return static_cast<unsigned char>(c) < 128; });
    // Nothing in ASCII changes, and what is forbidden there is taken as it is.
    if (ascii) return std::string(password);
    return prepare(password).value_or(std::string(password));
}

}  // namespace pgmend::protocol
