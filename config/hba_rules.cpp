#include "config/hba_rules.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "config/hba_words.hpp"

namespace pgmend::config {

namespace {

constexpr std::size_t most_rules = 10'000;

bool one_of(const std::vector<std::string>& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

ip_address mask_of(unsigned bits, unsigned length) {
    ip_address mask;
    mask.bits = bits;
    for (unsigned i = 0; i < length; ++i)
        mask.bytes[i / 8] = static_cast<std::uint8_t>(mask.bytes[i / 8] | 0x80U >> i % 8);
    return mask;
}

std::optional<ip_address> from_socket(const sockaddr* address) {
    if (address == nullptr) return std::nullopt;
    ip_address result;
    if (address->sa_family == AF_INET) {
        result.bits = 32;
        std::memcpy(result.bytes.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        result.bits = 128;
        std::memcpy(result.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
    } else {
        return std::nullopt;
    }
    return result;
}

/// The addresses of this host, or the networks it is in, at the time of reading.
std::vector<address_range> own_ranges(bool networks) {
    std::vector<address_range> ranges;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return ranges;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
    for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
        const auto address = from_socket(each->ifa_addr);
        const auto mask = from_socket(each->ifa_netmask);
        if (!address) continue;
        const bool wide = networks && mask && mask->bits == address->bits;
        ranges.push_back({*address, wide ? *mask : mask_of(address->bits, address->bits)});
    }
    return ranges;
}

/// Reads the fields of one line, of which there is at least one.
class rule_reader {
public:
    explicit rule_reader(const std::vector<hba_field>& fields)
        : fields_(fields), at_word_(fields.front().front().at) {}

    parsed<hba_rule> read() {
        read_kind();
        if (good()) read_databases();
        if (good()) read_users();
        if (good() && rule_.kind != connection_kind::local) read_addresses();
        if (good()) read_method();
        while (good() && at_ < fields_.size())
            read_option();
        if (good()) check();
        if (!good()) return parsed<hba_rule>::failure(hba_problem(at_word_, "the rule " + problem_));
        return parsed<hba_rule>::of(std::move(rule_));
    }

private:
    bool good() const noexcept { return problem_.empty(); }
    void fail(std::string text) {
        if (good()) problem_ = std::move(text);
    }
    const hba_field* next(const char* what) {
        if (at_ < fields_.size()) {
            at_word_ = fields_[at_].front().at;
            return &fields_[at_++];
        }
        fail(std::string("ends before the ") + what);
        return nullptr;
    }
    /// The next field where it has to be a single word.
    std::string_view word(const char* what) {
        const hba_field* field = next(what);
        if (field == nullptr) return {};
        if (field->size() != 1) fail(std::string("has several values for the ") + what);
        return field->front().text;
    }

    void read_kind() {
        const std::string_view kind = word("connection type");
        if (kind == "local") {
            rule_.kind = connection_kind::local;
        } else if (kind == "host" || kind == "hostnogssenc") {
            rule_.kind = connection_kind::any;
        } else if (kind == "hostssl") {
            rule_.kind = connection_kind::encrypted;
        } else if (kind == "hostnossl") {
            rule_.kind = connection_kind::clear;
        } else if (kind == "hostgssenc") {
            rule_.kind = connection_kind::none;
        } else if (kind.starts_with("include")) {
            fail("is of another file (include), which is not supported: put its rules here");
        } else {
            fail(
                "has an unknown connection type; allowed: local, host, hostssl, hostnossl, hostgssenc, "
                "hostnogssenc"
            );
        }
    }

    void read_databases() {
        const hba_field* field = next("database");
        if (field == nullptr) return;
        for (const hba_word& each : *field) {
            if (!good()) return;
            at_word_ = each.at;
            const bool keyword = !each.quoted;
            if (keyword && each.text == "all") {
                rule_.all_databases = true;
            } else if (keyword && each.text == "sameuser") {
                rule_.same_user = true;
            } else if (keyword && each.text == "replication") {
                rule_.replication = true;
            } else if (keyword && (each.text == "samerole" || each.text == "samegroup")) {
                fail(std::string(unknown_roles).append(allowed_databases));
            } else if (keyword && (each.text.starts_with('@') || each.text.starts_with('/'))) {
                fail(std::string("has a database that is a file (@) or a pattern (/), which is not supported")
                         .append(allowed_databases));
            } else {
                rule_.databases.push_back(each.text);
            }
        }
    }

    void read_users() {
        const hba_field* field = next("user");
        if (field == nullptr) return;
        for (const hba_word& each : *field) {
            if (!good()) return;
            at_word_ = each.at;
            if (!each.quoted && each.text == "all") {
                rule_.all_users = true;
            } else if (!each.quoted && each.text.starts_with('+')) {
                fail(std::string(unknown_roles).append(allowed_users));
            } else if (!each.quoted && (each.text.starts_with('@') || each.text.starts_with('/'))) {
                fail(std::string("has a user that is a file (@) or a pattern (/), which is not supported")
                         .append(allowed_users));
            } else {
                rule_.users.push_back(each.text);
            }
        }
    }

    void read_addresses() {
        const hba_field* field = next("address");
        if (field == nullptr) return;
        if (field->size() != 1) return fail("has several addresses: one a rule");
        const hba_word& word = field->front();
        if (!word.quoted && word.text == "all") {
            rule_.all_addresses = true;
        } else if (!word.quoted && (word.text == "samehost" || word.text == "samenet")) {
            rule_.addresses = own_ranges(word.text == "samenet");
        } else {
            read_range(word.text);
        }
    }

    void read_range(std::string_view text) {
        const std::size_t slash = text.find('/');
        const auto first = parse_address(text.substr(0, slash));
        if (!first) {
            return fail(
                "has an address that is not numeric: names of hosts are not supported; allowed: all, "
                "samehost, "
                "samenet, 10.0.0.0/8, 10.0.0.0 255.0.0.0, the same of IPv6"
            );
        }
        if (slash != text.npos) {
            const auto length = parse_count(text.substr(slash + 1));
            if (!length.value || *length.value > first->bits) return fail("has a mask that is none");
            rule_.addresses.push_back({*first, mask_of(first->bits, static_cast<unsigned>(*length.value))});
            return;
        }
        const auto mask = parse_address(word("mask"));
        if (!mask || mask->bits != first->bits) return fail("needs a mask behind its address");
        rule_.addresses.push_back({*first, *mask});
    }

    void read_method() {
        const std::string_view method = word("method");
        if (!good()) return;
        for (const auto& each : words(auth_method{})) {
            if (each.text != method) continue;
            rule_.method = each.value;
            if (each.value == auth_method::cert) rule_.certificate = certificate_demand::named;
            return;
        }
        fail("has a method that is not one of trust, reject, password, md5, scram-sha-256, cert");
    }

    void read_option() {
        std::string_view option = word("option");
        const std::size_t equals = option.find('=');
        const std::string_view name = option.substr(0, equals);
        const std::string_view value = equals == option.npos ? std::string_view() : option.substr(equals + 1);
        if (name == "map" && !value.empty()) {
            rule_.map = value;
        } else if (name == "clientcert" && (value == "verify-ca" || value == "verify-full")) {
            const bool named = value == "verify-full" || rule_.method == auth_method::cert;
            rule_.certificate = named ? certificate_demand::named : certificate_demand::valid;
        } else if (name == "clientname" && value == "CN") {
            rule_.name = certificate_name::cn;
        } else if (name == "clientname" && value == "DN") {
            rule_.name = certificate_name::dn;
        } else if (name == "clientname" && value == "SAN") {
            rule_.name = certificate_name::san;
        } else {
            fail("has an option that is not one of map, clientcert, clientname");
        }
    }

    void check() {
        const bool demands = rule_.certificate != certificate_demand::none;
        if (demands && rule_.kind != connection_kind::encrypted)
            fail("asks for a certificate, which only hostssl connections have");
    }

    static constexpr std::string_view unknown_roles = "asks for role membership, which pgmend does not know";
    static constexpr std::string_view allowed_databases = "; allowed: all, sameuser, replication, names";
    static constexpr std::string_view allowed_users = "; allowed: all, names";

    const std::vector<hba_field>& fields_;
    std::size_t at_ = 0;
    position at_word_;  ///< that is looked at
    hba_rule rule_;
    std::string problem_;
};

bool fits(const hba_rule& rule, const hba_question& question) {
    const bool local = !question.address;
    switch (rule.kind) {
        case connection_kind::local:
            if (!local) return false;
            break;
        case connection_kind::any:
            if (local) return false;
            break;
        case connection_kind::encrypted:
            if (local || !question.encrypted) return false;
            break;
        case connection_kind::clear:
            if (local || question.encrypted) return false;
            break;
        case connection_kind::none:
            return false;
    }
    // Physical replication has no database: only its own keyword fits it.
    const bool database = question.physical_replication
                              ? rule.replication
                              : rule.all_databases || one_of(rule.databases, question.database) ||
                                    (rule.same_user && question.user == question.database);
    if (!database || !(rule.all_users || one_of(rule.users, question.user))) return false;
    if (local || rule.all_addresses) return true;
    return std::ranges::any_of(rule.addresses, [&](const address_range& range) {
        return range.contains(*question.address);
    });
}

}  // namespace

std::optional<ip_address> parse_address(std::string_view text) {
    const std::string name(text.substr(0, INET6_ADDRSTRLEN));
    ip_address address;
    if (::inet_pton(AF_INET, name.c_str(), address.bytes.data()) == 1) {
        address.bits = 32;
    } else if (::inet_pton(AF_INET6, name.c_str(), address.bytes.data()) == 1) {
        address.bits = 128;
    } else {
        return std::nullopt;
    }
    return address;
}

std::optional<address_range> parse_address_range(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto first = parse_address(text.substr(0, slash));
    if (!first) return std::nullopt;
    std::uint64_t length = first->bits;
    if (slash != text.npos) {
        const auto given = parse_count(text.substr(slash + 1));
        if (!given.value || *given.value > first->bits) return std::nullopt;
        length = *given.value;
    }
    return address_range{*first, mask_of(first->bits, static_cast<unsigned>(length))};
}

bool address_range::contains(const ip_address& address) const noexcept {
    if (address.bits != first.bits) return false;
    for (std::size_t i = 0; i < address.bits / 8; ++i) {
        if (((address.bytes[i] ^ first.bytes[i]) & mask.bytes[i]) != 0) return false;
    }
    return true;
}

const hba_rule* hba_rules::find(const hba_question& question) const noexcept {
    const auto found =
        std::ranges::find_if(rules, [&](const hba_rule& rule) { return fits(rule, question); });
    return found == rules.end() ? nullptr : &*found;
}

parsed<hba_rules> parse_hba(std::string_view text) {
    using result = parsed<hba_rules>;
    hba_rules all;
    hba_text lines(text);
    std::vector<hba_field> fields;
    while (lines.next(fields)) {
        if (!lines.problem().empty()) return result::failure(lines.problem());
        if (fields.empty()) continue;
        if (all.rules.size() == most_rules)
            return result::failure(hba_problem(fields[0][0].at, "this is one rule too many"));
        auto rule = rule_reader(fields).read();
        if (!rule.value) return result::failure(std::move(rule.problem));
        all.rules.push_back(std::move(*rule.value));
    }
    return result::of(std::move(all));
}

}  // namespace pgmend::config
