#include "proxy/login/secret_book.hpp"

#include <openssl/crypto.h>

#include <algorithm>

#include "config/libpq_files.hpp"

namespace pgmend::proxy {

namespace {

constexpr std::size_t userlist_bytes = 16 << 20;
constexpr std::size_t longest_secret = 4096;
constexpr std::size_t most_secrets_of_a_user = 8;

/// With what a longer text, or one that was moved away, has left behind.
void wipe(std::vector<std::string>& secrets) noexcept {
    for (std::string& secret : secrets)
        OPENSSL_cleanse(secret.data(), secret.capacity());
}

void wipe(std::vector<userlist_line>& lines) noexcept {
    for (userlist_line& line : lines)
        OPENSSL_cleanse(line.secret.data(), line.secret.capacity());
}

/// The lines of a password file. Editors and `echo` put an end of line behind the last one.
config::parsed<std::vector<std::string>> read_password_file(const std::string& path) {
    using result = config::parsed<std::vector<std::string>>;
    auto text = config::read_small_file(path);
    if (!text.value) return result::failure("password file '" + path + "' " + text.problem);
    std::vector<std::string> lines;
    lines.reserve(most_secrets_of_a_user);  // what a vector that grows leaves behind is not wiped
    std::string_view rest = *text.value;
    bool good = true;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        good = good && line.size() <= longest_secret && line.find('\0') == line.npos &&
               lines.size() < most_secrets_of_a_user;
        if (good) lines.emplace_back(line);
    }
    OPENSSL_cleanse(text.value->data(), text.value->size());
    if (good && !lines.empty()) return result::of(std::move(lines));
    wipe(lines);
    return result::failure(
        "password file '" + path + "' must have 1 to " + std::to_string(most_secrets_of_a_user) +
        " lines, each a password of at most " + std::to_string(longest_secret) + " bytes"
    );
}

/// Takes a quoted word off `line`; in its place, as it may be a secret of which no copy is to be left.
bool quoted_word(std::string_view& line, std::string& word) {
    while (line.starts_with(' ') || line.starts_with('\t'))
        line.remove_prefix(1);
    if (!line.starts_with('"')) return false;
    word.reserve(line.size());
    for (std::size_t i = 1; i < line.size(); ++i) {
        if (line[i] != '"') {
            word += line[i];
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
            word += line[i++];
        } else {
            line.remove_prefix(i + 1);
            return true;
        }
    }
    return false;
}

/// The problem, or empty: secrets of a user of ours, from a setting and a file.
std::string offer_ours(
    secret_book& book, const std::string& user, const std::string& password, const std::string& file
) {
    if (user.empty()) return {};
    std::vector<std::string> ours;
    if (!file.empty()) {
        auto lines = read_password_file(file);
        if (!lines.value) return std::move(lines.problem);
        ours = std::move(*lines.value);
    }
    book.offer(user, ours);
    wipe(ours);
    ours.assign(1, password);
    book.offer(user, ours);
    wipe(ours);
    return {};
}

}  // namespace

secret_book::~secret_book() {
    for (auto& [user, secrets] : users_) {
        wipe(secrets.accepted);
        wipe(secrets.offered);
    }
}

const user_secrets* secret_book::find(std::string_view user) const {
    const auto it = users_.find(std::string{user});
    return it == users_.end() ? nullptr : &it->second;
}

void secret_book::add(const std::string& user, std::vector<std::string> secrets) {
    std::erase_if(secrets, [](const std::string& secret) { return secret.empty(); });
    offer(user, secrets);
    user_secrets& known = users_[user];
    if (known.accepted.empty()) {
        keeps_verifiers_ = keeps_verifiers_ || std::ranges::any_of(secrets, [](const std::string& secret) {
                               return secret.starts_with("SCRAM-SHA-256$");
                           });
        known.accepted = std::move(secrets);
    } else {
        wipe(secrets);
    }
}

