// pg_hba.conf and pg_ident.conf: rules or a complaint with its line and column; the first rule that fits
// decides, whatever stands behind it.

#include "config/hba_rules.hpp"
#include "config/ident_map.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

using namespace config;

template <class Value>
void rules_or_a_complaint(const parsed<Value>& read) {
    require(read.value.has_value() == read.problem.empty(), "rules or a complaint");
    if (read.value.has_value()) return;
    // line:column: what is wrong
    const std::size_t line = read.problem.find_first_not_of("0123456789");
    require(
        line != 0 && line != read.problem.npos && read.problem[line] == ':', "a complaint names the line"
    );
    const std::size_t column = read.problem.find_first_not_of("0123456789", line + 1);
    require(column > line + 1 && column != read.problem.npos, "a complaint names the column");
    require(read.problem.compare(column, 2, ": ") == 0, "what is wrong stands behind the place");
}

struct question_words {
    std::string user;
    std::string database;
    hba_question question;
};

void draw_question(dice& from, question_words& words) {
    static constexpr std::string_view names[] = {"app", "all", "replication", "sameuser", "", "a b"};
    static constexpr std::string_view addresses[] = {
        "127.0.0.1", "10.1.2.3", "::1", "fe80::1", "::ffff:10.1.2.3"};
    const std::uint8_t what = from.u8();
    words.user = (what & 1U) != 0 ? std::string(from.short_text()) : std::string(names[from.below(6)]);
    words.database = (what & 2U) != 0 ? words.user : std::string(names[from.below(6)]);
    words.question.encrypted = (what & 4U) != 0;
    words.question.physical_replication = (what & 8U) != 0;
    if ((what & 16U) != 0) words.question.address = parse_address(addresses[from.below(5)]);
    words.question.user = words.user;
    words.question.database = words.database;
}

bool covers(const address_range& range, const ip_address& address) {
    if (range.first.bits != address.bits) return false;
    for (std::size_t i = 0; i < address.bits / 8; ++i) {
        if (((range.first.bytes[i] ^ address.bytes[i]) & range.mask.bytes[i]) != 0) return false;
    }
    return true;
}

void check_rules(const hba_rules& rules, const hba_question& asked) {
    const hba_rule* const found = rules.find(asked);
    std::size_t place = 0;
    while (place < rules.rules.size() && &rules.rules[place] != found)
        ++place;
    require(found == nullptr || place < rules.rules.size(), "the rule that is found is one of them");
    for (std::size_t i = 0; i < place; ++i) {
        const hba_rules alone{{rules.rules[i]}};
        require(alone.find(asked) == nullptr, "the first rule that fits decides");
    }
    if (found == nullptr) return;
    require((found->kind == connection_kind::local) == !asked.address.has_value(), "local is a Unix socket");
    require(found->kind != connection_kind::encrypted || asked.encrypted, "hostssl needs TLS");
    require(found->kind != connection_kind::clear || !asked.encrypted, "hostnossl needs none");
    require(found->kind != connection_kind::none, "hostgssenc fits nobody");
    if (!asked.address || found->all_addresses) return;
    bool inside = false;
    for (const address_range& range : found->addresses)
        inside = inside || covers(range, *asked.address);
    require(inside, "the address is in the rule's range");
}

}  // namespace

/// A question, then the text of the rules; or `ID`, two names, and the text of a map.
void rules(byte_view input) {
    dice from(input);
    if (protocol::as_text(input).starts_with("ID")) {
        from.text(2);
        const std::string name(from.text(from.below(64)));
        const std::string user(from.text(from.below(16)));
        const exact_copy text(from.rest_text());
        const auto map = parse_ident_map(text.text());
        rules_or_a_complaint(map);
        if (!map.value) return;
        map.value->allows("m", name, user);
        if (user.empty()) return;
        require(
            map.value->allows("", user, user) && !map.value->allows("", user + "x", user),
            "no map: equal names"
        );
        return;
    }
    question_words words;
    draw_question(from, words);
    const exact_copy text(from.rest_text());
    const auto read = parse_hba(text.text());
    rules_or_a_complaint(read);
    if (read.value) check_rules(*read.value, words.question);
    if (const auto address = parse_address(text.text()))
        require(address->bits == 32 || address->bits == 128, "an address has one of two lengths");
}

}  // namespace pgmend::fuzz
