#include "config/libpq_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace pgmend::config {

namespace {

parsed<std::string> unreadable() {
    return parsed<std::string>::failure("cannot be read: " + std::generic_category().message(errno));
}

std::string_view trimmed(std::string_view line) {
    const auto blank = [](char each) { return each == ' ' || each == '\t' || each == '\r'; };
    while (!line.empty() && blank(line.front()))
        line.remove_prefix(1);
    while (!line.empty() && blank(line.back()))
        line.remove_suffix(1);
    return line;
}

/// Takes the first line off `text`.
std::string_view next_line(std::string_view& text) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return line;
}

/// Takes one field off `line`; a backslash makes the next character an ordinary one.
bool next_field(std::string_view& line, std::string& into) {
    into.clear();
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == ':') {
            line.remove_prefix(i + 1);
            return true;
        }
        if (line[i] == '\\' && i + 1 < line.size()) ++i;
        into += line[i];
    }
    line = {};
    return false;
}

}  // namespace

parsed<std::string> read_small_file(const std::string& path, std::size_t limit) {
    // Not blocking: the name may be that of a pipe.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) return unreadable();
    struct stat facts {};
    parsed<std::string> result = parsed<std::string>::of({});
    if (::fstat(descriptor, &facts) != 0) {
        result = unreadable();
    } else if (!S_ISREG(facts.st_mode)) {
        result = parsed<std::string>::failure("is not a regular file");
    }
    // In one go: what a text that grows leaves behind would not be wiped by whoever is given it.
    if (result.value && facts.st_size > 0) {
        result.value->reserve(std::min(static_cast<std::size_t>(facts.st_size) + 1, limit));
    }
    std::array<char, 4096> piece{};
    while (result.value) {
        const ssize_t got = ::read(descriptor, piece.data(), piece.size());
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            result = unreadable();
        } else if (result.value->size() + static_cast<std::size_t>(got) > limit) {
            result = parsed<std::string>::failure("is longer than " + print_size(byte_size{limit}));
        } else {
            result.value->append(piece.data(), static_cast<std::size_t>(got));
        }
    }
    ::close(descriptor);
    // Many of these files hold passwords.
    ::explicit_bzero(piece.data(), piece.size());
    return result;
}

bool is_open_to_others(const std::string& path) noexcept {
    struct stat facts {};
    return ::stat(path.c_str(), &facts) != 0 || (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0;
}

std::optional<std::map<std::string, std::string>> find_service(std::string_view text, std::string_view name) {
    std::optional<std::map<std::string, std::string>> found;
    while (!text.empty()) {
        const std::string_view line = trimmed(next_line(text));
        if (line.empty() || line.front() == '#') continue;
        if (line.front() == '[') {
            if (found) break;
            if (line.back() == ']' && line.substr(1, line.size() - 2) == name) found.emplace();
            continue;
        }
        const std::size_t equals = line.find('=');
        if (!found || equals == line.npos) continue;
        found->try_emplace(
            std::string(trimmed(line.substr(0, equals))), std::string(trimmed(line.substr(equals + 1)))
        );
    }
    return found;
}

std::optional<std::string> find_password(
    std::string_view text, const std::string& host, std::uint16_t port, const std::string& database,
    const std::string& user
) {
    const std::array<std::string, 4> wanted{host, std::to_string(port), database, user};
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty() || line.front() == '#') continue;
        bool fits = true;
        std::string field;
        for (const std::string& each : wanted) {
            const bool any = line.starts_with("*:");
            fits = next_field(line, field) && (any || field == each) && fits;
        }
        if (!fits) continue;
        next_field(line, field);
        return field;
    }
    return std::nullopt;
}

}  // namespace pgmend::config