void secret_book::offer(const std::string& user, const std::vector<std::string>& secrets) {
    user_secrets& known = users_[user];
    known.offered.reserve(most_secrets_of_a_user);
    for (const std::string& secret : secrets) {
        const bool repeated = std::ranges::find(known.offered, secret) != known.offered.end();
        const bool room = known.offered.size() < most_secrets_of_a_user;
        if (!secret.empty() && !repeated && room) known.offered.push_back(secret);
    }
}

config::parsed<std::vector<userlist_line>> parse_userlist(std::string_view text) {
    using result = config::parsed<std::vector<userlist_line>>;
    std::vector<userlist_line> lines;
    // Each has four quotes; what a vector that grows leaves behind is not wiped.
    lines.reserve(static_cast<std::size_t>(std::ranges::count(text, '"')) / 4 + 1);
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == text.npos ? text.size() : end + 1);
        const std::size_t begin = line.find_first_not_of(" \t\r");
        if (begin == line.npos || line[begin] == ';' || line[begin] == '#') continue;
        userlist_line& entry = lines.emplace_back();
        // As in PgBouncer, what stands behind the second word is ignored.
        const bool good = quoted_word(line, entry.user) && quoted_word(line, entry.secret) &&
                          !entry.user.empty() && entry.secret.size() <= longest_secret &&
                          entry.user.find('\0') == std::string::npos &&
                          entry.secret.find('\0') == std::string::npos;
        if (!good) {
            wipe(lines);
            return result::failure("line " + std::to_string(number) + R"( is not "user" "secret")");
        }
    }
    return result::of(std::move(lines));
}

secret_book_result read_secrets(const config::settings& settings) {
    auto book = std::make_shared<secret_book>();
    for (const auto& user : settings.users()) {
        if (user.password_file.empty()) {
            book->add(user.name, {user.password});
            continue;
        }
        auto lines = read_password_file(user.password_file);
        if (!lines.value) return {nullptr, std::move(lines.problem)};
        book->add(user.name, std::move(*lines.value));
    }
    if (const std::string& path = settings.auth.userlist(); !path.empty()) {
        auto text = config::read_small_file(path, userlist_bytes);
        if (!text.value) return {nullptr, "auth.userlist '" + path + "' " + text.problem};
        auto lines = parse_userlist(*text.value);
        OPENSSL_cleanse(text.value->data(), text.value->size());
        if (!lines.value) return {nullptr, "auth.userlist '" + path + "': " + lines.problem};
        for (const auto& line : *lines.value) {
            book->add(line.user, std::vector<std::string>(1, line.secret));
        }
        wipe(*lines.value);
    }
    const auto& upstream = settings.upstream;
    std::vector<std::string> own;
    if (const std::string& path = upstream.password_file(); !path.empty()) {
        auto lines = read_password_file(path);
        if (!lines.value) return {nullptr, std::move(lines.problem)};
        own = std::move(*lines.value);
    }
    if (!upstream.password().empty()) own.push_back(upstream.password());
    if (!own.empty()) book->add(upstream.user(), std::move(own));
    const auto& query = settings.auth.query;
    const auto& health = settings.health;
    std::string problem = offer_ours(*book, query.user(), query.password(), query.password_file());
    if (problem.empty())
        problem = offer_ours(*book, health.user(), health.password(), health.password_file());
    if (!problem.empty()) return {nullptr, std::move(problem)};
    return {std::move(book), {}};
}

std::vector<std::string> secret_paths(const config::settings& settings) {
    std::vector<std::string> paths;
    const auto add = [&paths](const std::string& path) {
        if (!path.empty()) paths.push_back(path);
    };
    for (const auto& user : settings.users())
        add(user.password_file);
    add(settings.auth.userlist());
    add(settings.upstream.password_file());
    add(settings.auth.query.password_file());
    add(settings.health.password_file());
    return paths;
}

}  // namespace pgmend::proxy
