#pragma once
// Who may log in, and what proves it; what each of them logs in to servers with. Holds a book of secrets,
// which is replaced when its files change, and beside it what a worker derives or learns: verifiers, the
// keys that clients' proofs gave away, which credential a server took last. One worker thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pool/server_authentication.hpp"
#include "protocol/md5_auth.hpp"
#include "protocol/scram.hpp"
#include "proxy/secret_book.hpp"

namespace pgmend::proxy {

class user_directory {
public:
    /// `process_secret` makes up salts; it must not change while the process lives.
    user_directory(std::shared_ptr<const secret_book> book, std::string process_secret)
        : book_(std::move(book)), process_secret_(std::move(process_secret)) {}

    /// Files have changed. What was derived from secrets that are gone is forgotten.
    void replace(std::shared_ptr<const secret_book> book);
    /// Whether the book names the user.
    bool knows(std::string_view user) const { return book_->find(user) != nullptr; }
    /// A SCRAM verifier is known: then `md5` asks for SCRAM, as in PostgreSQL.
    bool has_verifier(std::string_view user) const;

    /// The verifier to check a SCRAM login against; a mock one where none can be had, so that the exchange
    /// looks the same. Derived once for each user, with the same salt in every worker.
    protocol::scram_verifier verifier(const std::string& user);
    /// An answer to AuthenticationMD5Password.
    bool check_md5(const std::string& user, protocol::md5_salt salt, std::string_view response) const;
    /// A password in clear. Takes a verifier's iterations whether the user exists or not.
    bool check_password(const std::string& user, std::string_view given);

    /// A client's proof gave these away: good for servers that keep the same verifier.
    void learn(const std::string& user, const protocol::scram_login_keys& keys);
    /// What `user` proves itself with to a server: what worked last, then what is known, then what was
    /// learnt.
    std::vector<pool::server_credential> credentials(const std::string& user) const;
    void accepted(const std::string& user, const pool::server_credential& credential);

private:
    std::shared_ptr<const secret_book> book_;
    std::unordered_map<std::string, protocol::scram_verifier> derived_;
    std::unordered_map<std::string, std::shared_ptr<const protocol::scram_login_keys>> learnt_;
    std::unordered_map<std::string, std::string> worked_;  ///< by user; kept when a file no longer has it
    std::string process_secret_;
};

}  // namespace pgmend::proxy
