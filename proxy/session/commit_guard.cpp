#include "proxy/session/commit_guard.hpp"

#include <array>
#include <chrono>
#include <cstdlib>

#include "pool/server_pool.hpp"
#include "protocol/frame.hpp"
#include "proxy/session/commit_outcome.hpp"

namespace pgmend::proxy {

namespace {

/// Until it is tried again at a server that has refused: it notes each refusal in its log, and the first one
/// may cost a client its transaction.
constexpr config::duration refused_for = std::chrono::minutes{10};
/// Servers and logins that are remembered at once.
constexpr std::size_t most_refusals = 1024;

/// Never the name of a client's portal that is open at the same time.
constexpr std::string_view portal_name = "pgmend_0";

std::string key_of(const pool::server_connection& server) {
    const pool::login_settings& login = server.pool.login();
    return server.where.to_string() + '\0' + login.database + '\0' + login.user;
}

}  // namespace

commit_guard::commit_guard(protocol::statement_store& statements, config::environment& environment)
    : env(environment) {
    constexpr std::array<std::byte, 2> no_types{};
    const protocol::parse_conditions nobody_else{0, ~std::uint64_t{0}};
    ask = statements.intern(evidence_query(), no_types, nobody_else, [](std::string_view) {
        return protocol::statement_traits{};
    });
    const auto piece = [](std::string_view text) { return protocol::as_bytes(text); };
    constexpr std::string_view end{"\0", 1};
    constexpr std::string_view nothing{"\0\0\0\0\0\0", 6};  // no formats, no parameters, text
    constexpr std::string_view all_rows{"\0\0\0\0", 4};
    for (std::vector<std::byte>* const to : {&run, &run_in_group}) {
        protocol::message_writer writer{*to};
        writer.frame(
            'B', {piece(portal_name), piece(end), piece(ask->server_name), piece(end), piece(nothing)}
        );
        writer.frame('E', {piece(portal_name), piece(end), piece(all_rows)});
        if (to == &run) {
            writer.frame('C', {piece("P"), piece(portal_name), piece(end)});
            writer.sync();
        } else {
            writer.frame('H', {});
        }
    }
}

bool commit_guard::refused(const pool::server_connection& server) {
    const auto now = env.now();
    std::erase_if(refused_until_, [now](const auto& each) { return each.second <= now; });
    if (refused_until_.size() >= most_refusals) refused_until_.clear();
    return refused_until_.insert_or_assign(key_of(server), now + refused_for).second;
}

bool commit_guard::still_refuses(const pool::server_connection& server) {
    const auto found = refused_until_.find(key_of(server));
    if (found == refused_until_.end()) return false;
    if (found->second > env.now()) return true;
    refused_until_.erase(found);
    return false;
}

void commit_guard::told(
    const pool::server_connection& server, std::string missing, std::string_view sqlstate
) {
    if (words_.size() >= most_refusals) words_.clear();
    word& heard = words_[key_of(server)];
    const pool::login_settings& login = server.pool.login();
    heard.facts = {server.where.to_string(), login.database,        login.user,
                   std::move(missing),       std::string{sqlstate}, {}};
    heard.at = env.now();
}

std::vector<protection_facts> commit_guard::protections() const {
    std::vector<protection_facts> all;
    for (const auto& [key, heard] : words_) {
        all.push_back(heard.facts);
        all.back().ago = env.now() - heard.at;
    }
    return all;
}

bool knows_transaction_numbers(const pool::server_connection& server) noexcept {
    const std::string* version = server.reported->find("server_version");
    return version != nullptr && std::atoi(version->c_str()) >= 13;
}

}  // namespace pgmend::proxy
