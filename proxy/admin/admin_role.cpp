#include "proxy/admin/admin_role.hpp"

namespace pgmend::proxy {

namespace {

/// Whether a list with commas between its names has this one. Blanks around names do not count.
bool names(std::string_view list, std::string_view wanted) noexcept {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        std::string_view name = list.substr(0, comma);
        while (!name.empty() && name.front() == ' ')
            name.remove_prefix(1);
        while (!name.empty() && name.back() == ' ')
            name.remove_suffix(1);
        if (!name.empty() && name == wanted) return true;
        if (comma == list.npos) break;
        list.remove_prefix(comma + 1);
    }
    return false;
}

}  // namespace

admin_role role_of(const config::settings& settings, std::string_view user, bool same_machine) noexcept {
    const auto& admin = settings.admin;
    if (names(admin.users(), user)) return admin_role::admin;
    if (names(admin.stats_users(), user)) return admin_role::stats;
    const bool nobody_named = admin.users().empty() && admin.stats_users().empty();
    if (nobody_named && same_machine && user == settings.upstream.user()) return admin_role::admin;
    return admin_role::none;
}

bool is_loopback(std::string_view address) noexcept {
    return address == "::1" || address.starts_with("127.") || address.starts_with("::ffff:127.");
}

}  // namespace pgmend::proxy
