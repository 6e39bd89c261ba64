#pragma once
// Who may log in, and what proves it; what each of them logs in to servers with. Holds a book of secrets,
// which is replaced when its files change, what the database said of other users, and beside it what a worker
// derives or learns: verifiers, the keys that clients' proofs gave away, which credential a server took last.
// One worker thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/environment.hpp"
#include "pool/server_authentication.hpp"
#include "protocol/md5_auth.hpp"
#include "protocol/scram.hpp"
#include "proxy/login/secret_book.hpp"

namespace pgmend::proxy {

class user_directory {
public:
    /// `process_secret` makes up salts; it must not change while the process lives.
    user_directory(std::shared_ptr<const secret_book> book, std::string process_secret)
        : book_(std::move(book)), process_secret_(std::move(process_secret)) {}

    /// Files have changed. What was derived from secrets that are gone is forgotten.
    void replace(std::shared_ptr<const secret_book> book);
    /// Whether the book says how the user comes in; if not, the database may be asked.
    bool knows(std::string_view user) const;
    /// What the database said of a user; an empty secret means that there is none. At most `capacity` such
    /// answers are kept.
    void asked(const std::string& user, std::string secret, config::time_point now, std::size_t capacity);
    /// Whether it was asked at most so long ago.
    bool asked_within(const std::string& user, config::time_point now, config::duration age) const;
    /// Derives what logins of the users in the book need, now and whenever it is replaced: so that the first
    /// login of a user who exists takes no longer than that of one who does not. Takes a millisecond or two
    /// for each of the first 256 passwords in clear.
    void prepare();
    /// A SCRAM verifier is known, or is what is kept of others: then `md5` asks for SCRAM, as in PostgreSQL.
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
    /// A server takes none of them. Whether one that worked before may work again: for `grace` from the first
    /// refusal on.
    bool refused(const std::string& user, config::time_point now, config::duration grace);

private:
    struct answer {
        std::vector<std::string> secrets;
        config::time_point at{};
    };
    const std::vector<std::string>& accepted_of(std::string_view user) const;
    void forget(const std::string& user);

    std::shared_ptr<const secret_book> book_;
    std::unordered_map<std::string, answer> answers_;  ///< of the database
    std::unordered_map<std::string, protocol::scram_verifier> derived_;
    std::unordered_map<std::string, std::shared_ptr<const protocol::scram_login_keys>> learnt_;
    std::unordered_map<std::string, std::string> worked_;  ///< by user; kept when a file no longer has it
    std::unordered_map<std::string, config::time_point> refused_since_;  ///< by user, who is in worked_
    std::string process_secret_;
    bool prepares_ = false;
    bool answered_with_verifiers_ = false;  ///< the database has told one
};

}  // namespace pgmend::proxy
