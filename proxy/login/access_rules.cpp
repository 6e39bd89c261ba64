#include "proxy/login/access_rules.hpp"

#include <algorithm>

#include "config/libpq_files.hpp"

namespace pgmend::proxy {

using config::certificate_demand;
using config::certificate_name;

namespace {

/// One rule for all that TCP and Unix sockets bring.
void add_rule_of_method(const config::settings& settings, config::hba_rules& rules) {
    config::hba_rule rule;
    rule.all_databases = rule.replication = rule.all_users = rule.all_addresses = true;
    rule.method = settings.auth.method();
    rule.name = settings.auth.cert_name();
    if (rule.method == config::auth_method::cert) rule.certificate = certificate_demand::named;
    rules.rules.push_back(rule);
    rule.kind = config::connection_kind::local;
    rules.rules.push_back(rule);
}

}  // namespace

access_rules::access_rules(
    const config::settings& settings, config::hba_rules rules, config::ident_map idents
)
    : rules_(std::move(rules)), idents_(std::move(idents)) {
    const bool given = !settings.auth.hba().lines.empty() || !settings.auth.hba_file().empty();
    if (!given) add_rule_of_method(settings, rules_);
    // listen.tls.mode demands of every connection over TCP what clientcert= demands of some.
    if (settings.listen.tls.mode() != config::client_tls_mode::verify_full) return;
    for (config::hba_rule& rule : rules_.rules) {
        if (rule.kind != config::connection_kind::local) rule.certificate = certificate_demand::named;
    }
}

const config::hba_rule* access_rules::find(const config::hba_question& question) const noexcept {
    return rules_.find(question);
}

bool access_rules::names_user(
    const config::hba_rule& rule, const pool::tls_identity& certificate, std::string_view user
) const {
    switch (rule.name) {
        case certificate_name::cn:
            return idents_.allows(rule.map, certificate.common_name, user);
        case certificate_name::dn:
            return idents_.allows(rule.map, certificate.distinguished_name, user);
        case certificate_name::san:
            return std::ranges::any_of(certificate.alternative_names, [&](const std::string& name) {
                return idents_.allows(rule.map, name, user);
            });
    }
    return false;
}

access_rules_result read_access_rules(const config::settings& settings) {
    std::string text;
    for (const std::string& line : settings.auth.hba().lines)
        text.append(line).append("\n");
    // The list was judged when it was read.
    auto rules = config::parse_hba(text);
    if (!rules.value) return {nullptr, "auth.hba: " + rules.problem};
    if (const std::string& path = settings.auth.hba_file(); !path.empty()) {
        const auto file = config::read_small_file(path);
        if (!file.value) return {nullptr, "auth.hba_file '" + path + "' " + file.problem};
        auto more = config::parse_hba(*file.value);
        if (!more.value) return {nullptr, "auth.hba_file: " + path + ":" + more.problem};
        std::ranges::move(more.value->rules, std::back_inserter(rules.value->rules));
    }
    config::ident_map idents;
    if (const std::string& path = settings.auth.ident_file(); !path.empty()) {
        const auto file = config::read_small_file(path);
        if (!file.value) return {nullptr, "auth.ident_file '" + path + "' " + file.problem};
        auto map = config::parse_ident_map(*file.value);
        if (!map.value) return {nullptr, "auth.ident_file: " + path + ":" + map.problem};
        idents = std::move(*map.value);
    }
    return {std::make_shared<access_rules>(settings, std::move(*rules.value), std::move(idents)), {}};
}

}  // namespace pgmend::proxy
