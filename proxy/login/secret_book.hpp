#pragma once
// Every secret that the configuration and its files give, by user. Built on the control plane, immutable
// afterwards, wiped when the last worker lets go of it. Where several places know a user, the order is:
// `users`, `auth.userlist`, `upstream.password_file` and `upstream.password`. What is given for `auth.query`
// and for health checks is shown to servers alone.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/settings.hpp"

namespace pgmend::proxy {

/// What is known of one user: plain text, md5 hashes or SCRAM verifiers.
struct user_secrets {
    /// Any of them lets a client in: those of the first place that knows the user.
    std::vector<std::string> accepted;
    /// Tried on servers in turn: those of all places.
    std::vector<std::string> offered;
};

class secret_book {
public:
    secret_book() = default;
    secret_book(const secret_book&) = delete;
    secret_book& operator=(const secret_book&) = delete;
    ~secret_book();

    /// Null for an unknown user.
    const user_secrets* find(std::string_view user) const;
    /// Whether anybody comes in by a SCRAM verifier.
    bool keeps_verifiers() const noexcept { return keeps_verifiers_; }
    /// Calls `take(user, secrets)` with each, in no order.
    template <class Take>
    void each_user(Take&& take) const {
        for (const auto& [user, secrets] : users_)
            take(user, secrets);
    }
    /// The secrets of one place. Empty ones are left out; a place that comes later adds to what is offered.
    void add(const std::string& user, std::vector<std::string> secrets);
    /// Secrets that servers are shown and that let no client in.
    void offer(const std::string& user, const std::vector<std::string>& secrets);

private:
    std::unordered_map<std::string, user_secrets> users_;
    bool keeps_verifiers_ = false;
};

struct secret_book_result {
    std::shared_ptr<const secret_book> value;  ///< null when `problem` says why
    std::string problem;                       ///< names a file and a line, never what is in it
};
/// Reads all the files. Blocks: control plane only.
secret_book_result read_secrets(const config::settings& settings);
/// The paths of these files.
std::vector<std::string> secret_paths(const config::settings& settings);

/// One user of a userlist.txt.
struct userlist_line {
    std::string user;
    std::string secret;
};
/// `"user" "secret"`, quotes doubled within; `;` begins a comment. The problem names the line.
config::parsed<std::vector<userlist_line>> parse_userlist(std::string_view text);

}  // namespace pgmend::proxy
