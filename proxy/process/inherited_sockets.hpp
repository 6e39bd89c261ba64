#pragma once
// Listening sockets that were open before this process began: from systemd (socket activation) or from the
// pgmend that this one takes over from. Both speak sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES,
// descriptors from 3 on. Main thread, before any other is started.

#include <string>
#include <string_view>
#include <vector>

namespace pgmend::proxy {

/// Names of descriptors. A socket unit names its own with FileDescriptorName=; one without a known name is
/// taken for clients, and for one that the service manager keeps open whatever becomes of us.
namespace descriptor_name {
inline constexpr std::string_view clients = "clients";
inline constexpr std::string_view clients_own = "clients_own";    ///< open as long as pgmend has it open
inline constexpr std::string_view clients_file = "clients_file";  ///< a Unix socket whose file we remove
inline constexpr std::string_view http = "http";
inline constexpr std::string_view predecessor = "predecessor";  ///< a pipe: written to when we serve
inline constexpr std::string_view attendant = "attendant";      ///< see process/attendant.hpp
inline constexpr std::string_view left_behind = "left_behind";  ///< see process/kinship.hpp
}  // namespace descriptor_name

struct inherited_socket {
    int descriptor = -1;
    std::string_view name;
};

/// Owned by whoever takes it; nothing is closed here.
struct inherited_sockets {
    std::vector<inherited_socket> clients;
    std::vector<int> http;
    int predecessor = -1;
    int attendant = -1;
    std::vector<int> left_behind;
};

/// Reads the environment once and removes the variables, so that no child believes them. What has none of the
/// names above and is no listening stream socket is closed and named in `problems`.
inherited_sockets take_inherited_sockets(std::vector<std::string>& problems);

}  // namespace pgmend::proxy
