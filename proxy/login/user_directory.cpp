#include "proxy/login/user_directory.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <iterator>

namespace pgmend::proxy {

namespace {

constexpr std::size_t most_learnt = 10'000;
/// Each takes a millisecond or two. Of more users the first login after a start tells that they exist.
constexpr std::size_t most_prepared = 256;

void wipe(std::string& secret) noexcept { OPENSSL_cleanse(secret.data(), secret.capacity()); }

bool is_verifier(std::string_view secret) { return secret.starts_with("SCRAM-SHA-256$"); }

const std::vector<std::string> none;

const std::vector<std::string>& accepted_in(const secret_book& book, std::string_view user) {
    const user_secrets* known = book.find(user);
    return known == nullptr ? none : known->accepted;
}

}  // namespace

bool user_directory::knows(std::string_view user) const { return !accepted_in(*book_, user).empty(); }

const std::vector<std::string>& user_directory::accepted_of(std::string_view user) const {
    const auto& known = accepted_in(*book_, user);
    if (!known.empty()) return known;
    const auto it = answers_.find(std::string{user});
    return it == answers_.end() ? none : it->second.secrets;
}

/// All that was derived from a secret that is not this user's any more.
void user_directory::forget(const std::string& user) {
    derived_.erase(user);
    learnt_.erase(user);
}

void user_directory::asked(
    const std::string& user, std::string secret, config::time_point now, std::size_t capacity
) {
    std::vector<std::string> secrets;
    answered_with_verifiers_ = answered_with_verifiers_ || is_verifier(secret);
    if (!secret.empty()) secrets.push_back(std::move(secret));
    const auto known = answers_.find(user);
    if (known != answers_.end()) {
        if (known->second.secrets != secrets) forget(user);
        known->second = {std::move(secrets), now};
        return;
    }
    if (answers_.size() >= capacity) {
        const auto oldest =
            std::min_element(answers_.begin(), answers_.end(), [](const auto& left, const auto& right) {
                return left.second.at < right.second.at;
            });
        forget(oldest->first);
        answers_.erase(oldest);
    }
    forget(user);
    answers_.emplace(user, answer{std::move(secrets), now});
}

bool user_directory::asked_within(const std::string& user, config::time_point now, config::duration age)
    const {
    const auto it = answers_.find(user);
    return it != answers_.end() && now - it->second.at < age;
}

void user_directory::replace(std::shared_ptr<const secret_book> book) {
    const auto changed = [&](const auto& item) {
        return accepted_in(*book, item.first) != accepted_in(*book_, item.first);
    };
    std::erase_if(derived_, changed);
    std::erase_if(learnt_, changed);
    // A password that a file has no more may still be the server's; not so that of who is in none.
    for (auto it = worked_.begin(); it != worked_.end();) {
        const bool gone = book->find(it->first) == nullptr && !answers_.contains(it->first);
        if (gone) wipe(it->second);
        it = gone ? worked_.erase(it) : std::next(it);
    }
    book_ = std::move(book);
    if (prepares_) prepare();
}

bool user_directory::has_verifier(std::string_view user) const {
    const auto& secrets = accepted_of(user);
    // Who does not exist is asked as most are where verifiers are kept.
    if (secrets.empty()) return book_->keeps_verifiers() || answered_with_verifiers_;
    return std::ranges::any_of(secrets, is_verifier);
}

void user_directory::prepare() {
    prepares_ = true;
    book_->each_user([this](const std::string& user, const user_secrets& secrets) {
        const bool plain = std::ranges::any_of(secrets.accepted, [](const std::string& secret) {
            return !is_verifier(secret) && !protocol::is_md5_hash(secret);
        });
        if (plain && derived_.size() < most_prepared) verifier(user);
    });
}

protocol::scram_verifier user_directory::verifier(const std::string& user) {
    if (const auto it = derived_.find(user); it != derived_.end()) return it->second;
    const auto& secrets = accepted_of(user);
    std::optional<protocol::scram_verifier> verifier;
    const auto stored = std::ranges::find_if(secrets, is_verifier);
    if (stored != secrets.end()) verifier = protocol::scram_verifier::parse(*stored);
    const std::string salt =
        verifier ? verifier->salt : protocol::scram_salt_for(protocol::as_bytes(process_secret_), user);
    const std::uint32_t rounds = verifier ? verifier->iterations : protocol::scram_default_iterations;
    for (const std::string& secret : secrets) {
        if (is_verifier(secret) || protocol::is_md5_hash(secret)) continue;
        auto made = protocol::derive_scram_verifier(secret, protocol::as_bytes(salt), rounds);
        if (made.mock) continue;
        if (verifier) {
            verifier->others.push_back({made.stored_key, made.server_key});
        } else {
            verifier = std::move(made);
        }
    }
    // Not remembered: there is no end of names.
    if (!verifier) {
        return protocol::mock_scram_verifier(
            protocol::as_bytes(process_secret_), user, protocol::scram_default_iterations
        );
    }
    return derived_.emplace(user, std::move(*verifier)).first->second;
}

bool user_directory::check_md5(const std::string& user, protocol::md5_salt salt, std::string_view response)
    const {
    const auto& secrets = accepted_of(user);
    bool good = false;
    for (const std::string& secret : secrets) {
        good = good || (!is_verifier(secret) && protocol::md5_verify(secret, user, salt, response));
    }
    // The same work for a user who does not exist.
    if (secrets.empty()) protocol::md5_verify(process_secret_, user, salt, response);
    return good;
}

bool user_directory::check_password(const std::string& user, std::string_view given) {
    const auto& secrets = accepted_of(user);
    const bool hashed = std::ranges::any_of(secrets, [&](const std::string& secret) {
        return protocol::is_md5_hash(secret) && protocol::md5_hash(given, user) == secret;
    });
    return protocol::scram_verify_password(verifier(user), given) || hashed;
}

void user_directory::learn(const std::string& user, const protocol::scram_login_keys& keys) {
    // Who is known by a password needs nothing else.
    const user_secrets* known = book_->find(user);
    if (known != nullptr && !std::ranges::all_of(known->offered, is_verifier)) return;
    // Who was taken out of the book while the proof was on its way is nobody's to log in as.
    const auto& accepted = accepted_of(user);
    if (accepted.empty() || !std::ranges::all_of(accepted, is_verifier)) return;
    const auto it = learnt_.find(user);
    if (it == learnt_.end() && learnt_.size() >= most_learnt) learnt_.erase(learnt_.begin());
    const bool same = it != learnt_.end() && it->second->salt == keys.salt &&
                      protocol::scram_equal(it->second->keys.client_key, keys.keys.client_key);
    if (!same) learnt_[user] = std::make_shared<const protocol::scram_login_keys>(keys);
}

std::vector<pool::server_credential> user_directory::credentials(const std::string& user) const {
    const user_secrets* known = book_->find(user);
    const std::vector<std::string>* secrets = known != nullptr ? &known->offered : &none;
    if (std::ranges::all_of(*secrets, is_verifier)) secrets = &accepted_of(user);
    const auto worked = worked_.find(user);
    const bool listed =
        worked != worked_.end() && std::ranges::find(*secrets, worked->second) != secrets->end();
    std::vector<pool::server_credential> found;
    // In their places: what a vector that grows, or a temporary, leaves behind is not wiped.
    found.reserve(secrets->size() + 2);
    const auto add = [&found](const std::string& secret) { found.emplace_back().password = secret; };
    if (listed) add(worked->second);
    for (const std::string& secret : *secrets) {
        if (!is_verifier(secret) && !(listed && secret == worked->second)) add(secret);
    }
    if (worked != worked_.end() && !listed) add(worked->second);
    if (const auto it = learnt_.find(user); it != learnt_.end()) found.push_back({{}, it->second});
    return found;
}

void user_directory::accepted(const std::string& user, const pool::server_credential& credential) {
    refused_since_.erase(user);
    // Nor may a login that was under way bring back who was forgotten meanwhile.
    const bool known = book_->find(user) != nullptr || answers_.contains(user);
    if (credential.password.empty() || !known) return;
    std::string& worked = worked_[user];
    if (worked == credential.password) return;
    wipe(worked);
    worked = credential.password;
}

bool user_directory::refused(const std::string& user, config::time_point now, config::duration grace) {
    if (!worked_.contains(user)) return false;
    return now - refused_since_.try_emplace(user, now).first->second < grace;
}

}  // namespace pgmend::proxy
