#pragma once
// Which rule a client comes in by: those of `auth.hba` and `auth.hba_file`, or the one of `auth.method`; and
// which names in certificates are which users. Built on the control plane, immutable, shared by workers.

#include <memory>
#include <string>
#include <vector>

#include "config/hba_rules.hpp"
#include "config/ident_map.hpp"
#include "config/settings.hpp"
#include "pool/tls_stream.hpp"

namespace pgmend::proxy {

class access_rules {
public:
    /// Throws nothing; rules are given when either source has any.
    access_rules(const config::settings& settings, config::hba_rules rules, config::ident_map idents);

    /// Null when no rule fits.
    const config::hba_rule* find(const config::hba_question& question) const noexcept;
    /// Whether the certificate shows a name that may be `user` by `rule`.
    bool names_user(
        const config::hba_rule& rule, const pool::tls_identity& certificate, std::string_view user
    ) const;

private:
    config::hba_rules rules_;
    config::ident_map idents_;
};

struct access_rules_result {
    std::shared_ptr<const access_rules> value;  ///< null when `problem` says why
    std::string problem;                        ///< names the file and the line
};
/// Reads the files. Blocks: control plane only.
access_rules_result read_access_rules(const config::settings& settings);

}  // namespace pgmend::proxy
