// The files that secrets come from: PgBouncer's userlist, libpq's password file and service file. No
// complaint repeats what is in them, and what can be said in a userlist is read back as it was.

#include "config/libpq_files.hpp"
#include "proxy/login/secret_book.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace pgmend::fuzz {

namespace {

constexpr std::string_view secret = "Zq9secretZq9";

std::string quoted(std::string_view word) {
    std::string text = "\"";
    for (const char each : word)
        text.append(each == '"' ? 2 : 1, each);
    return text + '"';
}

void check_userlist(std::string_view text) {
    const exact_copy copy(text);
    const auto read = proxy::parse_userlist(copy.text());
    require(read.value.has_value() == read.problem.empty(), "users or a complaint");
    if (!read.value) {
        require(read.problem.starts_with("line "), "a complaint names the line");
        require(read.problem.find(secret) == read.problem.npos, "no complaint repeats a password");
        return;
    }
    std::string written;
    for (const auto& each : *read.value) {
        require(!each.user.empty() && each.user.find('\0') == each.user.npos, "a user has a name");
        written += quoted(each.user) + '\t' + quoted(each.secret) + '\n';
    }
    const auto again = proxy::parse_userlist(written);
    require(again.value && again.value->size() == read.value->size(), "what is written is read back");
    for (std::size_t i = 0; i < read.value->size(); ++i) {
        const auto& [user, kept] = (*read.value)[i];
        require((*again.value)[i].user == user && (*again.value)[i].secret == kept, "as it was");
    }
}

/// A line made for these words is found by them, whatever they are; colons and backslashes are escaped.
void check_password_line(dice& from) {
    const auto escaped = [](std::string_view word) {
        std::string text;
        for (const char each : word) {
            if (each == ':' || each == '\\') text += '\\';
            text += each;
        }
        return text;
    };
    const std::string host(from.text(from.below(24)));
    const std::string user(from.text(from.below(24)));
    const exact_copy before(from.rest_text());
    const std::string unfit = "\r\n" + std::string(1, '\0');
    for (const std::string& word : {host, user})
        if (word.empty() || word.find_first_of(unfit) != word.npos || word.starts_with('#') || word == "*")
            return;
    const std::string line = escaped(host) + ":5432:*:" + escaped(user) + ":" + std::string(secret) + "\n";
    const auto alone = config::find_password(line, host, 5432, "app", user);
    require(alone && *alone == secret, "a password is found by its words");
    require(!config::find_password(line, host + "x", 5432, "app", user), "and by no other host");
    const auto first = config::find_password(before.text(), host, 5432, "app", user);
    const auto behind =
        config::find_password(std::string(before.text()) + "\n" + line, host, 5432, "app", user);
    require(!first || (behind && *behind == *first), "the first line that fits decides");
}

}  // namespace

void secrets(byte_view input) {
    dice from(input);
    switch (from.below(4)) {
        case 0:
            return check_userlist(from.rest_text());
        case 1: {
            const std::string user(from.short_text());
            return check_userlist(
                quoted(user) + quoted(secret) + "\n" + std::string(from.rest_text()) + " " + quoted(secret)
            );
        }
        case 2:
            return check_password_line(from);
        default: {
            const std::string name(from.text(from.below(16)));
            const exact_copy text(from.rest_text());
            config::find_service(text.text(), name);
        }
    }
}

}  // namespace pgmend::fuzz
