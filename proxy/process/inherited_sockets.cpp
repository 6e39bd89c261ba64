#include "proxy/process/inherited_sockets.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace pgmend::proxy {

namespace {

constexpr int first_descriptor = 3;
constexpr long most_descriptors = 640;  // what pgmend.service has the manager keep, and some more

std::string take_variable(const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before threads
    std::string text = value == nullptr ? "" : value;
    ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe)
    return text;
}

int option_of(int descriptor, int option) {
    int value = 0;
    socklen_t length = sizeof value;
    return ::getsockopt(descriptor, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

bool listens(int descriptor) {
    return option_of(descriptor, SO_TYPE) == SOCK_STREAM && option_of(descriptor, SO_ACCEPTCONN) == 1;
}

std::string_view known_name(std::string_view name) {
    if (name == descriptor_name::clients_own) return descriptor_name::clients_own;
    return name == descriptor_name::clients_file ? descriptor_name::clients_file : descriptor_name::clients;
}

}  // namespace

inherited_sockets take_inherited_sockets(std::vector<std::string>& problems) {
    const std::string pid = take_variable("LISTEN_PID");
    const std::string count = take_variable("LISTEN_FDS");
    const std::string names = take_variable("LISTEN_FDNAMES");
    inherited_sockets found;
    // Variables for another process, such as the shell that started us, are none of our business.
    if (std::strtol(pid.c_str(), nullptr, 10) != ::getpid()) return found;
    const long descriptors = std::strtol(count.c_str(), nullptr, 10);
    std::size_t at = 0;
    for (long i = 0; i < descriptors && i < most_descriptors; ++i) {
        const std::size_t end = std::min(names.find(':', at), names.size());
        const std::string name = at < names.size() ? names.substr(at, end - at) : "";
        at = end + 1;
        const int descriptor = first_descriptor + static_cast<int>(i);
        if (::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
            problems.push_back("descriptor " + std::to_string(descriptor) + " is not open");
        } else if (name == descriptor_name::predecessor) {
            found.predecessor = descriptor;
        } else if (name == descriptor_name::attendant) {
            found.attendant = descriptor;
        } else if (name == descriptor_name::left_behind) {
            found.left_behind.push_back(descriptor);
        } else if (!listens(descriptor)) {
            problems.push_back("descriptor " + std::to_string(descriptor) + " is no listening stream socket");
            ::close(descriptor);
        } else if (name == descriptor_name::http) {
            found.http.push_back(descriptor);
        } else {
            ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
            found.clients.push_back({descriptor, known_name(name)});
        }
    }
    return found;
}

}  // namespace pgmend::proxy
